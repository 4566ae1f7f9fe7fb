"""What is kept of one sort for each workspace, in a log of its own: added in batches, found again by what it is."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast

import msgspec

from mixkit.activities.activity import Activity, Output, Wanted, now
from mixkit.activities.log import Bounds, Log, Tail
from mixkit.errors import NotFound, StorageError
from mixkit.package.errors import BadName

if TYPE_CHECKING:
    from mixkit.package import WorkspaceStore

__all__ = ["Kept", "Tailing"]

T = TypeVar("T", bound=Activity | Output)

_log = logging.getLogger("mixkit.activity")

_MOST_BATCHES: Final = 64
"""Workspaces whose folders are open at once."""
_MOST_PENDING: Final = 20_000
"""Of one workspace, that wait to be written: a disk that stands still must not take all memory."""
_AT_ONCE: Final = 1_000
_LATE: Final = 3600 * 1_000_000
"""Microseconds by which something may have been written after its time: longer than any run."""
_SECOND: Final = 1_000_000

_encoder: Final = msgspec.json.Encoder()


Unmade: TypeAlias = tuple[Callable[[Any], T], Any]
"""What makes something when it is written, and of what, which nobody changes."""


class _Batch(Generic[T]):
    """What waits for one workspace; bound to its folder, so that another one of that name never gets it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.folder = log.open()
        self.items: list[T | Unmade[T]] = []

    def write(self) -> None:
        try:
            self.log.append(self.folder, _lines([_made(item) for item in self.items]))
        except OSError as exc:
            _log.error("%d activities or lines of output are lost: %s", len(self.items), exc)
        finally:
            os.close(self.folder)


class Kept(Generic[T]):
    """All of one sort. Thread-safe; a fork goes on with it if nothing was added before.

    Args:
        store: the workspaces. What is of none, or of one that is gone, is kept beside them.
        name: of the folder in that of each workspace.
        kind: the class.
        bounds: how much is kept of each workspace.
    """

    def __init__(self, store: WorkspaceStore, name: str, kind: type[T], bounds: Bounds) -> None:
        self._store = store
        self._name = name
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._bounds = bounds
        self._batches: dict[str | None, _Batch[T]] = {}
        self._lock = threading.Lock()
        # Who has flushed finds all that was added before, also what somebody else is just writing.
        self._writing = threading.Lock()

    def _log_of(self, workspace: str | None) -> Log:
        root: Path = self._store.root if workspace is None else self._store.workspace(workspace).root
        return Log(root / self._name, self._bounds)

    # -- writing ------------------------------------------------------------------------------

    def add(self, workspace: str | None, item: T | Unmade[T]) -> bool:
        """Let something be written with the next `flush`. Answers whether it is the first that waits for one."""
        # PERF: asked for every request, which does not wait for the line that is made of it.
        with self._lock:
            batches = self._batches
            is_first = not batches
            batch = batches.get(workspace)
            if batch is None:
                batch = self._begin(workspace)
                if batch is None:
                    return False
            if len(batch.items) < _MOST_PENDING:
                batch.items.append(item)
        return is_first

    def _begin(self, workspace: str | None) -> _Batch[T] | None:
        if len(self._batches) >= _MOST_BATCHES:
            self._write()
        try:
            batch = _Batch[T](self._log_of(workspace))
        except (NotFound, BadName, FileNotFoundError):
            # Deleted, maybe by what is to be noted.
            return self._batches.get(None) or self._begin(None) if workspace is not None else None
        except OSError as exc:
            _log.error("activities and output are not kept: %s", exc)
            return None
        self._batches[workspace] = batch
        return batch

    def write(self, workspace: str | None, item: T) -> None:
        """Write something now: it is on the disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            try:
                log = self._log_of(workspace)
                folder = log.open()
            except (NotFound, BadName, FileNotFoundError):
                log = self._log_of(None)
                folder = log.open()
            try:
                log.append(folder, _lines([item]), durable=True)
            finally:
                os.close(folder)
        except OSError as exc:
            raise StorageError(f"what was done cannot be noted: {exc}") from exc

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            with self._lock:
                batches, self._batches = self._batches, {}
            for batch in batches.values():
                batch.write()

    def _write(self) -> None:
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            batch.write()

    # -- reading ------------------------------------------------------------------------------

    def backwards(
        self, workspace: str | None, wanted: Wanted, before: int | None = None
    ) -> Generator[tuple[int, T]]:
        """What is wanted, with its numbers, the newest first; with what this process has added so far.

        Args:
            before: number of the first that is not wanted.

        Raises:
            NotFound: there is no such workspace.
            StorageError: it cannot be read.
        """
        self.flush()
        wanted = self._kept(wanted)
        earliest = 0 if wanted.since is None else wanted.since - _LATE
        try:
            for number, line in self._log_of(workspace).backwards(before):
                item = self.decoded(line)
                if item is None:
                    continue
                if item.time < earliest:
                    return
                if wanted.has(item):
                    yield number, item
        except OSError as exc:
            raise StorageError(f"what was done cannot be read: {exc}") from exc

    def latest(self, workspace: str | None) -> int:
        """Number of the newest; -1 if there is none. Raises as `backwards`."""
        self.flush()
        return self._log_of(workspace).tail().after

    def follow(self, workspace: str | None, wanted: Wanted, after: int | None = None) -> Tailing[T]:
        """What is wanted from here on, as any process writes it.

        Args:
            after: number of the last that is known; None is the newest now, -1 is before all.

        Raises:
            NotFound: there is no such workspace.
        """
        self.flush()
        return Tailing(self, self._log_of(workspace).tail(after), wanted)

    def _kept(self, wanted: Wanted) -> Wanted:
        """Without what is too old."""
        if self._bounds.seconds is None:
            return wanted
        oldest = now() - int(self._bounds.seconds * _SECOND)
        return msgspec.structs.replace(wanted, since=max(wanted.since or oldest, oldest))

    def decoded(self, line: bytes) -> T | None:
        """What a line says; None if somebody was killed over it, or it is of another version."""
        try:
            return self._decoder.decode(line)
        except (msgspec.MsgspecError, ValueError):
            return None


class Tailing(Generic[T]):
    """What is wanted, as it is written. Made by `Kept.follow`."""

    def __init__(self, kept: Kept[T], tail: Tail, wanted: Wanted) -> None:
        self._kept = kept
        self._tail = tail
        self._wanted = wanted

    @property
    def after(self) -> int:
        """Number of the last that was looked at, whether it was wanted or not."""
        return self._tail.after

    def next(self, most: int = 1_000) -> list[tuple[int, T]]:
        """What is wanted of the next so many, the oldest first.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            lines = self._tail.next(most)
        except OSError as exc:
            raise StorageError(f"what was done cannot be read: {exc}") from exc
        items = ((number, self._kept.decoded(line)) for number, line in lines)
        return [(number, item) for number, item in items if item is not None and self._wanted.has(item)]


def _made(item: T | Unmade[T]) -> T:
    if type(item) is tuple:
        make, given = item
        made: T = make(given)
        return made
    return cast(T, item)


def _lines(items: Sequence[Activity | Output]) -> bytes:
    """What they are written as. Other threads get their turn between some and the next."""
    return b"".join(_some_lines(items[start : start + _AT_ONCE]) for start in range(0, len(items), _AT_ONCE))


def _some_lines(items: Sequence[Activity | Output]) -> bytes:
    try:
        return _encoder.encode_lines(items)
    except UnicodeEncodeError:
        # NOTE: a path of a request may have what is no text.
        return b"".join(json.dumps(msgspec.to_builtins(item)).encode() + b"\n" for item in items)
