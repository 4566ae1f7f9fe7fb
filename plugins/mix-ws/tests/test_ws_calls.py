"""What agents do with WebSockets, over real servers."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from mixkit.errors import FFIError, LimitExceeded
from mixkit.value import Case, Token

World: TypeAlias = Any


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize("message", ["", "åse", b"", b"\x00\xff", "x" * 1_000_000, b"y" * 1_000_000])
@pytest.mark.parametrize("compression", [False, True])
async def test_messages_come_back_as_they_were(world: World, message: str | bytes, compression: bool) -> None:
    agent = world.agent()
    socket = (await agent.connect(await world.serve(echo), compression=compression))["socket"]
    assert (await agent.call("send", socket, message)).name == "ok"
    assert await agent.receive(socket) == Case("message", message)


async def test_compression_is_offered_only_when_asked_for(world: World) -> None:
    seen: list[str | None] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.headers.get("Sec-WebSocket-Extensions"))

    url = await world.serve(note)
    await world.agent().connect(url)
    await world.agent().connect(url, compression=True)
    assert seen[0] is None
    assert seen[1] is not None and "permessage-deflate" in seen[1]


async def test_what_the_handshake_carries(world: World) -> None:
    seen: list[dict[str, str]] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append({name.lower(): value for name, value in connection.request.headers.raw_items()})

    url = await world.serve(note, subprotocols=["b", "c"])
    agent = world.agent()
    answer = await agent.connect(
        url + "path?q=1", subprotocols=["a", "b"], headers={"X-Key": Token("k"), "User-Agent": "mine"}
    )
    assert (answer["subprotocol"], answer["url"]) == ("b", url + "path?q=1")
    assert answer["headers"]["Sec-Websocket-Protocol"] == "b"
    url = await world.serve(note)
    await agent.connect(url, basicAuth={"username": "u", "password": Token("p")})
    await agent.connect(url, oauthToken=Token("secret"))
    assert (seen[0]["x-key"], seen[0]["user-agent"]) == ("k", "mine")
    assert seen[1]["host"] == url[6:-1]
    assert "origin" not in seen[0]
    assert seen[1]["authorization"] == f"Basic {base64.b64encode(b'u:p').decode()}"
    assert (seen[1]["user-agent"], seen[2]["authorization"]) == ("mixkit", "Bearer secret")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"subprotocols": ["a b"]}, "subprotocols"),
        ({"subprotocols": ["a", "a"]}, "each once"),
        ({"headers": {"Sec-WebSocket-Key": "x"}}, "set by the host"),
        ({"headers": {"Host": "x"}}, "set by the host"),
        ({"headers": {"X": "a\r\nb"}}, "control characters"),
        ({"headers": {"Authorization": "x"}, "oauthToken": "y"}, "at most one"),
        ({"basicAuth": {"username": "a:b", "password": "c"}}, "colon"),
        ({"timeout": 0}, "above 0"),
    ],
)
async def test_what_may_not_be_sent(world: World, request_: dict[str, Any], said: str) -> None:
    assert said in await world.agent().refused("wss://server.test/", **request_)
    assert world.asked == []


async def test_an_end_has_its_code_and_reason_after_the_messages(world: World) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.send("last")
        await connection.close(4001, "no more")

    agent = world.agent()
    socket = (await agent.connect(await world.serve(leave)))["socket"]
    assert await agent.receive(socket) == Case("message", "last")
    closed = Case("closed", {"code": 4001, "reason": "no more"})
    assert await agent.receive(socket) == closed
    assert await agent.receive(socket) == closed
    answer = await agent.call("send", socket, "x")
    assert answer.name == "error" and "4001" in answer.arg and "no more" in answer.arg


async def test_an_end_without_a_word(world: World) -> None:
    async def vanish(connection: ServerConnection) -> None:
        connection.transport.abort()

    agent = world.agent()
    socket = (await agent.connect(await world.serve(vanish)))["socket"]
    assert await agent.receive(socket) == Case("closed", {"code": 1006, "reason": ""})


async def test_a_wait_ends_and_loses_nothing(world: World) -> None:
    go = asyncio.Event()

    async def later(connection: ServerConnection) -> None:
        await go.wait()
        await connection.send("late")
        await connection.wait_closed()

    agent = world.agent()
    socket = (await agent.connect(await world.serve(later)))["socket"]
    assert await agent.receive(socket, 10) == Case("timeout")
    assert await agent.receive(socket, 0) == Case("timeout")
    go.set()
    assert await agent.receive(socket, 5_000) == Case("message", "late")
    with pytest.raises(FFIError, match="milliseconds from 0"):
        await agent.receive(socket, -1)


async def test_the_run_s_time_ends_a_wait(world: World) -> None:
    agent = world.agent(wall_time=1.0)
    socket = (await agent.connect(await world.serve(echo)))["socket"]
    with pytest.raises(LimitExceeded, match="wall_time"):
        await agent.receive(socket)


async def test_closing(world: World) -> None:
    ends: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()

    async def note(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        except ConnectionClosed:
            ends.put_nowait((connection.close_code, connection.close_reason))

    url = await world.serve(note)
    agent = world.agent()
    for code in (999, 1004, 1005, 1006, 1015, 2999, 5000):
        socket = (await agent.connect(url))["socket"]
        with pytest.raises(FFIError, match="code: expected"):
            await agent.call("close", socket, code)
        await agent.call("close", socket)
    socket = (await agent.connect(url))["socket"]
    with pytest.raises(FFIError, match="at most 123 bytes"):
        await agent.call("close", socket, 1000, "å" * 62)
    assert await agent.call("close", socket, 3000, "done") is None
    assert await agent.call("close", socket) is None
    assert "not an open Socket" in (await agent.call("send", socket, "x")).arg
    with pytest.raises(FFIError, match="not an open Socket"):
        await agent.receive(socket)
    async with asyncio.timeout(10):
        seen = [await ends.get() for _ in range(8)]
    assert sorted(seen) == [(1000, "")] * 7 + [(3000, "done")]


async def test_a_run_that_ends_closes_its_sockets(world: World) -> None:
    ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def note(connection: ServerConnection) -> None:
        await connection.wait_closed()
        ended.set_result((connection.close_code, connection.close_reason))

    agent = world.agent()
    await agent.connect(await world.serve(note))
    # As a run ends whose guest ran in a thread.
    assert await asyncio.to_thread(agent.state.close) == []
    assert await asyncio.wait_for(ended, 10) == (1001, "the run has ended")


async def test_how_many_are_open_at_once(world: World) -> None:
    world.change(connections=2)
    url = await world.serve(echo)
    agent = world.agent()
    first = (await agent.connect(url))["socket"]
    await agent.connect(url)
    assert "ws.connections" in await agent.refused(url)
    await agent.call("close", first)
    await agent.connect(url)
    await world.agent().connect(url)


async def test_one_run_cannot_use_the_handle_of_another(world: World) -> None:
    one, other = world.agent(), world.agent()
    socket = (await one.connect(await world.serve(echo)))["socket"]
    assert "not an open Socket" in (await other.call("send", socket, "x")).arg


def test_loading_the_plugin_imports_no_client() -> None:
    code = "import sys, mix_ws, mix_ws.ffis, mix_ws.settings; print('websockets' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
