"""MCP over HTTP: `POST /mcp/{ws}`, each message a request of its own, both revisions at one address."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypedDict

from mix_server.caller import Permission
from mix_server.described import JSON, Method
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
    Message,
    answer,
    failure,
    read,
    request,
)
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
from mixkit.signals import Owner
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
        server.ending.append(self._close)

    async def on_post(self, req: Request, resp: Response, ws: str) -> None:
        settings = self._server.settings
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
                self._stream(req, resp, bridge, client, message, ws)
                return
            with req.watch():
                asked = Asked(message.id, req.who, client, req.id, _nobody, constant=_is_constant(req))
                resp.data = answer(message.id, await bridge.handle(asked, message))
        except Fault as fault:
            resp.status = _status(fault, modern=modern)
            resp.data = failure(None if message is None else message.id, fault)

    async def _close(self) -> None:
        for bridge in self._bridges.values():
            await bridge.close()

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

    def _stream(
        self, req: Request, resp: Response, bridge: Bridge, client: Client, message: Message, ws: str
    ) -> None:
        """Answer with events: what is told meanwhile, and the answer as the last."""
        assert message.id is not None
        told: asyncio.Queue[bytes | None] = asyncio.Queue()
        asked = Asked(message.id, req.who, client, req.id, told.put_nowait, constant=_is_constant(req))
        if not client.modern:
            asked.ask = together(partial(self._ask_one, ws, req, told.put_nowait))

        async def work() -> None:
            try:
                told.put_nowait(answer(asked.id, await bridge.handle(asked, message)))
            except Fault as fault:
                told.put_nowait(failure(asked.id, fault))
            finally:
                told.put_nowait(None)

        task = asyncio.get_running_loop().create_task(work())

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
        _, outcome = await signals.wait([id], owner, most)
        if outcome.name != "ok":
            raise FFIError("the client could not answer")
        found: dict[str, Any] = outcome.arg
        return found

    async def _settle(self, ws: str, found: Answer) -> None:
        outcome = error("no answer") if found.result is None else ok(tagged_json.from_json(found.result))
        with contextlib.suppress(NotFound, FFIError):
            # Whoever knows the id may answer; that of another workspace is known to nobody here.
            if (await self._server.kernel.signals.find(str(found.id))).owner.workspace == ws:
                await self._server.kernel.signals.settle(str(found.id), outcome)


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
