"""One session of SQL, from the side of the server: what it asks of the process, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from mix_duckdb.processes import OwnerLost, Process
from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.shared import Shared, Tables
from mix_duckdb.wire import (
    HEADER,
    MAX_HEAD,
    Batch,
    Close,
    Failed,
    Message,
    Need,
    Next,
    Offer,
    Query,
    Result,
    Table,
    dump,
    load,
)
from mixkit import codec
from mixkit.errors import FFIError, MixError

__all__ = ["Answer", "Column", "Late", "Session", "receive"]

_GRACE: Final = 0.15
"""Seconds after a deadline at which the process is killed from here; it does so itself a little earlier."""
_MANY: Final = 1 << 62
_closing = threading.Lock()


class Late(FFIError):
    """A statement was stopped because its time was over."""

    code = "duckdb_late"


class Column(msgspec.Struct, frozen=True):
    """A column of an answer: its name, and its type as DuckDB spells it."""

    name: str
    type: str


class Answer:
    """What the last of the statements answered.

    Attributes:
        columns: none if it answers no rows.
        changed: rows that it inserted, changed or deleted; None if it is no such statement.
    """

    def __init__(self, session: Session, id: int, result: Result, body: bytes, *, arrow: bool) -> None:
        self.columns = tuple(Column(name, type) for name, type in result.columns)
        self.changed = result.changed
        self._session = session
        self._id = id
        self._arrow = arrow
        self._first: tuple[bytes, int] | None = (body, result.rows) if result.rows else None
        self._done = result.done

    @property
    def done(self) -> bool:
        """Whether all rows have been read."""
        return self._done and self._first is None

    async def arrow(self) -> bytes | None:
        """The next batch as an Arrow IPC stream of its own; None after the last. For `query(…, arrow=True)`."""
        found = await self._next(arrow=True)
        return None if found is None else found[0]

    async def rows(self) -> list[dict[str, Any]] | None:
        """The next batch as maps of values; None after the last."""
        found = await self._next(arrow=False)
        if found is None:
            return None
        body, count = found
        values: Any = codec.decode(body)
        names = [column.name for column in self.columns]
        if type(values) is not list or [len(column) for column in values] != [count] * len(names):
            raise self._session.garbled()
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    async def _next(self, *, arrow: bool) -> tuple[bytes, int] | None:
        if arrow is not self._arrow:
            raise FFIError(
                "expected rows to be read as they were asked for: query(…, arrow=True), or as values"
            )
        if self._first is None and not self._done:
            body, batch = await self._session.more(self._id)
            self._done = batch.done
            return (body, batch.rows) if batch.rows else None
        found, self._first = self._first, None
        return found

    def close(self) -> None:
        """Let go of what was not read. Twice is harmless."""
        self._first = None
        if not self._done:
            self._done = True
            self._session.drop(self._id)


class Session:
    """One connection. Statements of one session follow one another; an answer stays readable when others come.

    Args:
        process: that is at the other end of its socket.
        alone: called when the session ends, if the process is there for it only, and ends with it.

    Attributes:
        pid: of that process.
        lacks: what the system does not have to confine it.
    """

    def __init__(
        self,
        settings: DuckdbSettings,
        process: Process,
        deadline: float,
        alone: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._process = process
        self._deadline = deadline
        self._alone = alone
        self._tables: dict[str, Tables] = {}
        self._waiting = bytearray()
        self._last = 0
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.pid = 0
        self.lacks: list[str] = []
        process.socket.setblocking(False)

    @property
    def closed(self) -> bool:
        """Whether it has ended, by `close` or because its process has."""
        return self._closed

    async def query(
        self,
        sql: str,
        params: Sequence[Any] | Mapping[str, Any] = (),
        *,
        arrow: bool = False,
        most_bytes: int | None = None,
        most_values: int | None = None,
    ) -> Answer:
        """Execute the statements of the text, the parameters being for the last of them.

        Args:
            params: an array for `?` and `$1`, a map for `$name`.
            arrow: whether rows are wanted as Arrow, or as values.
            most_bytes, most_values: that a batch may have as codec words, keys included; else as the settings say.

        Raises:
            FFIError: refused, or it failed; says where and what to do. Those before the failing one are done.
            Late: the deadline, or that of one statement.
            OwnerLost: the process ended in the middle. What was committed is there, and the next session works.
        """
        if len(sql.encode(errors="replace")) > self._settings.max_text:
            raise FFIError(
                f"the statements have more than {self._settings.max_text} bytes; data goes into the parameters, or the "
                "setting duckdb.max_text raises it"
            )
        body = codec.encode(dict(params) if isinstance(params, Mapping) else list(params))
        self._last += 1
        id = self._last
        until = self._until()
        size = (
            self._settings.batch_bytes if most_bytes is None else min(most_bytes, self._settings.batch_bytes)
        )
        asked = Query(id, sql, until, arrow, size, _MANY if most_values is None else most_values)
        answer, found = await self._ask(asked, body, until)
        if not isinstance(answer, Result):
            raise self.garbled()
        return Answer(self, id, answer, found, arrow=arrow)

    def offer(self, tables: Tables) -> None:
        """Let statements name more tables. Of two of one name the later is meant."""
        names = sorted(tables.names())
        self._tables |= dict.fromkeys(names, tables)
        self._waiting += dump(Offer(names))

    async def more(self, id: int) -> tuple[bytes, Batch]:
        """The next rows of an answer. For `Answer`."""
        until = self._until()
        answer, body = await self._ask(Next(id, until), b"", until)
        if not isinstance(answer, Batch):
            raise self.garbled()
        return body, answer

    def drop(self, id: int) -> None:
        """Those of an answer are not wanted. For `Answer`."""
        self._waiting += dump(Close(id))

    def garbled(self) -> OwnerLost:
        """The error for what cannot be understood, which ends the session."""
        self.close()
        return OwnerLost("the process of the database does not answer as expected; this session was ended")

    def close(self) -> None:
        """End the session: what was not committed is rolled back. Twice is harmless. From any thread."""
        with _closing:
            if self._closed:
                return
            self._closed = True
        if self._alone is not None:
            self._process.kill()
            self._alone()
        # Whoever waits for an answer hears of it by this; the descriptor is the event loop's as long as it watches it.
        with suppress(OSError):
            self._process.socket.shutdown(socket.SHUT_RDWR)
        try:
            self._loop.call_soon_threadsafe(self._let_go)
        except RuntimeError:  # The loop is closed.
            self._process.close()

    def _let_go(self) -> None:
        if self._closed and not self._turn.locked():
            self._process.close()

    # -- the wire -------------------------------------------------------------------------------------

    def _until(self) -> float:
        return min(self._deadline, time.monotonic() + self._settings.statement_time)

    async def _ask(self, message: Message, body: bytes, until: float) -> tuple[Message, bytes]:
        """What is answered to a message, tables being handed over meanwhile."""
        try:
            return await self._asked(message, body, until)
        finally:
            self._let_go()

    async def _asked(self, message: Message, body: bytes, until: float) -> tuple[Message, bytes]:
        begun = False
        try:
            async with asyncio.timeout(max(until + _GRACE - time.monotonic(), 0)), self._turn:
                if self._closed:
                    raise OwnerLost("this session of the database has ended, with what it had in memory")
                begun = True
                answer, found, refused = await self._exchange(message, body)
        except TimeoutError:
            if begun:
                self._process.kill()
                self.close()
            raise self._late() from None
        except (OSError, EOFError, ValueError):
            late = time.monotonic() >= until
            self.close()
            raise (self._late() if late else self._lost()) from None
        except MixError:
            raise
        except BaseException:
            # Cancelled in the middle: what comes next is the answer to this.
            if begun:
                self.close()
            raise
        if isinstance(answer, Failed):
            raise refused or self._error(answer)
        return answer, found

    async def _exchange(self, message: Message, body: bytes) -> tuple[Message, bytes, MixError | None]:
        frame = bytes(self._waiting) + dump(message, body) + body
        self._waiting.clear()
        refused: MixError | None = None
        await asyncio.get_running_loop().sock_sendall(self._process.socket, frame)
        while True:
            answer, found = await receive(self._process.socket, 4 * self._settings.batch_bytes)
            if not isinstance(answer, Need):
                return answer, found, refused
            try:
                await self._hand_over(answer)
            except MixError as exc:
                refused = exc
                await asyncio.get_running_loop().sock_sendall(
                    self._process.socket, dump(Failed("sql", str(exc)))
                )

    async def _hand_over(self, need: Need) -> None:
        name = need.name
        tables = self._tables.get(name)
        if tables is None:
            raise FFIError(f"there is no table {name!r:.100}")
        table: Shared = await tables.load(name, need.columns)
        frame = dump(Table(table.size))
        # So short a frame fits, because the other end has read all that was sent.
        sent = socket.send_fds(self._process.socket, [frame], [table.descriptor])
        await asyncio.get_running_loop().sock_sendall(self._process.socket, frame[sent:])

    def _late(self) -> Late:
        return Late(
            f"the statement was stopped because its time was over: at most {self._settings.statement_time:g} s "
            "(setting duckdb.statement_time), and what the run has left"
        )

    def _lost(self) -> OwnerLost:
        if self._alone is not None:
            return OwnerLost(
                "the process that ran the statement ended, with what it had in memory; try again"
            )
        return OwnerLost(
            "the process of the database file ended in the middle; what was committed is there, this statement may be "
            "or not: look it up; the next session works"
        )

    def _error(self, failed: Failed) -> FFIError:
        if failed.kind == "time":
            return self._late()
        if failed.kind == "lost":
            self.close()
            return OwnerLost(f"the database had to be closed: {failed.message}; the next session works")
        if failed.kind == "memory":
            return FFIError(
                f"out of memory: {failed.message}; aggregate or LIMIT earlier, or raise the settings "
                "duckdb.memory_limit and duckdb.process_memory"
            )
        return FFIError(failed.message)


async def receive(sock: socket.socket, most: int) -> tuple[Message, bytes]:
    """A message and its body.

    Raises:
        EOFError: the other end is gone.
        ValueError: the frame is none of ours, or longer.
    """
    size, rest = HEADER.unpack(await _exactly(sock, HEADER.size))
    if size > MAX_HEAD or rest > most + MAX_HEAD:
        raise ValueError("a frame that is too long")
    return load(await _exactly(sock, size)), await _exactly(sock, rest)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = await loop.sock_recv(sock, size) if size else b""
    if len(data) == size:
        return data
    whole = bytearray(size)
    whole[: len(data)] = data
    at = len(data)
    while at < size:
        if not data:
            raise EOFError
        data = await loop.sock_recv(sock, min(size - at, 1 << 20))
        whole[at : at + len(data)] = data
        at += len(data)
    return bytes(whole)
