"""What every storage must do: waiting for changes, live queries, and many threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mixkit.errors import QueryCancelled, QueryError
from mixkit.storage import Change, Database, Live
from mixkit.testing.storage_suite import StorageFixtures, save

__all__ = ["StorageChangeSuite"]

WAIT = 30.0
"""Seconds after which what should have happened has not."""


def _next(live: Live) -> Change:
    change = live.next(WAIT)
    assert change is not None
    return change


def _shown(rows: Sequence[Any], name: str = "n") -> list[Any]:
    return [row[name] for row in rows]


def _together(*bodies: Callable[[], Any]) -> list[Any]:
    """Run functions in threads of their own; answers what they answered."""
    barrier = threading.Barrier(len(bodies))

    def start(body: Callable[[], Any]) -> Any:
        barrier.wait()
        return body()

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(start, bodies))


class StorageChangeSuite(StorageFixtures):
    """See the module's text."""

    # -- waiting ------------------------------------------------------------------------------

    def test_a_change_that_has_happened_is_told_at_once(self, database: Database) -> None:
        before = database.watermark()
        assert database.changed(before, 0) is None
        assert database.changed(before, 0.01) is None
        [record] = save(database, {"n": 1})
        assert database.changed(before, 0) == database.changed(before) == database.watermark()
        database.delete([record["_rmx_id"]])
        assert database.changed(before) == database.watermark()
        assert database.changed(database.watermark(), 0) is None

    def test_a_waiter_is_woken(self, database: Database) -> None:
        before = database.watermark()
        timer = threading.Timer(0.05, database.save, ([{"n": 1}],))
        timer.start()
        assert database.changed(before, WAIT) == database.watermark() > before
        timer.join()

    def test_a_coroutine_is_woken(self, database: Database) -> None:
        async def wait() -> str:
            before = database.watermark()
            waiting = [asyncio.create_task(database.changed_async(before)) for _ in range(3)]
            await asyncio.sleep(0.02)
            assert not any(task.done() for task in waiting)
            await asyncio.to_thread(database.save, [{"n": 1}])
            async with asyncio.timeout(WAIT):
                [watermark] = {await task for task in waiting}
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await database.changed_async(watermark)
            return watermark

        assert asyncio.run(wait()) == database.watermark()

    @pytest.mark.parametrize("watermark", ["", "soon", "9" * 17, "-1", None, 5])
    def test_what_is_no_watermark_is_refused(self, database: Database, watermark: Any) -> None:
        with pytest.raises(QueryError):
            database.changed(watermark, 0)

    # -- live queries -------------------------------------------------------------------------

    def test_a_live_query_tells_what_entered_changed_and_left(self, database: Database) -> None:
        [first] = save(database, {"n": 1, "on": True})
        live = database.live("on == true")
        change = _next(live)
        assert (change.watermark, list(change.entered)) == (database.watermark(), [first])
        assert (list(change.changed), list(change.left)) == ([], [])
        [second, _] = save(database, {"n": 2, "on": True}, {"n": 3, "on": False})
        change = _next(live)
        assert (change.watermark, list(change.entered)) == (database.watermark(), [second])
        assert (list(change.changed), list(change.left)) == ([], [])
        [new] = save(database, {"_rmx_id": first["_rmx_id"], "n": 10}, upsert=True)
        change = _next(live)
        assert (list(change.entered), list(change.changed), list(change.left)) == ([], [new], [])
        save(database, {"_rmx_id": first["_rmx_id"], "on": False}, upsert=True)
        assert list(_next(live).left) == [first["_rmx_id"]]
        database.delete([second["_rmx_id"]])
        change = _next(live)
        assert (list(change.entered), list(change.changed)) == ([], [])
        assert list(change.left) == [second["_rmx_id"]]
        live.close()

    def test_nothing_that_matters_is_no_change(self, database: Database) -> None:
        live = database.live("on == $on | { n }", {"on": True})
        assert list(_next(live).entered) == []
        [record] = save(database, {"n": 1, "on": True})
        assert list(_next(live).entered) == [{"n": 1}]
        save(database, {"n": 5, "on": False})
        save(database, {"_rmx_id": record["_rmx_id"], "other": 1}, upsert=True)
        assert live.next(0.05) is None
        save(database, {"_rmx_id": record["_rmx_id"], "n": 2}, upsert=True)
        assert list(_next(live).changed) == [{"n": 2}]
        live.close()

    def test_fields_are_compared_and_made_rows_filtered(self, database: Database) -> None:
        live = database.live("n < most | { n, left: most - n } | where(left > 1)")
        assert list(_next(live).entered) == []
        [record] = save(database, {"n": 1, "most": 9})
        save(database, {"n": 8, "most": 9}, {"n": 9, "most": 2})
        assert list(_next(live).entered) == [{"n": 1, "left": 8}]
        save(database, {"_rmx_id": record["_rmx_id"], "n": 8}, upsert=True)
        assert list(_next(live).left) == [record["_rmx_id"]]
        live.close()

    def test_what_happened_meanwhile_is_one_change(self, database: Database) -> None:
        kept, gone = save(database, {"n": 1}, {"n": 2})
        live = database.live("n > 0")
        _next(live)
        for number in range(20):
            save(database, {"_rmx_id": kept["_rmx_id"], "n": 100 + number})
        [passing] = save(database, {"n": 7})
        database.delete([passing["_rmx_id"], gone["_rmx_id"]])
        [stays] = save(database, {"n": 8})
        change = _next(live)
        assert (list(change.entered), list(change.left)) == ([stays], [gone["_rmx_id"]])
        assert _shown(change.changed) == [119]
        assert live.next(0) is None
        live.close()

    def test_a_live_query_with_an_order_and_a_limit(self, database: Database) -> None:
        one, two, _ = save(database, {"n": 1}, {"n": 2}, {"n": 0})
        live = database.live("true | orderDesc(n) | limit(2)")
        assert _shown(_next(live).entered) == [2, 1]
        save(database, {"n": 3})
        change = _next(live)
        assert (_shown(change.entered), list(change.left)) == ([3], [one["_rmx_id"]])
        database.delete([two["_rmx_id"]])
        change = _next(live)
        assert (_shown(change.entered), list(change.left)) == ([1], [two["_rmx_id"]])
        save(database, {"n": -5})
        assert live.next(0.05) is None
        live.close()

    def test_a_live_query_sees_through_refs(self, database: Database) -> None:
        city, person = save(database, {"_rmx_id": "t", "name": "Rome"}, {"n": 1, "home": {"_rmx_id": "t"}})
        save(database, {"_rmx_id": person["_rmx_id"], "n": 1, "home": city["_rmx_id"]})
        live = database.live('home.name == "Rome" | { n, city: .home.name }')
        assert list(_next(live).entered) == [{"n": 1, "city": "Rome"}]
        save(database, {"_rmx_id": city["_rmx_id"], "name": "Roma"})
        assert list(_next(live).left) == [person["_rmx_id"]]
        live.close()

    @pytest.mark.parametrize(
        "query", ["true | count()", "true | group(n)", "true | sum(n)", "true | unnest(n)", "n ==", "n == $n"]
    )
    def test_what_cannot_be_followed_is_refused(self, database: Database, query: str) -> None:
        with pytest.raises(QueryError):
            database.live(query)

    def test_a_live_query_wakes_and_ends_from_other_threads(self, database: Database) -> None:
        live = database.live("true")
        _next(live)
        timer = threading.Timer(0.05, database.save, ([{"n": 1}],))
        timer.start()
        assert _shown(_next(live).entered) == [1]
        timer.join()
        timer = threading.Timer(0.05, live.close)
        timer.start()
        with pytest.raises(QueryCancelled):
            live.next(WAIT)
        timer.join()
        with pytest.raises(QueryCancelled):
            live.next(0)
        live.close()

    def test_a_live_query_in_a_coroutine(self, database: Database) -> None:
        live = database.live("true")

        async def follow() -> Change:
            async with asyncio.timeout(WAIT):
                await live.next_async()
                waiting = asyncio.create_task(live.next_async())
                await asyncio.sleep(0.02)
                await asyncio.to_thread(database.save, [{"n": 1}])
                return await waiting

        assert _shown(asyncio.run(follow()).entered) == [1]
        live.close()

    # -- threads ------------------------------------------------------------------------------

    def test_commits_of_threads_are_whole_and_all_there(self, database: Database) -> None:
        done = threading.Event()
        seen: list[list[int]] = []

        def write(thread: int) -> list[str]:
            return [
                database.save([{"n": number, "t": thread}, {"n": number, "t": thread}]).watermark
                for number in range(25)
            ]

        def read() -> None:
            while not done.is_set():
                seen.append([row["_rmx_row"] for row in database.query("n >= 0")])
                if not seen[-1]:
                    continue
                numbers = [(row["t"], row["n"]) for row in database.query("true")]
                assert all(numbers.count(number) == 2 for number in set(numbers))

        reader = ThreadPoolExecutor(1)
        reading = reader.submit(read)
        watermarks = [
            mark for marks in _together(*[lambda i=i: write(i) for i in range(4)]) for mark in marks
        ]
        done.set()
        reading.result(WAIT)
        reader.shutdown()
        assert len(set(watermarks)) == 100
        assert max(watermarks) == database.watermark()
        rows = list(database.query("true"))
        assert [row["_rmx_row"] for row in rows] == list(range(200))
        assert {(row["t"], row["n"]) for row in rows} == {(t, n) for t in range(4) for n in range(25)}
        # What was read meanwhile was always a beginning of the rows, in whole commits.
        assert all(found == list(range(len(found))) and len(found) % 2 == 0 for found in seen)

    def test_upserts_of_one_record_lose_nothing(self, database: Database) -> None:
        [record] = save(database, {})

        def write(thread: int) -> None:
            for number in range(10):
                save(database, {"_rmx_id": record["_rmx_id"], f"f{thread}_{number}": number}, upsert=True)

        _together(*[lambda i=i: write(i) for i in range(4)])
        found = database.get(record["_rmx_id"])
        assert found is not None
        assert {name for name in found if name.startswith("f")} == {
            f"f{t}_{n}" for t in range(4) for n in range(10)
        }
        history = database.history(record["_rmx_id"])
        assert len(history) == 41
        assert [row["_rmx_superseded"] for row in history[:-1]] == [True] * 40

    def test_flush_and_compaction_beside_readers_and_writers(self, database: Database) -> None:
        records = save(database, *({"n": number, "v": 0} for number in range(20)))

        def write() -> None:
            for version in range(1, 16):
                save(database, *({"_rmx_id": r["_rmx_id"], "n": r["n"], "v": version} for r in records))

        def maintain() -> None:
            for step in range(6):
                database.flush()
                database.compact(drop_history=step % 2 == 1)

        def read() -> None:
            last = 0
            for _ in range(30):
                rows = list(database.query("v >= 0"))
                assert sorted(_shown(rows)) == list(range(20))
                [version] = {row["v"] for row in rows}
                assert version >= last
                last = version

        _together(write, maintain, read, read)
        assert {row["v"] for row in database.query("true")} == {15}
        assert database.check() == []
