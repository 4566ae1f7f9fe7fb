"""SQL over the records of a database, for programs that have no loop of their own.

The engine is that of another plugin, which runs the statements in a process that can be killed; this one knows nothing
of it but the contract (`mixkit.sql`).
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from mix_db.columns.arrow import pyarrow
from mixkit.errors import QueryTimeout, StorageError
from mixkit.sql import Params, RecordTables, SqlAnswer, SqlColumn, SqlEngine, SqlSession, tables_of
from mixkit.sql_engine import sql_engine
from mixkit.storage import Reader, Record
from mixkit.vm.portal import Portal

__all__ = ["Sql", "SqlRows"]

T = TypeVar("T")

_portal: Final = Portal()
_FOREVER: Final = float("inf")
_IDLE: Final = 60.0
"""Seconds after which a session that nobody uses ends: it has a process, and holds on to a state of the database."""


def _wait(work: Coroutine[Any, Any, T], seconds: float | None) -> T:
    async def bounded() -> T:
        try:
            return await asyncio.wait_for(work, seconds)
        except TimeoutError:
            raise QueryTimeout(seconds or 0.0, "aggregate or filter earlier, or give it more time") from None

    future: Future[T] = _portal.spawn(bounded())
    try:
        return future.result()
    except BaseException:
        # Whoever pressed Ctrl+C does not want it any more.
        future.cancel()
        raise


class _Session:
    """A session and how many answers of it are still read. It ends with the last of them, once nobody else needs it."""

    def __init__(self, session: SqlSession, tables: RecordTables) -> None:
        self.session = session
        self.tables = tables
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._users = 1

    def serves(self, tables: RecordTables) -> bool:
        """Whether it has these tables."""
        known = self.tables
        return (
            self._pid == os.getpid()
            and not self.session.closed
            and (known.origin, known.watermark) == (tables.origin, tables.watermark)
        )

    def enter(self) -> None:
        with self._mutex:
            self._users += 1

    def leave(self) -> None:
        with self._mutex:
            self._users -= 1
            left = self._users
        # The process of a session that a fork inherited is the parent's.
        if not left and self._pid == os.getpid():
            self.session.close()


class SqlRows:
    """The rows that a statement answered, read batch by batch: once, in the order of the statement.

    Attributes:
        columns: each with a `name` and a `type`, as DuckDB spells it.
    """

    def __init__(self, owner: _Session, answer: SqlAnswer, seconds: float | None) -> None:
        self._owner: _Session | None = owner
        self._answer = answer
        self._seconds = seconds
        self.columns: tuple[SqlColumn, ...] = tuple(answer.columns)
        owner.enter()

    def __iter__(self) -> Iterator[Record]:
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[Record]]:
        """The rows in lists."""
        while (batch := self._next(self._answer.rows)) is not None:
            yield batch

    def arrow(self) -> Iterator[bytes]:
        """The rows as Arrow IPC streams, a batch each, if the statement was run with `arrow=True`."""
        while (batch := self._next(self._answer.arrow)) is not None:
            yield batch

    def first(self) -> Record | None:
        """The first row that was not read yet, None if there is none; the others are let go of."""
        try:
            return next(iter(self), None)
        finally:
            self.close()

    def all(self) -> list[Record]:
        """All rows."""
        return list(self)

    def table(self) -> Any:
        """All rows as a `pyarrow.Table`, if the statement was run with `arrow=True`; no object is made for a value."""
        arrow = pyarrow()
        tables = [arrow.ipc.open_stream(batch).read_all() for batch in self.arrow()]
        if tables:
            return arrow.concat_tables(tables)
        return arrow.table({column.name: arrow.array([]) for column in self.columns})

    def _next(self, read: Any) -> Any:
        if self._owner is None:
            return None
        try:
            batch = _wait(read(), self._seconds)
        except BaseException:
            self.close()
            raise
        # Nobody waits for an answer that is known.
        if batch is None or self._answer.done:
            self.close()
        return batch

    def close(self) -> None:
        """Let go of what was not read. Twice is harmless."""
        owner, self._owner = self._owner, None
        if owner is not None:
            self._answer.close()
            owner.leave()

    def __del__(self) -> None:
        if getattr(self, "_owner", None) is not None:
            self.close()


class Sql:
    """Statements on the tables of a reader: all see the records as they are when the statement begins.

    They share a session, with what they have made in it, until the records change or nobody has used it for a minute.
    Usable from any thread.

    Args:
        engine: what runs them; by default that of the process.
    """

    def __init__(self, reader: Reader, engine: SqlEngine | None = None) -> None:
        self._reader = reader
        self._engine = engine
        self._turn = threading.Lock()
        self._open: _Session | None = None
        self._closed = False
        self._expiry: Future[None] | None = None

    def query(
        self, sql: str, params: Params = (), *, timeout: float | None = None, arrow: bool = False
    ) -> SqlRows:
        """Execute the statements of a text, the parameters being for the last of them.

        Args:
            timeout: seconds that it may take, and then each batch of its rows; the engine has a limit of its own.
            arrow: whether rows are wanted as Arrow, or as maps.

        Raises:
            QueryError: it is refused, or failed; the message says where and what to do.
            NotFound: no engine is installed.
            QueryTimeout: the time is over.
            StorageError: it was closed.
        """
        with self._turn:
            owner = self._session(tables_of(self._reader), timeout)
            try:
                answer = _wait(owner.session.query(sql, params, arrow=arrow), timeout)
                return SqlRows(owner, answer, timeout)
            finally:
                if self._expiry is not None:
                    self._expiry.cancel()
                self._expiry = _portal.spawn(_expire(weakref.ref(self)))

    def _session(self, tables: RecordTables, timeout: float | None) -> _Session:
        if self._closed:
            raise StorageError("expected an open database, found a closed one; open it again")
        if self._open is None or not self._open.serves(tables):
            engine = self._engine or sql_engine()
            opened = _wait(engine.open(tables, deadline=_FOREVER), timeout)
            if self._open is not None:
                self._open.leave()
            self._open = _Session(opened, tables)
        return self._open

    def expire(self) -> None:
        """End the session if nobody uses it."""
        # Never waited for: who has the turn waits for the loop that this is called in.
        if self._turn.acquire(blocking=False):
            found, self._open = self._open, None
            self._turn.release()
            if found is not None:
                found.leave()

    def close(self) -> None:
        """End the session, when its answers are read. Twice is harmless."""
        with self._turn:
            self._closed = True
            found, self._open = self._open, None
            if self._expiry is not None:
                self._expiry.cancel()
        if found is not None:
            found.leave()

    def __del__(self) -> None:
        if getattr(self, "_open", None) is not None:
            self.close()


async def _expire(asked: weakref.ref[Sql]) -> None:
    await asyncio.sleep(_IDLE)
    found = asked()
    if found is not None:
        found.expire()
