"""`$ws_connect`, `$ws_send`, `$ws_receive`, `$ws_close`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from mix_ws.connection import Socket
from mix_ws.request import ConnectRequest
from mix_ws.settings import WsSettings
from mixkit.egress import host_patterns
from mixkit.errors import FFIError
from mixkit.ffi import FFIGroup
from mixkit.header_fields import joined
from mixkit.importing import imported
from mixkit.state import State
from mixkit.value import Case, Result, Token

__all__ = ["group"]

group = FFIGroup(
    "ws",
    options={
        "ws.hosts": "host patterns that WebSockets may go to, as feed.example.com, *.example.com, host:8443"
    },
    checks={"ws.hosts": partial(host_patterns, "ws.hosts")},
)

_REASON: Final = 123
"""Bytes that a close frame has for a reason: RFC 6455, section 5.5.1."""


class Sockets:
    """How many connections a run has open."""

    def __init__(self) -> None:
        self.open = 0


@group.register("$ws_connect")
async def ws_connect(state: State, request: ConnectRequest) -> Result[dict[str, Any]]:
    """Open a WebSocket. Answers `{socket, url, subprotocol, headers}`: the handle for the other calls, where it
    leads after redirects, what the peer chose of the subprotocols or null, and the headers of its answer."""
    await imported("mix_ws.opening")
    from mix_ws.opening import opened

    settings = _settings(state)
    sockets = state.get(Sockets) or state.put(Sockets())
    if sockets.open >= settings.connections:
        raise FFIError(
            f"this run has {sockets.open} WebSockets open; close one, or raise the setting ws.connections"
        )
    sockets.open += 1
    try:
        connection, url = await opened(state, request, settings)
    except BaseException:
        sockets.open -= 1
        raise

    socket = Socket(connection, state.budget)

    def close(_: Socket) -> None:
        sockets.open -= 1
        socket.end()

    try:
        handle = state.hold(socket, close)
    except BaseException:
        close(socket)
        raise
    response = connection.response
    headers = {} if response is None else joined(response.headers.raw_items())
    return {"socket": handle, "url": url, "subprotocol": connection.subprotocol, "headers": headers}


@group.register("$ws_send")
async def ws_send(state: State, socket: Token, message: str | bytes) -> Result[None]:
    """Send a message: a string as text, binary as binary. Waits while the peer takes nothing."""
    from websockets.exceptions import ConnectionClosed

    found = state.held(socket, Socket)
    size = len(message.encode()) if isinstance(message, str) else len(message)
    _check_size(state, size)
    state.budget.spend("outgoing_bytes", size)
    try:
        # The end of the run, or its deadline, cancels the wait.
        await found.send(message)
    except ConnectionClosed:
        raise _ended(found) from None


@group.register("$ws_receive")
async def ws_receive(
    state: State,
    socket: Token,
    timeout_ms: Annotated[float | None, "none waits as long as the run may"] = None,
) -> Case:
    """The next message: `message(string)` or `message(binary)`, `timeout` if none came in that time, or
    `closed({code, reason})` when the connection has ended; messages that came before are given first."""
    from websockets.exceptions import ConnectionClosed

    found = state.held(socket, Socket)
    seconds = None if timeout_ms is None else state.budget.wait(timeout_ms)
    try:
        return Case("message", await found.receive(seconds))
    except TimeoutError:
        state.budget.check_time()
        return Case("timeout")
    except ConnectionClosed:
        if (limit := found.exceeded()) is not None:
            raise limit from None
        return Case("closed", found.ended())


@group.register("$ws_close")
async def ws_close(state: State, socket: Token, code: int = 1000, reason: str = "") -> None:
    """End a connection with a code (1000, 1001, 1003, 1007 to 1014, 3000 to 4999) and a reason of at most 123 bytes.
    Closing twice is harmless."""
    import asyncio

    if not (code in (1000, 1001, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FFIError(f"code: expected 1000, 1001, 1003, 1007 to 1014 or 3000 to 4999, found {code}")
    if len(reason.encode()) > _REASON:
        raise FFIError(f"reason: expected at most {_REASON} bytes, found {len(reason.encode())}")
    try:
        found = state.held(socket, Socket)
    except FFIError:
        return
    try:
        async with asyncio.timeout(min(_settings(state).close_timeout, state.budget.remaining())):
            await found.close(code, reason)
    except TimeoutError:
        state.budget.check_time()
    finally:
        state.release(socket)


def _settings(state: State) -> WsSettings:
    settings: WsSettings = state.services.settings("ws")
    return settings


def _check_size(state: State, size: int) -> None:
    limit = _settings(state).max_message_bytes
    if size > limit:
        raise FFIError(
            f"the message has {size} bytes, at most {limit} are sent; the setting ws.max_message_bytes raises it"
        )


def _ended(socket: Socket) -> Exception:
    if (limit := socket.exceeded()) is not None:
        return limit
    how = socket.ended()
    return FFIError(f"the connection has ended: code {how['code']}, reason {how['reason']!r}")
