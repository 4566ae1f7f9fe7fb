"""What our connections send is, byte for byte, what uvicorn's own send, however an application answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from mix_server.protocol import Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

App = Callable[[Any, Any, Any], Awaitable[None]]
HEAD = "Host: x\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(number: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % number


JSON = (b"content-type", b"application/json")
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "whole": [start(JSON, length(2)), body(b"{}")],
    "whole and empty": [start(length(0)), body(b"")],
    "in two parts": [start(length(4)), body(b"ab", more=True), body(b"cd")],
    "as a whole, and then an end": [start(length(2)), body(b"ab", more=True), body(b"")],
    "without a length": [start(JSON), body(b"{}")],
    "in chunks": [start((b"transfer-encoding", b"chunked")), body(b"ab", more=True), body(b"cd")],
    "with a name in capitals": [start((b"X-Other", b"1"), length(2)), body(b"{}")],
    "and closes": [start((b"connection", b"close"), length(2)), body(b"{}")],
    "without a body": [start(status=204), body(b"")],
    "not modified": [start((b"etag", b'"1"'), status=304), body(b"")],
    "a status without a name": [start(length(2), status=599), body(b"{}")],
    "too long": [start(length(1)), body(b"{}")],
    "too short": [start(length(3)), body(b"{}")],
    "a line break in a value": [start((b"x-other", b"1\r\nx-more: 2"), length(2)), body(b"{}")],
    "a space in a name": [start((b"x other", b"1"), length(2)), body(b"{}")],
    "a head alone": [start(length(2))],
    "two heads": [start(length(2)), start(length(2)), body(b"{}")],
    "more than the end": [start(length(2)), body(b"{}"), body(b"{}")],
    "nothing": [],
}
REQUESTS = {
    "GET": f"GET / HTTP/1.1\r\n{HEAD}\r\n",
    "HEAD": f"HEAD / HTTP/1.1\r\n{HEAD}\r\n",
    "POST": f"POST /a%20b?c=d HTTP/1.1\r\n{HEAD}Content-Length: 2\r\n\r\n{{}}",
    "chunks": f"POST / HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
    "expects": f"POST / HTTP/1.1\r\n{HEAD}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{{}}",
    "HTTP/1.0": "GET / HTTP/1.0\r\n\r\n",
    "two at once": f"GET /a HTTP/1.1\r\n{HEAD}\r\nGET /b HTTP/1.1\r\n{HEAD}\r\n",
}


def answering(messages: list[dict[str, Any]], heard: list[Any]) -> App:
    """Answers so; the last request, and no other, is for `/last`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(
            {key: scope[key] for key in ("method", "path", "raw_path", "query_string", "http_version")}
        )
        while True:
            event = await receive()
            heard.append(event)
            if not event.get("more_body"):
                break
        if scope["path"] == "/last":
            messages_ = [start(length(4)), body(b"last")]
        else:
            messages_ = messages
        for message in messages_:
            await send(message)
        heard.append(await receive() if messages_ and not messages_[-1].get("more_body", True) else None)

    return app


async def exchange(http: type[asyncio.Protocol], app: App, sent: bytes, **options: Any) -> bytes:
    """What comes of what is sent on a connection, until the server closes it."""
    config = uvicorn.Config(
        app, http=http, ws="none", lifespan="off", log_config=None, access_log=False, date_header=False,
        server_header=True, **options,
    )  # fmt: skip
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"today"), *config.encoded_headers]
    loop = asyncio.get_running_loop()
    async with await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}, _loop=loop),  # type: ignore[call-arg]
        "127.0.0.1",
        0,
    ) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        try:
            async with asyncio.timeout(60):
                return await reader.read()
        finally:
            writer.close()


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_same_bytes(request_: str, answer: str) -> None:
    async def both() -> list[tuple[bytes, list[Any]]]:
        found = []
        for http in (HttpToolsProtocol, Protocol):
            heard: list[Any] = []
            sent = REQUESTS[request_].encode() + LAST
            found.append((await exchange(http, answering(ANSWERS[answer], heard), sent), heard))
        return found

    theirs, ours = asyncio.run(both())
    if answer == "a head alone" and request_ not in ("HEAD", "HTTP/1.0"):
        # It is never ended: a head without its body tells nobody anything.
        assert theirs[0].startswith(ours[0])
        return
    assert ours == theirs


def test_a_quiet_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def main() -> None:
        heard: list[Any] = []
        app = answering([start(length(2)), body(b"{}")], heard)
        sent = REQUESTS["GET"].encode()
        assert (await exchange(Protocol, app, sent, timeout_keep_alive=1)).endswith(b"\r\n\r\n{}")

        config = uvicorn.Config(
            app, http=Protocol, ws="none", lifespan="off", log_config=None, timeout_keep_alive=2
        )
        config.load()
        loop, state = asyncio.get_running_loop(), ServerState()
        async with await loop.create_server(
            lambda: Protocol(config=config, server_state=state, app_state={}, _loop=loop), "127.0.0.1", 0
        ) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            until = loop.time() + 3
            while loop.time() < until:
                writer.write(sent)
                await reader.readuntil(b"{}")
                await asyncio.sleep(0.1)
            # Quiet from now on.
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())
