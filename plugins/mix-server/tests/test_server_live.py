"""Live queries as server-sent events."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from mix_db.testing.plain import PlainLive
from mix_server.server import Server

from mixkit.errors import StorageError

DB = "/v1/ws/w/app/demo"
DOCUMENTS = f"{DB}/documents"
LIVE = f"{DB}/live"
PLAIN, MIXQUERY = "mix_db.testing.plain:PlainStorage", "mix_db.storages:Mixquery"
Make = Callable[..., Server]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(params=[PLAIN, MIXQUERY], ids=["plain", "mixquery"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each test runs on the slow plain database and on the real one."""
    path: str = request.param
    return path


class Events:
    """Reads events as a browser's EventSource does, comments as `("", …)`.

    Attributes:
        last: what would be sent as `Last-Event-ID`.
    """

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last = ""
        self._lines = answer.aiter_lines()

    async def next(self, *, comments: bool = False) -> tuple[str, Any]:
        """Name and data of the next event."""
        found: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                if not line:
                    if found:
                        self.last = found.get("id", self.last)
                        return found["event"], json.loads(found["data"])
                elif line.startswith(":"):
                    if comments:
                        return "", line
                else:
                    name, _, text = line.partition(": ")
                    found[name] = text
        raise EOFError


@asynccontextmanager
async def follow(
    client: httpx.AsyncClient, query: str, last: str = "", who: dict[str, str] | None = None, **params: Any
) -> AsyncIterator[Events]:
    """The events of a live query."""
    headers = ({"Last-Event-ID": last} if last else {}) | (who or {})
    async with client.stream("GET", LIVE, params={"query": query, **params}, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Events(answer)


def numbers(rows: list[dict[str, Any]]) -> list[Any]:
    return [row["n"] for row in rows]


async def add(client: httpx.AsyncClient, n: int) -> str:
    """Save a record; its id."""
    answer = await client.post(DOCUMENTS, json={"n": n})
    assert answer.status_code == 201
    id: str = answer.json()["_rmx_id"]["_rmx_value"]
    return id


async def test_changes_come_as_they_are_made(make_server: Make, served: Serve) -> None:
    async with served(make_server()) as client:
        one = await add(client, 1)
        async with follow(client, "n >= $least", params='{"least": 1}') as events:
            kind, data = await events.next()
            assert (kind, numbers(data["entered"]), data["changed"], data["left"]) == ("change", [1], [], [])
            assert data["watermark"] == events.last == data["entered"][0]["_rmx_rev"]
            two = await add(client, 2)
            _, data = await events.next()
            assert (numbers(data["entered"]), data["watermark"]) == ([2], events.last)
            await client.put(f"{DOCUMENTS}/{one}", json={"n": 10})
            _, data = await events.next()
            assert (data["entered"], numbers(data["changed"]), data["left"]) == ([], [10], [])
            await client.put(f"{DOCUMENTS}/{two}", json={"n": 0})
            _, data = await events.next()
            assert data["left"] == [{"_rmx_type": "{tag}case:db.ref", "_rmx_value": two}]


async def test_who_comes_back_gets_what_has_changed_since(make_server: Make, served: Serve) -> None:
    async with served(make_server()) as client:
        one, two, _ = [await add(client, n) for n in (1, 2, 3)]
        async with follow(client, "n > 0") as events:
            await events.next()
            last = events.last
        await client.put(f"{DOCUMENTS}/{one}", json={"n": 11})
        await client.delete(f"{DOCUMENTS}/{two}")
        await add(client, 4)
        async with follow(client, "n > 0", last) as events:
            kind, data = await events.next()
            assert kind == "change"
            assert (numbers(data["entered"]), numbers(data["changed"])) == ([4], [11])
            assert [ref["_rmx_value"] for ref in data["left"]] == [two]
            await add(client, 5)
            kind, data = await events.next()
            assert (kind, numbers(data["entered"])) == ("change", [5])
            last = events.last
        async with follow(client, "n > 0", last) as events:
            # Nothing has happened since.
            kind, data = await events.next()
            assert (kind, data["entered"], data["changed"], data["left"]) == ("change", [], [], [])


async def test_where_the_difference_cannot_be_told_everything_comes_again(
    make_server: Make, served: Serve
) -> None:
    server = make_server()
    async with served(server) as client:
        await add(client, 1)
        for last in ("nonsense", "9999", "-1", "x" * 5000, '0"; drop'):
            async with follow(client, "true", last) as events:
                kind, data = await events.next()
                assert (kind, numbers(data["entered"])) == ("reset", [1])
        # Rows without ids cannot be compared.
        async with follow(client, "true | { n }", "0000000000000001") as events:
            assert (await events.next())[0] == "reset"
        await client.delete(f"{DOCUMENTS}/{await add(client, 2)}")
        (await server.databases.of("w", "demo")).compact(drop_history=True)
        async with follow(client, "true", "0000000000000001") as events:
            kind, data = await events.next()
            assert (kind, numbers(data["entered"])) == ("reset", [1])


async def test_signs_of_life(make_server: Make, served: Serve) -> None:
    async with served(make_server(heartbeat=0.05)) as client, follow(client, "true") as events:
        assert await events.next(comments=True) == ("", ":")
        assert (await events.next(comments=True))[0] == "change"
        for _ in range(3):
            assert await events.next(comments=True) == ("", ":")
        await add(client, 1)
        _, data = await events.next()
        assert numbers(data["entered"]) == [1]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"query": "n =="},
        {"query": "true | count()"},
        {"query": "true | group(n)"},
        {"query": "n == $n"},
        {"query": "true", "params": '{"n": 1}'},
        {"query": "true", "params": "{"},
        {"query": "true", "limit": "3"},
        {"query": "true", "as_of": "0000000000000001"},
        {"query": "true", "include_deleted": "true"},
        {"query": "true", "ast": '["nullFilter"]'},
        {"query": "true", "surprise": "1"},
    ],
)
async def test_what_cannot_be_followed_is_refused(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await client.get(LIVE, params=params)
    assert (answer.status_code, answer.json()["kind"]) == (400, "message")


async def test_what_a_user_typed_never_becomes_part_of_the_query(make_server: Make, served: Serve) -> None:
    async with served(make_server()) as client:
        await client.post(DOCUMENTS, json={"name": "x", "secret": 1})
        for typed in ('" or true', '["nullFilter"]', "$name\nevent: reset\ndata: {}\n\n"):
            async with follow(client, "name == $name", params=json.dumps({"name": typed})) as events:
                _, data = await events.next()
                assert data["entered"] == []
                await client.post(DOCUMENTS, json={"name": typed})
                # Line breaks in a record are no line breaks of the stream.
                kind, data = await events.next()
                assert (kind, [row["name"] for row in data["entered"]]) == ("change", [typed])


class Closed:
    """Counts live queries that were closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = asyncio.Semaphore(0)
        close = PlainLive.close

        def watched(live: PlainLive) -> None:
            close(live)
            self._count.release()

        monkeypatch.setattr(PlainLive, "close", watched)

    async def until(self, count: int) -> None:
        """Wait for as many more."""
        async with asyncio.timeout(30):
            for _ in range(count):
                await self._count.acquire()


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_a_client_that_goes_away_ends_its_live_query(
    make_server: Make, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Closed(monkeypatch)
    server = make_server(max_streams=3)
    async with served(server) as client:
        for _ in range(3):
            async with follow(client, "true") as one, follow(client, "true") as two, follow(client, "true"):
                await one.next()
                await two.next()
                assert len(server.streams) == 3
                answer = await client.get(LIVE, params={"query": "true"})
                assert answer.status_code == 429
            # They had one between them.
            await closed.until(1)
            assert len(server.streams) == 0
        assert server.admission.active == 0


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_nobody_keeps_all_others_from_theirs(make_server: Make, served: Serve) -> None:
    server = make_server(max_streams=4)

    def user(name: str) -> dict[str, str]:
        server.grants.add("w", f"user/{name}@example.org", "editor", "workspace", None)
        token, _ = server.key.token(f"{name}@example.org", f"{name}@example.org", 600)
        return {"Authorization": f"Bearer {token}"}

    ada, bob = user("ada"), user("bob")

    async def refused(client: httpx.AsyncClient, who: dict[str, str]) -> bool:
        answer = await client.get(LIVE, params={"query": "true"}, headers=who)
        return answer.status_code == 429 and "to you already" in answer.text

    async with served(server) as client:
        for _ in range(2):
            async with follow(client, "true", who=ada) as one, follow(client, "true", who=ada) as two:
                await one.next()
                await two.next()
                assert await refused(client, ada)
                async with follow(client, "true", who=bob) as three, follow(client, "true") as four:
                    await three.next()
                    await four.next()
            # What has ended counts no more.
            async with asyncio.timeout(30):
                while len(server.streams):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert not server.streams._of


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_an_error_ends_the_stream_with_an_event(
    make_server: Make, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Closed(monkeypatch)
    async with served(make_server()) as client, follow(client, "true") as events:
        await events.next()

        def fail(live: PlainLive) -> Any:
            raise StorageError("/srv/secret is damaged")

        monkeypatch.setattr(PlainLive, "_step", fail)
        await add(client, 1)
        kind, data = await events.next()
        assert (kind, data["ok"], "secret" in data["message"]) == ("error", False, False)
        with pytest.raises(httpx.RemoteProtocolError):
            await events.next()
        await closed.until(1)


async def test_an_event_that_would_be_too_large_ends_the_stream(make_server: Make, served: Serve) -> None:
    async with served(make_server(answer_limit=20_000)) as client:
        await client.post(DOCUMENTS, json={"text": "x" * 30_000})
        async with follow(client, "true") as events:
            kind, data = await events.next()
            assert (kind, "20000 bytes" in data["message"]) == ("error", True)


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_a_server_that_stops_ends_its_streams_at_once(
    make_server: Make, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Closed(monkeypatch)
    # uvicorn hears the signal in this process as in one of its own, and raises it again when it has stopped.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        async with served(make_server()) as client, follow(client, "true") as events:
            await events.next()
            # It waits for answers as long as they take.
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(EOFError):
                await events.next()
            await closed.until(1)
    finally:
        signal.signal(signal.SIGTERM, before)
