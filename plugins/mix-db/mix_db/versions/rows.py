"""Where the rows of a database are: in files (`mix_db.files.store.Store`), or in memory.

Whatever implements `Rows` is only a keeper: bytes, commits, and index segments that it does not look into.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mix_db.files.compaction import Plan
from mix_db.files.store import MakeSegment
from mix_db.files.view import read_each
from mix_db.files.write_log import Commit
from mix_db.versions.indexing import index_rows

__all__ = ["DraftView", "MakePlan", "MemoryRows", "Rows", "RowsView", "SegmentView"]


class SegmentView(Protocol):
    """An index segment for the rows from `start` to `stop`, without it. It is the same object as long as it is the
    same segment."""

    @property
    def name(self) -> str: ...

    @property
    def start(self) -> int: ...

    @property
    def stop(self) -> int: ...

    @property
    def data(self) -> memoryview: ...


class RowsView(Protocol):
    """A state of the rows that never changes, and stays readable whatever happens to the rows."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def last(self) -> int:
        """Number of the last commit; 0 if there is none."""
        ...

    @property
    def generation(self) -> int:
        """Rows have other numbers in another generation."""
        ...

    @property
    def horizon(self) -> int:
        """Of commits up to this number, history may have been dropped; 0 if all of it is there."""
        ...

    @property
    def horizon_time(self) -> int:
        """When that commit was, Unix milliseconds; 0 if all history is there."""
        ...

    @property
    def extent_rows(self) -> int:
        """Rows below are in segments."""
        ...

    @property
    def flushed(self) -> int:
        """Number of the last commit whose rows are in segments."""
        ...

    @property
    def segments(self) -> Sequence[SegmentView]:
        """In the order of their rows, without gaps."""
        ...

    @property
    def log(self) -> object:
        """What the other rows are in; another object when it may hold other commits than before, not only more."""
        ...

    def since(self, number: int) -> Sequence[Commit]:
        """The commits with a greater number, which must not be less than `flushed`; in order."""
        ...

    def read(self, row: int) -> bytes:
        """The stored version. `IndexError` if there is none, `StorageError` if it is damaged."""
        ...

    def read_many(self, rows: Iterable[int], most: int | None = None) -> list[bytes]:
        """Several, in the order given, up to the one with which they have `most` bytes; raises what `read` does."""
        ...


class DraftView(Protocol):
    """What a commit will be; see `mix_db.files.store.Draft`."""

    @property
    def number(self) -> int: ...

    @property
    def row(self) -> int: ...

    @property
    def unsynced(self) -> Sequence[Commit]: ...

    @property
    def view(self) -> RowsView: ...


MakePlan = Callable[[Any], Plan | None]
"""Makes the plan of a compaction from the view that is in force, while nobody else can switch to another one; or None
if it is not worth one."""


class Rows(Protocol):
    """The rows of one database, for all threads of a process."""

    @property
    def view(self) -> RowsView:
        """What is known, which `refresh` and every change renew."""
        ...

    def refresh(self) -> RowsView:
        """See everything whose commit returned before this call, in whatever process. Cheap if there is nothing."""
        ...

    def commit(self, build: Callable[[Any], Iterable[bytes]]) -> Commit:
        """Store what `build` makes of a `DraftView`, all or none, and return when it is durable."""
        ...

    def flush(self, make_segment: MakeSegment) -> int:
        """Move the rows of all commits to where they stay, with a segment for them; answers how many rows.

        `make_segment` is called while no commit can come between, what it answers is read while they go on."""
        ...

    def merge(self, merged: Sequence[Any], make: Callable[[], Iterable[bytes]]) -> bool:
        """Put one segment in the place of neighbours; false if somebody else has changed them."""
        ...

    def compact(self, make_plan: MakePlan) -> bool:
        """Put what the plan makes of the rows in their place, as a new generation; answers whether there was one."""
        ...

    def check(self) -> list[str]:
        """Read everything; answers what is not as it was written."""
        ...

    def size(self) -> int:
        """Bytes that it takes where it is kept."""
        ...

    def size_in_force(self) -> int:
        """Bytes of the rows and segments in force that are not in the log; nothing that is being made."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Segment:
    name: str
    start: int
    stop: int
    data: memoryview


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The lists only grow, and count as far as `rows` and `last` say."""

    stored: list[bytes] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    rows: int = 0
    last: int = 0
    generation: int = 0
    horizon: int = 0
    horizon_time: int = 0
    extent_rows: int = 0
    flushed: int = 0
    segments: tuple[_Segment, ...] = ()

    @property
    def log(self) -> object:
        return self.commits

    def since(self, number: int) -> Sequence[Commit]:
        return self.commits[number - self.flushed : self.last - self.flushed]

    def read(self, row: int) -> bytes:
        if not 0 <= row < self.rows:
            raise IndexError(f"row {row} of {self.rows}")
        return self.stored[row]

    def read_many(self, rows: Iterable[int], most: int | None = None) -> list[bytes]:
        return read_each(self.read, rows, most)


@dataclass(frozen=True, slots=True)
class _Draft:
    number: int
    row: int
    unsynced: Sequence[Commit]
    view: _View


class MemoryRows:
    """Rows that are gone with the process. A fork has its own from then on.

    Only one thread at a time flushes, merges or compacts.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._view = _View()

    @property
    def view(self) -> _View:
        return self._view

    def refresh(self) -> _View:
        return self._view

    def commit(self, build: Callable[[Any], Iterable[bytes]]) -> Commit:
        with self._mutex:
            view = self._view
            records = tuple(build(_Draft(view.last + 1, view.rows, (), view)))
            commit = Commit(view.last + 1, view.rows, records)
            view.stored.extend(records)
            view.commits.append(commit)
            self._view = replace(view, rows=len(view.stored), last=commit.number)
            return commit

    def flush(self, make_segment: MakeSegment) -> int:
        with self._mutex:
            view = self._view
            if view.rows == view.extent_rows:
                return 0
            content = make_segment(view.since(view.flushed))
        # As in files, commits go on while the segment is made; they are carried over.
        segment = _segment(view.extent_rows, view.rows, content)
        with self._mutex:
            now = self._view
            self._view = replace(
                now,
                commits=list(now.since(view.last)),
                extent_rows=view.rows,
                flushed=view.last,
                segments=(*now.segments, segment),
            )
        return view.rows - view.extent_rows

    def merge(self, merged: Sequence[_Segment], make: Callable[[], Iterable[bytes]]) -> bool:
        made = _segment(merged[0].start, merged[-1].stop, make())
        with self._mutex:
            present = self._view.segments
            if merged[0] not in present:
                return False
            first = present.index(merged[0])
            if present[first : first + len(merged)] != tuple(merged):
                return False
            segments = (*present[:first], made, *present[first + len(merged) :])
            self._view = replace(self._view, segments=segments)
            return True

    def compact(self, make_plan: MakePlan) -> bool:
        with self._mutex:
            view = self._view
            plan = make_plan(view)
            if plan is None:
                return False
            stored = list(plan.rewrite(view, 0))
            segments = (_segment(0, len(stored), index_rows(0, stored)),) if stored else ()
            self._view = _View(
                stored,
                rows=len(stored),
                last=view.last,
                generation=view.generation + 1,
                horizon=max(plan.horizon, view.horizon),
                horizon_time=max(plan.horizon_time, view.horizon_time),
                extent_rows=len(stored),
                flushed=view.last,
                segments=segments,
            )
            return True

    def check(self) -> list[str]:
        return []

    def size(self) -> int:
        view = self._view
        return sum(map(len, view.stored)) + sum(len(segment.data) for segment in view.segments)

    def size_in_force(self) -> int:
        return self.size()

    def close(self) -> None:
        """Snapshots stay readable."""

    def before_fork(self) -> None:
        """No commit may be half done in the child."""
        self._mutex.acquire()

    def after_fork(self) -> None:
        self._mutex.release()


def _segment(start: int, stop: int, content: Iterable[bytes]) -> _Segment:
    return _Segment(secrets.token_hex(8), start, stop, memoryview(b"".join(content)))
