"""Topics as server-sent events: what comes, what comes again, and who hears what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from mix_server import follower as follower_module
from mix_server.follower import Follower
from mix_server.server import Server
from mix_server.streams import CutOff

from mixkit import tagged_json
from mixkit.bus import BusFull, BusLost
from mixkit.local_bus import BusLimits
from mixkit.rings import DEFAULT_ROOM

Make = Callable[..., Server]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

ROOM = "mixkit/app/w/demo/room"
"""What `$app/room` is on the bus."""
APP = {"ws": "w", "app": "demo"}
BINARIES = [json.loads(tagged_json.dumps(data)) for data in (b"\x00\xff", b"\xff")]


class Events:
    """Reads events as a browser's EventSource does.

    Attributes:
        last: what would be sent as `Last-Event-ID`.
    """

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last = ""
        self._lines = answer.aiter_lines()

    async def block(self) -> dict[str, str]:
        """The next lines up to an empty one, comments as `""`."""
        found: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                if not line:
                    if "id" in found:
                        self.last = found["id"]
                    return found
                name, _, text = line.partition(":")
                found[name] = text.strip()
        raise EOFError

    async def next(self) -> Any:
        """The data of the next message; the name of an event that is none."""
        while "data" not in (found := await self.block()):
            pass
        return found.get("event") or json.loads(found["data"])

    async def begun(self) -> str:
        """Wait until the server knows where this client is; answers that."""
        while not self.last:
            await self.block()
        return self.last


@asynccontextmanager
async def follow(
    client: httpx.AsyncClient, topic: str = "$app/room", last: str = "", **params: str
) -> AsyncIterator[Events]:
    headers = {"Last-Event-ID": last} if last else {}
    path = f"/v1/subscribe/{topic}"
    async with client.stream("GET", path, params=params or APP, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Events(answer)


async def say(server: Server, *texts: str, topic: str = ROOM) -> None:
    for text in texts:
        await server.kernel.bus.publish(topic, text.encode(), text=True)


async def without_feeds(server: Server) -> None:
    """Wait until nobody follows a topic."""
    async with asyncio.timeout(30):
        while len(server.feeds):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_messages_come_as_they_are_published(make_server: Make, served: Serve) -> None:
    server = make_server()
    async with served(server) as client, follow(client) as one, follow(client) as other:
        begin = await one.begun()
        assert await other.begun() == begin
        await say(server, "å\n☂")
        await server.kernel.bus.publish(ROOM, b"\x00\xff")
        await server.kernel.bus.publish(ROOM, b"\xff", text=True)
        for events in (one, other):
            assert await events.next() == "å\n☂"
            assert [await events.next() for _ in range(2)] == BINARIES
        mark = begin.partition(".")[0]
        assert (one.last, other.last) == (f"{mark}.3", f"{mark}.3")
        # They share what is written.
        assert len(server.feeds) == 1
    await without_feeds(server)


async def test_the_first_interface_has_it_too(make_server: Make, served: Serve) -> None:
    server = make_server()
    async with (
        served(server) as client,
        client.stream("GET", "/subscribe/$app/room", params=APP) as answer,
    ):
        assert answer.headers["Deprecation"].startswith("@")
        events = Events(answer)
        await events.begun()
        await say(server, "x")
        assert await events.next() == "x"


async def test_who_comes_back_gets_what_it_missed_though_nobody_listened(
    make_server: Make, served: Serve
) -> None:
    server = make_server()
    await say(server, "before")
    async with served(server) as client:
        async with follow(client) as events:
            await events.begun()
            await say(server, "1")
            assert await events.next() == "1"
        await without_feeds(server)
        await say(server, "2", "3")
        async with follow(client, last=events.last) as again, follow(client, last=events.last) as other:
            assert [await again.next() for _ in range(2)] == ["2", "3"]
            assert [await other.next() for _ in range(2)] == ["2", "3"]
            await say(server, "4")
            assert (await again.next(), await other.next()) == ("4", "4")
        # Somebody who has missed nothing.
        async with follow(client, last=again.last) as events:
            assert await events.begun() == again.last
            await say(server, "5")
            assert await events.next() == "5"
        # Somebody who was there before anything was said, and left.
        async with follow(client, "$app/other") as events:
            begin = await events.begun()
        await say(server, "first", topic="mixkit/app/w/demo/other")
        async with follow(client, "$app/other", last=begin) as events:
            assert await events.next() == "first"


async def test_where_it_cannot_be_told_there_is_one_resync(make_server: Make, served: Serve) -> None:
    server = make_server()
    await say(server, *map(str, range(300)))
    async with served(server) as client:
        async with follow(client) as events:
            mark = (await events.begun()).partition(".")[0]
        unknown = (
            f"{mark}.3",
            f"{mark}.301",
            f"{mark}.{'9' * 40}",
            "0123456789abcdef.1",
            "x",
            "'; --",
            "." * 99,
        )
        for last in unknown:
            async with follow(client, last=last) as events:
                assert (await events.next(), events.last) == ("resync", f"{mark}.300"), last
        async with follow(client, last=unknown[0]) as events:
            assert await events.next() == "resync"
            await say(server, "next")
            assert await events.next() == "next"


async def test_it_works_across_workers_and_when_the_carrier_goes(make_server: Make, served: Serve) -> None:
    carrier, server = make_server(), make_server()
    await say(carrier, "0")
    async with served(server) as client, follow(client) as events:
        await events.begun()
        await say(carrier, "1")
        assert await events.next() == "1"
        first = events.last
        await carrier.kernel.bus.close()
        # Another carries them now, who knows nothing of what was before.
        assert await events.next() == "resync"
        assert events.last.partition(".")[0] != first.partition(".")[0]
        await say(server, "2", "3")
        assert [await events.next() for _ in range(2)] == ["2", "3"]
        async with follow(client, last=first) as late:
            assert await late.next() == "resync"
            await say(server, "4")
            assert (await late.next(), await events.next()) == ("4", "4")


class Client:
    """Somebody who reads when it is told to."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.seen: list[str] = []

    async def read(self) -> bool:
        if not await self.follower.ready(30):
            return False
        text = b""
        while part := self.follower.piece():
            text += part
        self.seen += [line[6:] for line in text.decode().splitlines() if line.startswith("data: ")]
        return True


async def test_who_is_too_slow_is_cut_off_and_told_at_return(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "LAG", 2_000)
    server = make_server()
    slow, quick = [Client(await server.feeds.join(ROOM, None, None)) for _ in range(2)]
    assert await slow.read() and await quick.read()
    for number in range(400):
        await say(server, str(number))
        assert await quick.read()
        assert slow.follower._waiting_bytes <= 2_000
    assert quick.seen == [f'"{number}"' for number in range(400)]
    with pytest.raises(CutOff):
        await slow.read()
    back = Client(await server.feeds.join(ROOM, "0123456789abcdef.1", None))
    assert await back.read()
    assert back.seen == ["{}"]
    for client in (slow, quick, back):
        client.follower.close()
    await server.feeds.stop()
    assert not server.feeds._held.by and not server.feeds._size


async def test_all_that_is_held_is_bounded(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_server(live_memory=100_000)
    clients = [Client(await server.feeds.join(f"{ROOM}/{n}", None, n)) for n in range(5)]
    for client in clients:
        assert await client.read()
    for step in range(200):
        for n, client in enumerate(clients):
            await say(server, "x" * 1_000, topic=f"{ROOM}/{n}")
            if n:
                assert await client.read()
        assert server.feeds._size <= 100_000
        assert server.feeds._held._size <= 100_000 + 1_600, step
    # One took nothing, so its own are given up.
    with pytest.raises(CutOff):
        await clients[0].read()
    for client in clients:
        client.follower.close()
    await server.feeds.stop()


async def test_a_bus_that_has_no_place_or_is_lost(
    make_server: Make, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    async with served(server) as client:
        for error in (BusFull("there are 10000 subscriptions"), BusLost("it is closed")):

            async def fail(topic: str, *, owner: Any, error: Exception = error) -> Any:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(server.kernel.bus, "follow", fail)
                answer = await client.get("/v1/subscribe/$app/room", params=APP)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert len(server.feeds) == 0 and len(server.streams) == 0
        async with follow(client) as events:
            await events.begun()


def sign_in(server: Server, name: str) -> dict[str, str]:
    """Headers of a user."""
    address = f"{name}@example.org"
    token, _ = server.key.token(address, address, 600)
    return {"Authorization": f"Bearer {token}"}


_SHORT = ["$app", "$cloudAppShared", "$cloudAppPublic", "$cloudAppUser", "$workspace", "$user"]


@pytest.mark.parametrize(
    ("role", "resource", "heard"),
    [
        (None, "", []),
        ("runner", "workspace", ["$cloudAppShared", "$cloudAppPublic", "$cloudAppUser", "$user"]),
        ("editor", "workspace", _SHORT),
        ("db/creator", "workspace", ["$cloudAppPublic", "$user"]),
        ("editor", "db/demo", ["$app", "$cloudAppShared", "$cloudAppPublic", "$cloudAppUser", "$user"]),
        ("runner", "agent/demo/echo", ["$cloudAppPublic", "$user"]),
    ],
)
async def test_who_may_hear_what(
    make_server: Make, served: Serve, role: str | None, resource: str, heard: list[str]
) -> None:
    server = make_server(max_streams=0)
    if role is not None:
        server.grants.add("w", "user/ada@example.org", role, resource, None)
    async with served(server) as client:
        client.headers.update(sign_in(server, "ada"))
        for name in _SHORT:
            params = {"ws": "w"} if name in ("$workspace", "$user") else APP
            answers = [
                await client.get(f"/v1/subscribe/{name}/x", params=params | changed)
                for changed in ({}, {"ws": "nothing"})
            ]
            # There is no place for streams, which only they learn who may.
            expected = 429 if name in heard else 403 if role else 404
            assert answers[0].status_code == expected, name
            assert answers[1].status_code == 404
            if expected == 404:
                assert answers[0].content == answers[1].content
        # What belongs to no workspace is for who runs the server.
        assert (await client.get("/v1/subscribe/sensors/1")).status_code == 403
        del client.headers["Authorization"]
        assert (await client.get("/v1/subscribe/$app/x", params=APP)).status_code == 401
        assert (await client.get("/v1/subscribe/sensors/1")).status_code == 401


async def test_topics_of_a_user_are_of_who_asks(make_server: Make, served: Serve) -> None:
    server = make_server()
    server.grants.add("w", "all-users", "runner", "workspace", None)
    async with served(server) as client:
        client.headers.update(sign_in(server, "ada"))
        async with follow(client, "$user/x", ws="w") as own, follow(client, "$cloudAppUser/x") as app:
            await own.begun()
            await app.begun()
            for user in ("bob@example.org", "ada@example.org"):
                await say(server, user, topic=f"mixkit/user/w/{user}/x")
                await say(server, user, topic=f"mixkit/cloudAppUser/w/demo/{user}/x")
            assert (await own.next(), await app.next()) == ("ada@example.org", "ada@example.org")


@pytest.mark.parametrize(
    ("topic", "params", "said"),
    [
        ("$app/x", {"ws": "w"}, "ws and app"),
        ("$app/x", {"app": "demo"}, "ws and app"),
        ("$workspace/x", {}, "expected ws"),
        ("$workspace/x", {"ws": "w", "app": "demo"}, "expected no app beside"),
        ("sensors/1", {"ws": "w"}, "expected no ws beside"),
        ("$app/+", APP, "+"),
        ("$app/a/#", APP, "#"),
        ("$app", APP, "$app/name"),
        ("$app//x", APP, "slash"),
        ("$other/x", {}, "expected one of"),
        ("mixkit/app/w/demo/room", {}, "are the host's"),
        ("mixkit/app/w/demo/room", APP, "expected no ws and app"),
        ("+/app/w/demo/room", {}, "topic"),
        ("a/" * 300 + "a", {}, "levels"),
    ],
)
async def test_topics_that_are_refused(
    client: httpx.AsyncClient, topic: str, params: dict[str, str], said: str
) -> None:
    answer = await client.get(f"/v1/subscribe/{quote(topic, safe='/$')}", params=params)
    assert (answer.status_code, said in answer.json()["message"]) == (400, True), answer.text


async def test_who_may_no_more_hears_no_more(make_server: Make, served: Serve) -> None:
    server = make_server(heartbeat=0.05)
    grant, _ = server.grants.add("w", "user/ada@example.org", "editor", "db/demo", None)
    async with served(server) as client:
        client.headers.update(sign_in(server, "ada"))
        async with (
            follow(client) as events,
            client.stream("GET", "/v1/ws/w/app/demo/live", params={"query": "true"}) as live,
        ):
            for each in (events, Events(live)):
                for _ in range(3):
                    await each.block()
            server.grants.remove("w", [grant.id])
            with pytest.raises(EOFError):
                while True:
                    await events.block()
            rest = Events(live)
            with pytest.raises((EOFError, httpx.StreamConsumed)):
                while True:
                    await rest.block()


def test_the_room_of_a_ring_fits_into_a_queue() -> None:
    # Else who follows would never get all that is kept.
    limits = BusLimits()
    assert limits.rings.messages < limits.queue and limits.rings.size < limits.queue_bytes
    assert limits.rings == DEFAULT_ROOM
