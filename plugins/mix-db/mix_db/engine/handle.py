"""A database as one of those who have it open sees it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mix_db.engine.backup import copy_to
from mix_db.engine.dropped import dropped
from mix_db.engine.engine import Engine
from mix_db.engine.live import LiveQuery, check_live
from mix_db.engine.moments import read_watermark, state_at
from mix_db.engine.reader import PastReader, StateReader
from mix_db.query.execute import compile_query, parsed
from mix_db.versions.state import State
from mix_db.versions.version import watermark as spelled
from mixkit.errors import DatabaseGone, QueryError, StorageError
from mixkit.storage import Commit, Moment, Parsed, SaveOptions
from mixkit.value import Ref

__all__ = ["Handle"]

_OPTIONS = SaveOptions()


class Handle(StateReader):
    """Implements `mixkit.storage.Database`. One that nobody refers to any more is closed by itself; its cursors go on.

    Args:
        engine: what it is a handle of.
        read_only: refuse whatever changes the database.
        release: called once, when it is closed. It must not refer to the handle.
        is_in_place: whether who opens the same path now gets this database, so that what is saved will be found.
        is_gone: whether it was removed with all that was around it.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        read_only: bool,
        release: Callable[[], None],
        is_in_place: Callable[[], bool] = lambda: True,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        settings = engine.settings
        super().__init__(
            settings.query_timeout, settings.query_memory, settings.table_bytes, weakref.WeakSet()
        )
        self._engine = engine
        self._read_only = read_only
        self._release = release
        self._is_in_place = is_in_place
        self._is_gone = is_gone
        self._removed = False
        self._closed = False
        self._live: weakref.WeakSet[LiveQuery] = weakref.WeakSet()
        self._others: weakref.WeakSet[Handle] = weakref.WeakSet()
        dropped.start()
        self._unclosed = weakref.finalize(self, dropped.close, release)
        # Nothing is lost when a process ends.
        self._unclosed.atexit = False

    def state(self) -> State:
        if self._closed:
            self._refuse_closed()
        try:
            return self._engine.state()
        except StorageError as exc:
            if self._is_gone():
                raise DatabaseGone from exc
            raise

    def save(self, records: Sequence[Mapping[str, Any]], options: SaveOptions = _OPTIONS) -> Commit:
        return self._written(lambda: self._engine.save(records, options))

    def delete(self, ids: Sequence[Ref | str | Mapping[str, Any]]) -> Commit:
        return self._written(lambda: self._engine.delete(ids))

    def as_of(self, when: Moment) -> PastReader:
        return PastReader(self, state_at(self.state(), when))

    def changed(self, watermark: str, timeout: float | None = None) -> str | None:
        number = read_watermark(watermark)
        return self._engine.arrivals.wait(lambda: self._after(number), timeout)

    async def changed_async(self, watermark: str) -> str:
        number = read_watermark(watermark)

        # In a thread: whoever looks first takes in what others have committed.
        return await self._engine.arrivals.wait_async(lambda: asyncio.to_thread(self._after, number))

    def live(self, query: Any, params: Mapping[str, Any] | None = None) -> LiveQuery:
        self.state()
        compiled = compile_query(query)
        check_live(compiled)
        live = LiveQuery(
            compiled,
            params,
            self.state,
            self._engine.arrivals,
            self._engine.settings.query_timeout,
            self._engine.settings.query_memory,
        )
        self._live.add(live)
        return live

    def parse(self, query: Any) -> Parsed:
        self.state()
        return parsed(query)

    def flush(self) -> None:
        self._check_writable()
        self._engine.flush()

    def compact(self, *, drop_history: bool = False) -> None:
        self._check_writable()
        self._engine.compact(drop_history=drop_history)

    def check(self) -> list[str]:
        self.state()
        return self._engine.check()

    def stats(self) -> Mapping[str, Any]:
        return self._engine.stats(self.state())

    def backup(self, path: Path) -> str:
        """Copy all that has been committed to a folder, while others go on; answers the watermark of the copy.

        Raises:
            StorageError: there is something in the folder, it cannot be written, or a row is damaged.
        """
        state = self.state()
        copy_to(path, state.view)
        return state.watermark

    def again(self, *, read_only: bool) -> Handle:
        """Another handle of the database, which this one keeps open, and closes when it is closed."""
        other = Handle(
            self._engine,
            read_only=read_only,
            release=lambda: None,
            is_in_place=self._is_in_place,
            is_gone=self._is_gone,
        )
        self._others.add(other)
        if self._closed:
            other.close()
        return other

    def close(self, *, removed: bool = False) -> None:
        """`removed`: whoever goes on with it is told that it is gone."""
        self._removed = self._removed or removed
        self._closed = True
        # One of all threads that close it gets it.
        if self._unclosed.detach() is None:
            return
        for cursor in list(self._cursors):
            cursor.cancel()
        for live in list(self._live):
            live.close()
        for other in list(self._others):
            other.close(removed=removed)
        # Those who wait find it closed.
        self._engine.arrivals.announce()
        self._release()

    def _after(self, number: int) -> str | None:
        last = self.state().last
        if number > last:
            raise QueryError(
                f"expected a watermark of this database, found {spelled(number)}, which it has not reached"
            )
        return spelled(last) if last > number else None

    def _written(self, write: Callable[[], Commit]) -> Commit:
        """The commit that `write` stores, if those who open the database will find it."""
        self._check_writable()
        self._check_place("the commit is not stored")
        commit = write()
        # It may have been moved while the commit was written: before it was durable, or behind that.
        self._check_place("it is in doubt whether the commit is stored")
        return commit

    def _check_place(self, failed: str) -> None:
        if not self._is_in_place():
            raise self._failure(
                f"{failed}: expected the folder of the database where it was opened, found another one or none there;"
                " close the database and open it again (a server: start it again) to use what is there now"
            )

    def _check_writable(self) -> None:
        if self._closed:
            self._refuse_closed()
        if self._read_only:
            raise StorageError(
                "expected a database that is open for writing, found one opened to read only; open it without that"
            )

    def _refuse_closed(self) -> None:
        raise self._failure("expected an open database, found a closed one; open it again")

    def _failure(self, message: str) -> StorageError:
        return DatabaseGone() if self._removed or self._is_gone() else StorageError(message)
