"""Where WebSockets may go, and peers that mean harm."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection

from mixkit.errors import GrantError, LimitExceeded
from mixkit.grants import Grants
from mixkit.value import Case

World: TypeAlias = Any


@pytest.mark.parametrize(
    "url", ["ws://server.test/", "https://server.test/", "wss://u:p@server.test/", "wss:/x"]
)
async def test_urls_that_are_refused(world: World, url: str) -> None:
    assert await world.agent().refused(url)
    assert world.asked == []


async def test_plain_ws_only_in_dangerous_mode(world: World) -> None:
    world.change(dangerous_ws_mode=True)
    assert "cannot connect" in await world.agent().refused("ws://127.0.0.1:9/")


async def test_the_grant_names_the_hosts(world: World) -> None:
    url = await world.serve(_wait)
    grants = Grants(["*"], {"ws.hosts": ["server.test"]})
    await world.agent(grants).connect(url)
    assert "granted hosts" in await world.agent(grants).refused(url.replace("server.test", "other.test"))
    with pytest.raises(GrantError, match=r"ws\.hosts"):
        await world.agent(Grants(["*"], {"ws.hosts": "server.test"})).connect(url)


async def _wait(connection: ServerConnection) -> None:
    await connection.wait_closed()


def _redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def test_a_redirect_to_another_origin_drops_what_the_agent_set(world: World) -> None:
    seen: list[dict[str, str]] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append({name.lower(): value for name, value in connection.request.headers.raw_items()})

    there = (await world.serve(note)).replace("server.test", "other.test")
    here = await world.raw(_redirect(there.replace("wss:", "https:") + "x"))
    answer = await world.agent().connect(here, headers={"X-Key": "k", "User-Agent": "me"}, oauthToken="t")
    assert answer["url"] == there + "x"
    assert not {"x-key", "authorization"} & seen[0].keys()
    assert seen[0]["user-agent"] == "mixkit"


async def test_a_redirect_within_the_origin_keeps_them(world: World) -> None:
    seen: list[dict[str, str]] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append({name.lower(): value for name, value in connection.request.headers.raw_items()})

    def turn(connection: ServerConnection, request: Any) -> Any:
        if request.path == "/":
            response = connection.respond(307, "")
            response.headers["Location"] = "/there?x=1"
            return response
        return None

    url = await world.serve(note, process_request=turn)
    answer = await world.agent().connect(url, oauthToken="t")
    assert (answer["url"], seen[0]["authorization"]) == (url + "there?x=1", "Bearer t")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://127.0.0.1/", "refused"),
        ("wss://evil.test/", "it resolves to"),
        ("ws://server.test/", "from wss to ws"),
        ("http://server.test/", "from wss to ws"),
        ("ftp://server.test/", "refused"),
        ("//u:p@server.test/", "refused"),
    ],
)
async def test_where_a_redirect_may_not_lead(world: World, location: str, said: str) -> None:
    world.names["evil.test"] = ["10.0.0.1"]
    assert said in await world.agent().refused(await world.raw(_redirect(location)))


async def test_redirects_end(world: World) -> None:
    world.change(max_redirects=3)
    assert "ws.max_redirects" in await world.agent().refused(await world.raw(_redirect("/again")))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"",
        b"HTTP/1.1 403 Forbidden\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_peers_that_are_no_websocket_servers(world: World, answer: bytes) -> None:
    message = await world.agent().refused(await world.raw(answer))
    assert "server.test" in message and "127.0.0.1" not in message and len(message) < 300


async def test_a_peer_that_says_nothing(world: World) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0, ssl=world.context)
    world.stack.callback(server.close)
    url = world.open(server.sockets[0].getsockname()[1])
    assert "no connection within 0.3 s" in await world.agent().refused(url, timeout=0.3)


async def test_a_certificate_for_another_name(world: World) -> None:
    world.names["third.test"] = ["127.0.0.1"]
    url = (await world.serve(_wait)).replace("server.test", "third.test")
    assert "certificate is not valid" in await world.agent().refused(url)


@pytest.mark.parametrize("compression", [False, True])
async def test_a_message_that_is_too_large_ends_the_connection(world: World, compression: bool) -> None:
    world.change(max_message_bytes=10_000)

    async def flood(connection: ServerConnection) -> None:
        await connection.send("x" * 100_000)
        await connection.wait_closed()

    agent = world.agent()
    socket = (await agent.connect(await world.serve(flood), compression=compression))["socket"]
    closed = await agent.receive(socket)
    assert closed.name == "closed" and closed.arg["code"] == 1009
    socket = (await agent.connect(await world.serve(_wait)))["socket"]
    answer = await agent.call("send", socket, "å" * 5_001)
    assert answer.name == "error" and "ws.max_message_bytes" in answer.arg


async def test_a_peer_that_sends_faster_than_the_agent_reads_is_made_to_wait(world: World) -> None:
    world.change(queue=2)
    sent = 0
    stalled = asyncio.Event()

    async def flood(connection: ServerConnection) -> None:
        nonlocal sent
        while True:
            try:
                await asyncio.wait_for(connection.send(b"x" * 100_000), 0.5)
            except TimeoutError:
                stalled.set()
                await connection.wait_closed()
                return
            sent += 1

    agent = world.agent()
    socket = (await agent.connect(await world.serve(flood)))["socket"]
    await asyncio.wait_for(stalled.wait(), 30)
    # What the kernel's and asyncio's buffers hold, and the two that wait: tens of megabytes, not all there is.
    assert sent < 300
    for _ in range(sent):
        assert (await agent.receive(socket)).name == "message"


async def test_bytes_count_as_they_arrive_read_or_not(world: World) -> None:
    async def flood(connection: ServerConnection) -> None:
        for _ in range(20):
            await connection.send(b"x" * 10_000)
        await connection.wait_closed()

    url = await world.serve(flood)
    agent = world.agent(outgoing_bytes=100_000)
    with pytest.raises(LimitExceeded, match="outgoing_bytes"):
        # It may be used up while the handshake is read.
        socket = (await agent.connect(url))["socket"]
        for _ in range(21):
            await agent.receive(socket)
    agent = world.agent(outgoing_bytes=10_000)
    socket = (await agent.connect(await world.serve(_wait)))["socket"]
    with pytest.raises(LimitExceeded, match="outgoing_bytes"):
        await agent.call("send", socket, "x" * 20_000)


async def test_a_peer_that_reads_nothing_holds_no_run(world: World) -> None:
    hold = asyncio.Event()

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await hold.wait()
        connection.transport.abort()

    agent = world.agent(wall_time=1.5)
    socket = (await agent.connect(await world.serve(deaf)))["socket"]
    with pytest.raises(LimitExceeded, match="wall_time"):
        for _ in range(10_000):
            await agent.call("send", socket, b"x" * 1_000_000)
    hold.set()


async def test_proxies_of_the_environment_are_not_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "wss_proxy", "all_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    agent = world.agent()
    socket = (await agent.connect(await world.serve(_echo_one)))["socket"]
    await agent.call("send", socket, "x")
    assert await agent.receive(socket) == Case("message", "x")


async def _echo_one(connection: ServerConnection) -> None:
    await connection.send(await connection.recv())


async def test_a_proxy_of_the_profile(world: World) -> None:
    asked: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).decode().split()[1]
        asked.append(line)
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", int(line.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(
            pass_on(reader, upstream), pass_on(upstream_reader, writer), return_exceptions=True
        )

    listener = await asyncio.start_server(proxy, "127.0.0.1", 0)
    world.stack.callback(listener.close)
    url = await world.serve(_echo_one)
    world.change(proxy=f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    agent = world.agent()
    socket = (await agent.connect(url))["socket"]
    await agent.call("send", socket, "x")
    assert await agent.receive(socket) == Case("message", "x")
    assert asked == [url[6:-1]]
    # The target is checked all the same.
    assert "refused" in await agent.refused("wss://10.0.0.1/")
    await agent.call("close", socket)
