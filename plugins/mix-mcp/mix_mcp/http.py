"""MCP over HTTP: `POST /mcp/{ws}`, each message a request of its own, both revisions at one address."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypedDict
from urllib.parse import urlsplit

from mix_server.auth import is_of_another_site
from mix_server.caller import Permission
from mix_server.described import JSON, Method
from mix_server.errors import Forbidden
from mix_server.event_stream import EVENTS
from mix_server.streams import Stream

from mix_mcp.asked import Asked
from mix_mcp.bridge import Bridge
from mix_mcp.exchange import together
from mix_mcp.headers import METHOD, NAME, VERSION, named, plain
from mix_mcp.message import (
    HEADER_MISMATCH,
    INTERNAL,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    Answer,
    Fault,
    Id,
    Message,
    answer,
    failure,
    read,
    request,
)
from mix_mcp.open_calls import OpenCalls
from mix_mcp.revision import (
    LATEST,
    LEVELS,
    MODERN,
    SESSIONS,
    SUPPORTED,
    Client,
    client_of,
    of_session,
    version_of,
)
from mix_mcp.session import HEADER, close, open_session
from mixkit import tagged_json
from mixkit.errors import FFIError, NotFound
from mixkit.signals import CANCELED, Owner
from mixkit.value import error, ok

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Endpoint"]

_REFUSED: Final = frozenset((PARSE_ERROR, INVALID_REQUEST, HEADER_MISMATCH, UNSUPPORTED_VERSION))
"""Codes of faults of the request itself, whose status is 400 for every client."""
_TOOLS: Final = "tools"
_LISTEN: Final = "subscriptions/listen"
_SILENT: Final = 1.0
"""Seconds for which nothing is said before a stream begins, in which it may turn out that none is needed."""
_TELLING: Final = frozenset(("tools/call", "prompts/get", "resources/read"))
"""Methods that may have an agent run, which may tell something before its answer."""


class _Query(TypedDict, total=False):
    tools: Literal["constant"]


class Endpoint:
    """`POST /mcp/{ws}`: a message of a client, and the answer to it."""

    permissions: ClassVar = {"POST": Permission.SEE}
    options: ClassVar = {"POST": frozenset({_TOOLS})}
    methods: ClassVar = {
        "POST": Method(
            "A message of the Model Context Protocol",
            # An error is one of JSON-RPC, in the body of a status that fits.
            {200: dict[str, Any], 202: None, **dict.fromkeys((400, 404, 500), dict[str, Any])},
            (JSON, EVENTS),
            takes=dict[str, Any],
            query=_Query,
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server
        self._bridges: dict[str, Bridge] = {}
        base = server.settings.base_url
        self._here = () if base is None else (urlsplit(base).netloc,)
        self._calls = OpenCalls(lambda: server.kernel.bus)
        server.ending.append(self._close)

    async def on_post(self, req: Request, resp: Response, ws: str) -> None:
        settings = self._server.settings
        self._check_origin(req)
        resp.content_type = JSON
        message: Message | None = None
        modern = True
        try:
            if (req.content_type or "").partition(";")[0].strip().lower() != JSON:
                raise Fault(PARSE_ERROR, f"expected a message as {JSON}")
            found = read(await req.body(settings.params_limit, settings.body_timeout))
            modern = req.get_header(VERSION) not in (None, *SESSIONS)
            if isinstance(found, Answer):
                await self._settle(ws, found)
                resp.status = 202
                return
            message = found
            if message.id is None:
                await self._hear(req, message)
                resp.status = 202
                return
            bridge = self._bridge(ws)
            client = self._client(req, message)
            modern = client.modern
            if message.method == "initialize" and not modern:
                client, result = bridge.initialized(message.params, changes=False)
                resp.set_header(HEADER, close(self._server.kernel.keyring, req.who, client))
                resp.data = answer(message.id, result)
                return
            if _has_events(req, client, message):
                await self._stream(req, resp, bridge, client, message, ws)
                return
            with req.watch():
                asked = _asked(req, client, message.id, _nobody)
                resp.data = answer(message.id, await bridge.handle(asked, message))
        except Fault as fault:
            resp.status = _status(fault, modern=modern)
            resp.data = failure(fault.id if message is None else message.id, fault)

    async def _close(self) -> None:
        await self._calls.close()
        for bridge in self._bridges.values():
            await bridge.close()

    def _check_origin(self, req: Request) -> None:
        """Refuse what pages of other sites have a browser send, whatever they send with it."""
        origin = req.get_header("Origin")
        if (
            origin is not None
            and not self._server.cors.allows(origin)
            and is_of_another_site(req, self._here)
        ):
            raise Forbidden(
                f"expected a request of no page, or of one of this server or its cors_origins, found {origin[:80]}"
            )

    async def _hear(self, req: Request, message: Message) -> None:
        session = req.get_header(HEADER)
        if message.method == "notifications/cancelled" and session is not None:
            await self._calls.cancel(session, message.params.get("requestId"))

    def _bridge(self, ws: str) -> Bridge:
        bridge = self._bridges.get(ws)
        if bridge is None:
            # Who may not see it has been refused already; one that is not there is said by the store.
            self._server.store.workspace(ws).apps()
            bridge = self._bridges[ws] = Bridge(self._server, ws)
        return bridge

    def _client(self, req: Request, message: Message) -> Client:
        session = req.get_header(HEADER)
        client = _client(req, message)
        if session is None or client.modern:
            return client
        return of_session(open_session(self._server.kernel.keyring, req.who, session), message.params)

    async def _stream(
        self, req: Request, resp: Response, bridge: Bridge, client: Client, message: Message, ws: str
    ) -> None:
        """Answer with events: what is told meanwhile, and the answer as the last. One that comes at once, and before
        which nothing is told, is no stream, and has its own status."""
        assert message.id is not None
        told: asyncio.Queue[bytes | None] = asyncio.Queue()
        begun = asyncio.get_running_loop().create_future()

        def tell(line: bytes) -> None:
            told.put_nowait(line)
            if not begun.done():
                begun.set_result(None)

        asked = _asked(req, client, message.id, tell)
        if not client.modern:
            asked.ask = together(partial(self._ask_one, ws, req, tell))

        session = None if client.modern else req.get_header(HEADER)

        async def work() -> dict[str, Any]:
            try:
                with self._calls.working(session, asked.id) if session else contextlib.nullcontext():
                    return await bridge.handle(asked, message)
            finally:
                told.put_nowait(None)

        task = asyncio.get_running_loop().create_task(work())
        # Whoever has gone does not ask what came of it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            with req.watch():
                await asyncio.wait((task, begun), timeout=_SILENT, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done() and not task.cancelled() and not begun.done():
            resp.data = answer(asked.id, task.result())
            return

        def last() -> bytes:
            try:
                return answer(asked.id, task.result())
            except Fault as fault:
                return failure(asked.id, fault)

        def release() -> None:
            task.cancel()

        async def parts() -> AsyncGenerator[bytes, None]:
            while True:
                try:
                    line = await asyncio.wait_for(told.get(), self._server.settings.heartbeat)
                except TimeoutError:
                    yield b":\n\n"
                    continue
                if line is None:
                    await asyncio.wait((task,))
                    # What its client has cancelled has no answer.
                    if not task.cancelled():
                        yield b"event: message\ndata: " + last() + b"\n\n"
                    return
                yield b"event: message\ndata: " + line + b"\n\n"

        resp.content_type = EVENTS
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Accel-Buffering", "no")
        resp.stream = Stream(self._server.streams, req, parts(), release, endless=message.method == _LISTEN)

    async def _ask_one(
        self, ws: str, req: Request, tell: Callable[[bytes], None], method: str, params: Any
    ) -> dict[str, Any]:
        """Ask the client of a session, whose answer is a request of its own, to whichever worker."""
        signals, owner = self._server.kernel.signals, Owner(ws, None, req.who.named, None)
        most = self._server.settings.postpone_timeout
        id = await signals.create(owner, most)
        tell(request(id, method, params))
        try:
            _, outcome = await signals.wait([id], owner, most)
        except BaseException:
            # Nobody waits for an answer any more.
            await asyncio.shield(self._give_up(id))
            raise
        if outcome.name != "ok":
            raise FFIError("the client could not answer")
        found: dict[str, Any] = outcome.arg
        return found

    async def _give_up(self, id: str) -> None:
        with contextlib.suppress(NotFound, FFIError):
            await self._server.kernel.signals.settle(id, CANCELED)

    async def _settle(self, ws: str, found: Answer) -> None:
        outcome = error("no answer") if found.result is None else ok(tagged_json.from_json(found.result))
        with contextlib.suppress(NotFound, FFIError):
            # Whoever knows the id may answer; that of another workspace is known to nobody here.
            if (await self._server.kernel.signals.find(str(found.id))).owner.workspace == ws:
                await self._server.kernel.signals.settle(str(found.id), outcome)


def _asked(req: Request, client: Client, id: Id, send: Callable[[bytes], None]) -> Asked:
    header = req.get_header if client.modern else None
    return Asked(id, req.who, client, req.id, send, constant=_is_constant(req), header=header)


def _nobody(line: bytes) -> None:
    """Takes what is told to a client that has no room for it."""


def _is_constant(req: Request) -> bool:
    """Whether its client wants the two tools that find and call the others: `?tools=constant`."""
    if not req.query_string:
        return False
    found = req.get_param(_TOOLS)
    if found not in (None, "constant"):
        raise Fault(INVALID_REQUEST, f"expected {_TOOLS}=constant in the query string, or nothing")
    return found is not None


def _has_events(req: Request, client: Client, message: Message) -> bool:
    """Whether there may be something to tell before the answer, to a client that takes it."""
    if message.method == _LISTEN:
        if EVENTS not in req.accept:
            raise Fault(INVALID_REQUEST, f"expected Accept with {EVENTS}, by which changes are told")
        return True
    if message.method not in _TELLING or EVENTS not in req.accept:
        return False
    return client.progress is not None or (client.level is not None if client.modern else True)


def _status(fault: Fault, *, modern: bool) -> int:
    if not modern and fault.code not in _REFUSED:
        return 200
    return 404 if fault.code == METHOD_NOT_FOUND else 500 if fault.code == INTERNAL else 400


def _client(req: Request, message: Message) -> Client:
    """Who sends a message, of whose headers and body one says what the other does."""
    version = req.get_header(VERSION)
    said = version_of(message.params)
    if said is not None:
        _same(VERSION, version, said)
    client = client_of(message.params)
    if client is None:
        if version == MODERN:
            raise Fault(
                INVALID_PARAMS, "expected _meta with the revision of the protocol and what the client can do"
            )
        if version is not None and version not in SESSIONS:
            raise Fault(
                UNSUPPORTED_VERSION,
                "Unsupported protocol version",
                {"supported": SUPPORTED, "requested": version[:40]},
            )
        return of_session(Client(version or LATEST, {}, LEVELS.index("info")), message.params)
    _same(METHOD, req.get_header(METHOD), message.method)
    name = named(message.method, message.params)
    if name is not None:
        _same(NAME, plain(req.get_header(NAME)), name)
    return client


def _same(name: str, found: str | None, expected: str) -> None:
    if found != expected:
        said = "none" if found is None else repr(found[:80])
        raise Fault(
            HEADER_MISMATCH,
            f"Header mismatch: expected {name} as the body has it, {expected[:80]!r}, found {said}",
        )
