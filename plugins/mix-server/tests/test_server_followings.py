"""Live queries that streams share: each change is written once, and what nobody takes is bounded."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from mix_server import follower as follower_module
from mix_server.follower import Follower
from mix_server.live_event import Writer
from mix_server.question import Question
from mix_server.server import Server
from mix_server.streams import CutOff

PLAIN, MIXQUERY = "mix_db.testing.plain:PlainStorage", "mix_db.storages:Mixquery"
Make = Callable[..., Server]


@pytest.fixture(params=[PLAIN, MIXQUERY], ids=["plain", "mixquery"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each test runs on the slow plain database and on the real one."""
    path: str = request.param
    return path


class Client:
    """What a client knows that reads when it is told to."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.rows: dict[str, Any] = {}
        self.kinds: list[str] = []
        self.last = ""

    async def read(self, seconds: float = 30.0) -> bool:
        """Take the next event; whether there was one within that time."""
        if not await self.follower.ready(seconds):
            return False
        text = b""
        while part := self.follower.piece():
            text += part
            # Others go on between the parts.
            await asyncio.sleep(0)
        assert text.endswith(b"\n\n")
        fields = dict(line.split(": ", 1) for line in text.decode().strip().splitlines())
        data = json.loads(fields["data"])
        assert data["watermark"] == fields["id"]
        self.last = fields["id"]
        self.kinds.append(fields["event"])
        if fields["event"] == "reset":
            self.rows.clear()
        for row in data["entered"] + data["changed"]:
            self.rows[row["_rmx_id"]["_rmx_value"]] = row["n"]
        for ref in data["left"]:
            del self.rows[ref["_rmx_value"]]
        return True


async def test_who_asks_the_same_shares_what_is_written(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    database = await server.databases.of("w", "demo")
    written = []
    change = Writer.change

    def counted(writer: Writer, *args: Any, **options: Any) -> Any:
        written.append(change(writer, *args, **options))
        return written[-1]

    monkeypatch.setattr(Writer, "change", counted)
    question = Question(query="n > $n", params={"n": 0})
    clients = [Client(await server.followings.join(database, question, None)) for _ in range(5)]
    other = Client(await server.followings.join(database, Question(query="n > $n", params={"n": 1}), None))
    for client in [*clients, other]:
        assert await client.read()
    await asyncio.to_thread(database.save, [{"n": 1}])
    assert all([await client.read() for client in clients])
    assert len(written) == 3
    # One that comes later is told the same state, and hears of what follows.
    late = Client(await server.followings.join(database, question, None))
    assert await late.read()
    assert (late.kinds, late.rows) == (["change"], clients[0].rows)
    await asyncio.to_thread(database.save, [{"n": 2}])
    for client in [*clients, late]:
        assert await client.read()
        assert sorted(client.rows.values()) == [1, 2]
    assert await other.read()
    assert list(other.rows.values()) == [2]
    for client in [*clients, late, other]:
        client.follower.close()
    await server.followings.stop()
    assert not server.followings._running and not server.followings._open


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_lags_ends_up_with_the_same_rows(
    make_server: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(follower_module, "LAG", 600)
    monkeypatch.setattr(follower_module, "PIECE", 100)
    choose = random.Random(seed)
    server = make_server()
    database = await server.databases.of("w", "demo")
    question = Question(query="n >= 0")
    clients = [Client(await server.followings.join(database, question, None)) for _ in range(4)]
    ids: list[str] = []
    for step in range(60):
        match choose.randrange(8):
            case 0 | 1:
                commit = await asyncio.to_thread(database.save, [{"n": step}])
                ids.append(commit.records[0]["_rmx_id"].id)
            case 2 if ids:
                changed = {"_rmx_id": choose.choice(ids), "n": choose.choice((step, -1))}
                await asyncio.to_thread(database.save, [changed])
            case 3 if ids:
                await asyncio.to_thread(database.delete, [ids.pop(choose.randrange(len(ids)))])
            case 4:
                # Comes back with what it knew.
                client = choose.choice(clients)
                client.follower.close()
                client.follower = await server.followings.join(database, question, client.last or None)
            case 5 if step % 3 == 0:
                await asyncio.to_thread(database.compact, drop_history=True)
            case _:
                # The first of them reads seldom.
                await choose.choice(clients[min(1, step % 20) :]).read(0.02)
    with database.query("n >= 0") as cursor:
        rows = {row["_rmx_id"].id: row["n"] for row in cursor}
    for client in clients:
        while client.rows != rows:
            assert await client.read(), (client.rows, rows, client.kinds)
        client.follower.close()
    await server.followings.stop()


async def test_a_client_that_takes_nothing_holds_a_bounded_queue_and_begins_anew(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "LAG", 2000)
    server = make_server()
    database = await server.databases.of("w", "demo")
    slow, quick = [
        Client(await server.followings.join(database, Question(query="true"), None)) for _ in range(2)
    ]
    assert await slow.read() and await quick.read()
    for n in range(40):
        await asyncio.to_thread(database.save, [{"n": n, "text": "x" * 100}])
        assert await quick.read()
        assert slow.follower._waiting_bytes <= 2000
    assert slow.follower.behind and not slow.follower._waiting
    assert await slow.read()
    assert (slow.kinds, slow.rows) == (["change", "reset"], quick.rows)
    assert quick.kinds == ["change"] * 41
    for client in (slow, quick):
        client.follower.close()
    await server.followings.stop()


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_all_that_is_held_is_bounded_and_the_oldest_goes_first(
    make_server: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(live_memory=300_000)
    database = await server.databases.of("w", "demo")
    text = "x" * 100_000
    await asyncio.to_thread(database.save, [{"n": 1, "text": text}])

    async def follow(n: int) -> Client:
        found = Client(
            await server.followings.join(database, Question(query="n > $n", params={"n": -n}), None)
        )
        assert await found.follower.ready(30)
        return found

    begun, waiting, *others = [await follow(n) for n in range(5)]
    assert begun.follower.piece() == b""  # It had not been begun, so it is given up, and comes again.
    assert await begun.follower.ready(30)
    first = begun.follower.piece()
    assert first.startswith(b"event: reset\n")
    others += [await follow(n) for n in range(10, 14)]
    # The rest of an event that a client has a part of never comes.
    with pytest.raises(CutOff):
        begun.follower.piece()
    assert await waiting.read()
    assert (waiting.kinds, list(waiting.rows.values())) == (["reset"], [1])
    assert caplog.text.count("live_memory") == 1
    for client in (begun, waiting, *others):
        client.follower.close()
    await server.followings.stop()


async def test_where_the_state_that_is_followed_is_gone_a_following_begins_anew(make_server: Make) -> None:
    server = make_server()
    database = await server.databases.of("w", "demo")
    await asyncio.to_thread(database.save, [{"n": 1}])
    question = Question(query="n > 0")
    old = Client(await server.followings.join(database, question, None))
    assert await old.read()
    # Nothing that it sees changes, and the state that it has seen last cannot be read any more.
    await asyncio.to_thread(database.save, [{"n": -1}])
    await asyncio.to_thread(database.compact, drop_history=True)
    new = Client(await server.followings.join(database, question, None))
    assert await new.read()
    assert (new.kinds, list(new.rows.values())) == (["change"], [1])
    await asyncio.to_thread(database.save, [{"n": 2}])
    for client in (old, new):
        assert await client.read()
        assert sorted(client.rows.values()) == [1, 2]
        client.follower.close()
    await server.followings.stop()
