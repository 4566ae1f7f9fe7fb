"""The engine of one database: rows, their index, and the states that are made of them.

    commit -> tail (in memory) -> flush -> segment -> merge -> compaction

One engine serves all who have the database open in a process. What is committed here or elsewhere is indexed once, by
whoever sees it first; each state is immutable, so readers hold no lock and wait for no writer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mix_db.engine.answers import Answers
from mix_db.engine.arrivals import Arrivals
from mix_db.engine.background import worker
from mix_db.engine.compaction import Compaction
from mix_db.engine.moments import ahead, unreached
from mix_db.engine.pending import Pending
from mix_db.engine.quota import Quota
from mix_db.engine.records import Deleting, Saving
from mix_db.engine.settling import Settling
from mix_db.files.compaction import Plan
from mix_db.files.write_log import Commit as StoredCommit
from mix_db.index.merge import merge, pick, settle
from mix_db.index.segment import Segment
from mix_db.index.write import write_segment
from mix_db.settings import Settings
from mix_db.versions.indexing import index_rows
from mix_db.versions.rows import DraftView, MemoryRows, Rows, RowsView, SegmentView
from mix_db.versions.state import Current, Origin, State
from mix_db.versions.tail import Tail
from mix_db.versions.version import watermark
from mixkit.errors import Conflict, StorageError
from mixkit.storage import Commit, SaveOptions
from mixkit.value import Ref

__all__ = ["Engine"]

_BULK: Final = 100
"""A save of so many records loads data: it flushes by itself, which is less work than behind its back."""

_LAG: Final = 4
"""So many times the size at which it is due, a flush no longer waits for the background."""

_LONG_LOG: Final = 1_000
"""So many versions in the log are flushed on closing: who opens the database next has to index what is there."""

_RETRY: Final = 10.0
_log = logging.getLogger("mixkit.db")


class _NothingToStore(Exception):
    """Ends a commit that has no rows."""


class Engine:
    """One database, whoever has it open. Any thread may call anything.

    Args:
        open_rows: opens the rows, again in a forked child.
        settings: of the plugin.
        shared: whether other processes may commit.
    """

    def __init__(self, open_rows: Callable[[], Rows], settings: Settings, *, shared: bool) -> None:
        self.settings = settings
        self.arrivals = Arrivals(self._look if shared else None)
        self.closed = False
        self._open_rows = open_rows
        self._shared = shared
        # Guards what belongs to the newest state. Never held while the rows' own locks are waited for.
        self._mutex = threading.Lock()
        self._maintenance = threading.Lock()
        self._parts: dict[SegmentView, Segment] = {}
        self._pending = Pending()
        self._clock = 0
        # Whether the background has been asked for anything by this process.
        self._committed = False
        self._errors: dict[str, str] = {}
        self._quota = Quota(settings.quota if shared else 0, lambda: self.rows.size_in_force())
        self._last: dict[str, int | None] = {"flush": None, "merge": None, "compaction": None}
        self._settling = Settling(
            lambda: self._state.last, lambda: self._attempt("merge", lambda: self._merge(settle))
        )
        self._start(open_rows())
        _forking.add(self)

    def _start(self, rows: Rows) -> None:
        self._rows: Rows | None = rows
        self._state = self._made(rows.view, None)

    @property
    def rows(self) -> Rows:
        """Where the rows are. Raises `StorageError` if the database is closed."""
        rows = self._rows
        if rows is None:
            rows = self._reopen()
        return rows

    def state(self) -> State:
        """What has been committed, by whomever, before this call."""
        view = self.rows.refresh()
        state = self._state
        return state if state.view is view else self._advance(view)

    # States

    def _advance(self, view: RowsView) -> State:
        """The state of the view, or a newer one."""
        with self._mutex:
            present = self._state
            if present.view is view:
                return present
            # Compared with what the rows know now: threads come here in any order.
            view = self.rows.view
            if present.view is not view:
                self._state = self._made(view, present)
            return self._state

    def _made(self, view: RowsView, before: State | None) -> State:
        if before is not None and before.tails[-1].log is view.log:
            tails, current = before.tails, before.shared
        else:
            tails, current = (Tail(view.log, view.extent_rows, view.flushed),), Current()
        tails[-1].take(view)
        self._clock = max(self._clock, tails[-1].time, view.horizon_time)
        parts = {segment: self._parts.get(segment) or _opened(segment) for segment in view.segments}
        self._parts = parts
        same = before is not None and before.view.generation == view.generation
        origin = before.origin if before is not None and same else Origin()
        return State(view, view.rows, tuple(parts.values()), tails, current, view.last, origin)

    # Commits

    def save(self, records: Sequence[Mapping[str, Any]], options: SaveOptions) -> Commit:
        """See `mixkit.storage.Database.save`."""
        largest, fields = self.settings.max_record_bytes, self.settings.max_fields
        change = Saving(records, options, self.state, largest, fields)
        # Tombstones are always taken: deleting is the way back below the quota.
        self._quota.check(self._state, change.size)
        return self._write(change)

    def delete(self, ids: Sequence[Ref | str | Mapping[str, Any]]) -> Commit:
        """See `mixkit.storage.Database.delete`."""
        return self._write(Deleting(ids))

    def _write(self, change: Saving | Deleting) -> Commit:
        kept: dict[int, bytes] = {}

        def make(draft: DraftView) -> list[bytes]:
            state = self._advance(draft.view)
            known = self._pending.begin(draft, state)
            # The last commit may be another process's, by a clock that was ahead, and flushed already.
            least = self._clock if len(state.tails[-1]) else max(self._clock, state.time())
            now = max(time.time_ns() // 1_000_000, least)
            made = change.build(known, draft.row, draft.number, now)
            kept.clear()
            kept.update(
                (row, known.stored(row)) for row in change.answers if row is not None and row < draft.row
            )
            if not made:
                raise _NothingToStore
            self._clock = now
            self._pending.note(draft.number, change.written)
            return made

        rows = self.rows
        while True:
            try:
                stored = rows.commit(make)
            except _NothingToStore:
                state = self.state()
                if all(row < state.rows for row in kept):
                    return Commit(state.watermark, Answers(change.answers, kept, None))
                # What it found was to be stored by the same sync, and the disk did not take it.
                continue
            except Conflict as exc:
                # The other commit may have been of the same sync, as above.
                if exc.found is not None and exc.found > self.state().watermark:
                    continue
                raise
            break
        self._advance(rows.view)
        self.arrivals.announce()
        self._schedule(len(stored.records))
        size = sum(map(len, stored.records))
        return Commit(watermark(stored.number), Answers(change.answers, kept, stored), size)

    # What runs by itself

    def _schedule(self, added: int) -> None:
        settings = self.settings
        if not settings.background:
            return
        self._committed = True
        rows = size = paths = 0
        for tail in self._state.tails:
            rows, size, paths = rows + len(tail), size + tail.size, paths + tail.paths
        share = max(rows / settings.flush_rows, size / settings.flush_bytes, paths / settings.flush_fields)
        if share < 1:
            worker.schedule(self, settings.flush_seconds)
        elif added >= _BULK or share >= _LAG:
            self._attempt("flush", self.flush)
            worker.schedule(self, 0.0)
        else:
            worker.schedule(self, 0.0)

    def maintain(self) -> float | None:
        """What is due by size and age: called by the background thread."""
        if self.closed:
            return None
        done = self._attempt("flush", self.flush) and self._attempt("merge", self._merge)
        if done and self.settings.retention:
            done = self._attempt("compaction", self._compact_if_worth)
        if not done:
            return _RETRY
        return self.settings.flush_seconds if any(map(len, self._state.tails)) else None

    def _attempt(self, name: str, work: Callable[[], None]) -> bool:
        """Do it; an error is logged the first time, and shown by `stats` until it works again."""
        try:
            work()
        except Exception as exc:
            message = f"{name}: {exc or type(exc).__name__}"
            if self._errors.get(name) != message and not self.closed:
                unforeseen = not isinstance(exc, StorageError)
                _log.error("background work failed, and is tried again: %s", message, exc_info=unforeseen)
            self._errors[name] = message
            return False
        self._errors.pop(name, None)
        return True

    def flush(self) -> None:
        """Move what is in the write log to the row files, with a segment of their index."""
        with self._maintenance:
            if self.rows.flush(self._segment_of):
                self._note("flush")
            self._advance(self.rows.view)
        if self.settings.background:
            self._settling.begin()

    def _segment_of(self, commits: Sequence[StoredCommit]) -> Iterable[bytes]:
        """Begin the segment of all that is in the log. Called with the write lock held, so that the index of just
        these rows, which the state has already, can be parted from that of the rows that come now."""
        self._advance(self.rows.view)
        with self._mutex:
            state = self._state
            tail = state.tails[-1]
            if tail.part.start == commits[0].row and tail.number == commits[-1].number:
                after = Tail(tail.log, tail.part.stop, tail.number)
                self._state = State(
                    state.view, state.rows, state.segments, (*state.tails, after), state.shared, state.last,
                    state.origin,
                )  # fmt: skip
                return write_segment(tail.part)
        # A flush that failed has parted it elsewhere.
        return _indexed(commits)

    def _merge(self, choose: Callable[[Sequence[int]], slice | None] = pick) -> None:
        """Merge segments as long as it pays."""
        with self._maintenance:
            while not self.closed:
                state = self.state()
                segments = list(state.view.segments)
                chosen = choose([len(segment.data) for segment in segments])
                if chosen is None or not self._merge_those(segments[chosen]):
                    return

    def _merge_those(self, segments: Sequence[SegmentView]) -> bool:
        parts = [_opened(segment) for segment in segments]
        merged = self.rows.merge(segments, lambda: merge(parts))
        if merged:
            self._note("merge")
        self._advance(self.rows.view)
        return merged

    def compact(self, *, drop_history: bool) -> None:
        """See `mixkit.storage.Database.compact`."""
        self.flush()

        def choose(state: State) -> Compaction | None:
            plan = Compaction(state, state.rows if drop_history else self._expired(state))
            return plan if drop_history or len(plan) else None

        with self._maintenance:
            if not self._compact(choose):
                # Nothing can go; what is left to do is one segment instead of several.
                segments = self.state().view.segments
                if len(segments) > 1:
                    self._merge_those(segments)

    def _compact_if_worth(self) -> None:
        def choose(state: State) -> Compaction | None:
            plan = Compaction(state, self._expired(state))
            return plan if len(plan) and len(plan) >= self.settings.compact_share * state.rows else None

        with self._maintenance:
            # The first look costs other processes nothing; the choice that counts is made with the lock held.
            if choose(self.state()) is not None:
                self._compact(choose)

    def _compact(self, choose: Callable[[State], Compaction | None]) -> bool:
        """Compact as is chosen for the state in force while no other process can switch to another generation."""

        def make_plan(view: RowsView) -> Plan | None:
            chosen = choose(self._advance(view))
            if chosen is None:
                return None
            return Plan(chosen.rewrite, chosen.horizon, chosen.horizon_time, len(chosen))

        done = self.rows.compact(make_plan)
        self._advance(self.rows.view)
        if done:
            self._note("compaction")
        return done

    def _expired(self, state: State) -> int:
        """How many rows the oldest state has that must stay readable."""
        if not self.settings.retention:
            return 0
        return state.first_since(time.time_ns() // 1_000_000 - int(self.settings.retention * 1000))

    def _note(self, name: str) -> None:
        self._last[name] = time.time_ns() // 1_000_000

    def _look(self) -> bool:
        """Whether other processes have committed, for those who wait for it."""
        if self.closed:
            return False
        last = self._state.last
        try:
            return self.state().last != last
        except Exception:
            # They find out themselves when they look.
            return True

    # Inspection

    def check(self) -> list[str]:
        """See `mixkit.storage.Database.check`."""
        return [*self.rows.check(), *unreached(self.state())]

    def stats(self, state: State) -> dict[str, Any]:
        """See `mixkit.storage.Database.stats`. What ends in `_here`, in Unix milliseconds, and the errors are those of
        this process: others that have the database open do such work, too."""
        records = len(state.current())
        return {
            "records": records,
            "deleted": len(state.visible(deleted=True, superseded=False)) - records,
            "versions": state.rows,
            "commits": state.last,
            "size": self.rows.size(),
            "quota": self._quota.most or None,
            "log_bytes": sum(tail.size for tail in state.tails),
            "log_versions": sum(map(len, state.tails)),
            "segments": len(state.segments),
            "generation": state.view.generation,
            "clock_ahead": ahead(state),
            "horizon": watermark(state.view.horizon) if state.view.horizon else None,
            **{f"last_{name}_here": when for name, when in self._last.items()},
            "errors": sorted(self._errors.values()),
        }

    def close(self) -> None:
        """Stop what runs by itself, and let go of the files."""
        self._stop_background()
        if self._rows is not None and self._committed and sum(map(len, self._state.tails)) >= _LONG_LOG:
            self._attempt("flush", self.flush)
        self.closed = True
        # A commit or flush of another thread may have asked for it again.
        self._stop_background()
        with self._maintenance:
            if self._rows is not None:
                self._rows.close()

    def _stop_background(self) -> None:
        worker.cancel(self)
        self._settling.cancel()

    # Forks

    def _reopen(self) -> Rows:
        with self._mutex:
            if self._rows is None:
                self._start(self._open_rows())
            assert self._rows is not None
            return self._rows

    def before_fork(self) -> None:
        """Keep whole what is only in memory."""
        if isinstance(self._rows, MemoryRows):
            self._rows.before_fork()
        self._mutex.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Go on. In a child files are opened anew when they are needed: threads that held locks are not here."""
        if child:
            self._maintenance = threading.Lock()
            self._pending = Pending()
            self.arrivals.renew()
        self._mutex.release()
        if isinstance(self._rows, MemoryRows):
            self._rows.after_fork()
        elif child and not self.closed:
            self._rows = None


class _Forking:
    """Takes all engines through a fork."""

    def __init__(self) -> None:
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._mutex = threading.Lock()
        self._stopped: list[Engine] = []

    def add(self, engine: Engine) -> None:
        with self._mutex:
            self._engines.add(engine)

    def before(self) -> None:
        self._mutex.acquire()
        self._stopped = list(self._engines)
        for engine in self._stopped:
            engine.before_fork()

    def after(self, *, child: bool) -> None:
        for engine in self._stopped:
            engine.after_fork(child=child)
        self._stopped = []
        self._mutex.release()


_forking = _Forking()
os.register_at_fork(
    before=_forking.before,
    after_in_parent=lambda: _forking.after(child=False),
    after_in_child=lambda: _forking.after(child=True),
)


def _indexed(commits: Sequence[StoredCommit]) -> Iterator[bytes]:
    yield from index_rows(commits[0].row, (record for commit in commits for record in commit.records))


def _opened(segment: SegmentView) -> Segment:
    return Segment(segment.name, segment.data)
