"""Topics that a broker carries, as streams follow them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.follower import Follower
from mix_server.messages import bridge
from mix_server.server import Server

from mixkit import Kernel
from mixkit.local_bus import LocalBus
from mixkit.topics import Carrier

Make = Callable[..., Server]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

ROOM = "house/app/w/demo/room"


class Broker(LocalBus):
    """Stands for a broker: closing a connection to it does not end it."""

    async def close(self) -> None:
        pass

    def interrupt(self) -> None:
        """Let all who are connected have missed something."""
        for subscription in self._exchange.subscribers:
            subscription.interrupted("the connection was lost")


async def read(follower: Follower) -> str:
    assert await follower.ready(30)
    text = b""
    while part := follower.piece():
        text += part
    return text.decode()


async def hear(follower: Follower, text: str) -> None:
    while text not in await read(follower):
        pass


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr(bridge, "_LOOK", 0.05)
    broker = Broker()
    carrier = Carrier("house", lambda: broker)
    monkeypatch.setattr(Kernel, "carrier", lambda kernel: carrier)
    return broker


async def test_what_a_broker_carries_can_be_followed(
    make_server: Make, served: Serve, broker: Broker
) -> None:
    one, other = make_server(), make_server()
    async with served(one) as client, served(other):
        await until(lambda: broker.subscriptions == 1)
        assert (await client.get("/v1/subscribe/sensors/1")).status_code == 501
        # One of them brings it, whoever listens where.
        await broker.publish(ROOM, b"before", text=True)
        answer: Any
        async with client.stream(
            "GET", "/v1/subscribe/$app/room", params={"ws": "w", "app": "demo"}
        ) as answer:
            lines = answer.aiter_lines()
            async with asyncio.timeout(30):
                while not (await anext(lines)).startswith("id: "):
                    pass
                await broker.publish(ROOM, b"hello", text=True)
                while (line := await anext(lines)) != 'data: "hello"':
                    assert not line.startswith("data: ") or line == 'data: "before"'
        follower = await other.feeds.join(ROOM, None, None)
        last = (await read(follower)).strip().removeprefix("id: ")
        await broker.publish(ROOM, b"while nobody listened", text=True, retain=True)
        back = await one.feeds.join(ROOM, last, None)
        for each in (back, follower):
            await hear(each, '"while nobody listened"')
        # What lacks at the broker lacks here.
        broker.interrupt()
        await hear(follower, "event: resync")
        await broker.publish(ROOM, b"again", text=True)
        await hear(follower, '"again"')
        for each in (follower, back):
            each.close()
    await until(lambda: broker.subscriptions == 0)
