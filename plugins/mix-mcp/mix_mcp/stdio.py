"""MCP over standard input and output: one message a line.

Nothing else goes there, see `output.py`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from mix_mcp.asked import Asked
from mix_mcp.exchange import together
from mix_mcp.lines import MOST, Lines, read_lines
from mix_mcp.message import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Answer,
    Fault,
    Message,
    answer,
    failure,
    notification,
    read,
    request,
)
from mix_mcp.revision import LEVELS, Client, client_of, of_session
from mix_mcp.sink import Sink
from mix_mcp.watch import EVERYTHING
from mixkit.errors import FFIError
from mixkit.vm.begun import Beginner

if TYPE_CHECKING:
    from mix_server.caller import Caller

    from mix_mcp.bridge import Bridge
    from mix_mcp.message import Id
    from mix_mcp.watch import Watch

__all__ = ["Connection", "serve"]

_MOST_AT_ONCE: Final = 1_000
"""Requests that are worked on: no more lines are read until some are answered."""
_NOTED: Final = ("logging/setLevel", "resources/subscribe", "resources/unsubscribe")
"""Methods of sessions that are good for what follows."""
_GONE: Final = "the client says nothing any more"


class _Working(NamedTuple):
    task: asyncio.Task[None]
    asked: Asked


class Connection:
    """One client, from its first line to its last. The first request says of which kind it is.

    Args:
        bridge: does what is asked.
        who: asks.
        send: takes lines for the client, at once.
        constant: see `Asked`.
    """

    def __init__(
        self, bridge: Bridge, who: Caller, send: Callable[[bytes], None], *, constant: bool = False
    ) -> None:
        self._bridge = bridge
        self._who = who
        self._send = send
        self._constant = constant
        self._session: Client | None = None
        self._modern = False
        self._meta: Any = None
        self._client: Client | None = None
        self._watch: Watch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._beginner = Beginner(asyncio.get_running_loop())
        self._working: dict[Id, _Working] = {}
        self._listening: set[Id] = set()
        self._prefix = secrets.token_hex(5)
        self._count = 0
        self._questions: dict[Id, asyncio.Future[dict[str, Any]]] = {}
        self._answerless = False

    def take(self, line: bytes | None) -> None:
        """One line: a message, or what is none and is answered by a fault. None stands for one that is too long."""
        if line is None:
            self._send(failure(None, Fault(PARSE_ERROR, f"expected a message of at most {MOST} bytes")))
            return
        if line.isspace() or not line:
            return
        message: Message | None = None
        try:
            found = read(line)
            if isinstance(found, Answer):
                self._answered(found)
                return
            message = found
            if message.id is None:
                self._hear(message)
                return
            if message.id in self._working:
                raise Fault(INVALID_REQUEST, f"expected another id: {message.id!r} is being worked on")
            asked = self._asked(message, message.id)
        except Fault as fault:
            self._send(failure(fault.id if message is None else message.id, fault))
            return
        if asked is None:
            return
        # PERF: most calls of tools end with their first step, and are answered where their line was read.
        task = self._beginner.begin(self._work(asked, message))
        if task is None:
            return
        self._working[message.id] = _Working(task, asked)
        task.add_done_callback(lambda done: self._done(asked.id))
        if message.method == "subscriptions/listen":
            self._listening.add(message.id)

    @property
    def is_full(self) -> bool:
        """Whether no more should be taken until something is answered."""
        return len(self._working) >= _MOST_AT_ONCE

    async def room(self) -> None:
        """Wait until more may be taken."""
        while self.is_full:
            tasks = [working.task for working in self._working.values()]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """The client has gone: what is being worked on is stopped."""
        self._beginner.close()
        tasks = [working.task for working in self._working.values()]
        if self._watching is not None:
            tasks.append(self._watching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self) -> None:
        """Nothing more comes: what is being worked on is answered, and nothing told any more that has no end."""
        for id in self._listening:
            self._working[id].task.cancel()
        self._answerless = True
        for question in self._questions.values():
            if not question.done():
                question.set_exception(FFIError(_GONE))
        tasks = [working.task for working in self._working.values()]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _asked(self, message: Message, id: Id) -> Asked | None:
        """The request, if it is one for the bridge. `initialize` is answered here."""
        # PERF: a client says the same of itself each time.
        meta = message.params.get("_meta")
        client = self._client
        if client is None or meta != self._meta:
            client = self._client = client_of(message.params)
            self._meta = meta
        if message.method == "initialize" and client is None:
            if self._modern:
                raise Fault(
                    METHOD_NOT_FOUND, "expected requests of the revision that this connection began with"
                )
            self._session, result = self._bridge.initialized(message.params, changes=True)
            self._send(answer(id, result))
            if self._watch is None:
                self._watch = self._bridge.watch(self._who, EVERYTHING)
                self._watching = asyncio.get_running_loop().create_task(self._tell(self._watch))
            return None
        if client is not None:
            if self._session is not None:
                raise Fault(
                    INVALID_REQUEST, "expected requests of the session that this connection began with"
                )
            self._modern = True
        elif self._session is not None:
            client = of_session(self._session, message.params)
        else:
            raise Fault(
                INVALID_REQUEST, "expected initialize first, or _meta that says the revision of the protocol"
            )
        self._count += 1
        ask = None if client.modern else together(self._ask_one)
        return Asked(
            id, self._who, client, f"{self._prefix}{self._count:06x}", self._send, ask, self._constant
        )

    async def _ask_one(self, method: str, params: Any) -> dict[str, Any]:
        """Ask the client of a session."""
        if self._answerless:
            raise FFIError(_GONE)
        self._count += 1
        id = f"{self._prefix}-{self._count}"
        answered = self._questions[id] = asyncio.get_running_loop().create_future()
        self._send(request(id, method, params))
        try:
            found: dict[str, Any] = await answered
            return found
        except asyncio.CancelledError:
            # Nobody has to answer any more.
            self._send(notification("notifications/cancelled", {"requestId": id}))
            raise
        finally:
            del self._questions[id]

    def _answered(self, found: Answer) -> None:
        question = self._questions.get(found.id)
        if question is None or question.done():
            return
        if found.result is None:
            question.set_exception(FFIError("the client could not answer"))
        else:
            question.set_result(found.result)

    async def _tell(self, watch: Watch) -> None:
        """Tell the client of a session what changes."""
        await watch.begin()
        async for method, params in watch.changes():
            self._send(notification(method, params))

    def _hear(self, message: Message) -> None:
        if message.method == "notifications/cancelled":
            id = message.params.get("requestId")
            working = self._working.get(id) if isinstance(id, str | int) else None
            if working is not None:
                # From now on, however long its run takes to stop.
                working.asked.is_over = True
                working.task.cancel()

    async def _work(self, asked: Asked, message: Message) -> None:
        try:
            result = await self._bridge.handle(asked, message)
            if self._session is not None and message.method in _NOTED:
                await self._note(self._session, message)
            line = answer(asked.id, result)
        except Fault as fault:
            line = failure(asked.id, fault)
        self._send(line)

    async def _note(self, session: Client, message: Message) -> None:
        """What is good for all that the client of a session asks from now on."""
        match message.method:
            case "logging/setLevel":
                level = LEVELS.index(message.params["level"])
                self._session = msgspec.structs.replace(session, level=level)
            case "resources/subscribe" if self._watch is not None:
                await self._watch.follow(message.params["uri"])
            case "resources/unsubscribe" if self._watch is not None:
                self._watch.leave(message.params["uri"])

    def _done(self, id: Id) -> None:
        del self._working[id]
        self._listening.discard(id)


async def serve(source: int, target: int, make: Callable[[Callable[[bytes], None]], Connection]) -> None:
    """Take lines from one descriptor, and send what comes of them to another, until the first ends.

    Args:
        make: the connection that takes them, for who sends.
    """
    sink = await Sink.open(target)
    connection = make(sink.send)

    def is_full() -> bool:
        return connection.is_full or sink.is_full

    async def room() -> None:
        await connection.room()
        await sink.drain()

    try:
        await read_lines(source, Lines(MOST), connection.take, is_full, room)
        await connection.finish()
        await sink.drain()
    except ConnectionError:
        # The client does not read any more.
        pass
    finally:
        await connection.close()
