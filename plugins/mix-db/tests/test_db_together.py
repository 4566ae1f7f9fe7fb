"""Threads, processes and forks on one database, and what it does by itself."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_db.engine.background import worker
from mix_db.engine.opening import _engines
from mix_db.index.memory import MemoryPart
from mix_db.settings import Settings

from mixkit.errors import NotFound, QueryCancelled, QueryError, StorageError
from mixkit.testing.descriptors import descriptors

LONG = 30.0

# Each thread counts in a record of its own, and in a field of its own of a record of all.
COUNTER = """
import sys, threading
from mix_db import Database
from mix_db.settings import Settings

path, name, threads, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
database = Database(path, settings=Settings(flush_rows=40))

def count(thread):
    own = f"{name}{thread}"
    for _ in range(rounds):
        known = database.get(own)
        number = known["count"] + 1 if known else 1
        database.upsert(
            [{"_rmx_id": own, "count": number}, {"_rmx_id": "all", own: number}], original_id_always=True
        )

pool = [threading.Thread(target=count, args=(i,)) for i in range(threads)]
[thread.start() for thread in pool]
[thread.join() for thread in pool]
database.close()
"""

FORKED = """
import os, sys, threading
from mix_db import Database
from mix_db.settings import Settings

path = sys.argv[1]
database = Database(path, settings=Settings(flush_rows=10))
memory = Database.in_memory()
first = database.save({"n": 0})["_rmx_id"]
memory.save({"n": 0})
stop = threading.Event()

def write():
    while not stop.is_set():
        database.save({"by": "parent"})
        memory.save({"by": "parent"})

writer = threading.Thread(target=write)
writer.start()
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert database.get(first)["n"] == 0
            for number in range(15):
                database.save({"by": "child", "child": child, "number": number})
            assert database.query('child == $c', c=child).count() == 15
            before = memory.stats()["versions"]
            memory.save({"by": "child"})
            assert memory.stats()["versions"] == before + 1
            database.flush()
            database.close()
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
stop.set()
writer.join()
assert codes == [0] * 4, codes
assert database.query('by == "child"').count() == 60
assert memory.query('by == "child"').count() == 0
assert database.check() == []
print("fine")
"""

# A limit on the size of files stands for a full disk: writes fail in the middle, and work again when it is lifted.
FULL = """
import resource, sys, threading
from mix_db import Database
from mix_db.settings import Settings
from mixkit.errors import StorageError

database = Database(sys.argv[1], settings=Settings(background=False))
database.save({"_rmx_id": "all", "text": ""}, original_id_always=True)
stored, refused = {}, []

def write(thread):
    for number in range(60):
        try:
            name = f"t{thread}n{number}"
            answer = database.upsert({"_rmx_id": "all", "last": name, name: "x" * 40}, original_id_always=True)
            stored[name] = answer["_rmx_row"]
        except StorageError as exc:
            refused.append(str(exc))

def run():
    pool = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    [thread.start() for thread in pool]
    [thread.join() for thread in pool]

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
run()
assert refused and stored, (len(refused), len(stored))
assert all("not stored" in text for text in refused), refused
before = dict(stored)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
refused.clear()
run()
assert not refused, refused
history = database.history("all")
assert [version["_rmx_row"] for version in history] == list(range(len(history)))
found = {version["last"]: version["_rmx_row"] for version in history[1:]}
assert stored == found | {name: stored[name] for name in before if name not in found}, "an answer was wrong"
# Each version has all fields of those before it: nothing was laid over a version that was not stored.
for old, new in zip(history, history[1:]):
    fields = {name for name in new if not name.startswith("_rmx_")}
    assert {name for name in old if not name.startswith("_rmx_")} <= fields
    assert fields - set(old) <= {"last", new["last"]}
assert set(before) <= set(history[-1])
database.flush()
assert database.check() == []
print("fine")
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start(code, *args)`: a Python process, ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def run(code: str, *args: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + LONG
    while not (answer := found()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
    return answer


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """The write lock of a database, as another process has it."""
    with (path / "LOCK").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_no_update_is_lost_and_readers_see_a_prefix_of_the_commits(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    rounds, threads = 60, 4
    with Database(tmp_path) as database:
        counters = [start(COUNTER, tmp_path, name, threads, rounds) for name in "ab"]
        commits = 0
        while any(counter.poll() is None for counter in counters):
            state = database.contract.state()
            rows = [state.read(row) for row in state.current()]
            whole = [row for row in rows if "count" not in row]
            # Each commit adds one to one counter, in both places.
            assert sum(row.get("count", 0) for row in rows) == state.last
            assert (
                sum(n for row in whole for name, n in row.items() if not name.startswith("_")) == state.last
            )
            assert state.last >= commits
            commits = state.last
        for counter in counters:
            output, _ = counter.communicate()
            assert counter.returncode == 0, output
        assert database.watermark() == f"{2 * threads * rounds:016d}"
        everything = database.get("all")
        assert everything is not None
        for name in (f"{process}{thread}" for process in "ab" for thread in range(threads)):
            own = database.get(name)
            assert own is not None
            assert own["count"] == everything[name] == rounds
            assert [version["count"] for version in database.history(name)] == list(range(1, rounds + 1))
        assert database.check() == []


def test_a_backup_is_a_prefix_of_the_commits_while_others_write(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    source = tmp_path / "source"
    Database(source).close()
    counters = [start(COUNTER, source, name, 3, 60) for name in "ab"]
    copies: list[tuple[Path, str]] = []
    with Database(source, read_only=True) as reader:
        while any(counter.poll() is None for counter in counters):
            before = reader.watermark()
            copies.append((tmp_path / "copies" / str(len(copies)), ""))
            watermark = reader.backup(copies[-1][0])
            assert watermark >= before
            copies[-1] = copies[-1][0], watermark
        for counter in counters:
            assert counter.wait() == 0
        assert any(watermark < reader.watermark() for _, watermark in copies)
    assert len(list((tmp_path / "copies").iterdir())) == len(copies)
    for path, watermark in copies[:: max(1, len(copies) // 8)]:
        with Database(path) as copy:
            assert copy.check() == []
            assert copy.watermark() == watermark
            rows = copy.query("").all()
            assert sum(row.get("count", 0) for row in rows) == int(watermark)
            everything = copy.history("all")
            assert len(everything) == int(watermark)
            # It is a database of its own, and goes on from there.
            assert copy.save({"n": 1})["_rmx_rev"] == f"{int(watermark) + 1:016d}"
            copy.compact(drop_history=True)
            assert copy.check() == []


def test_a_backup_of_memory_of_a_compacted_one_and_of_none(tmp_path: Path) -> None:
    with Database.in_memory() as memory:
        memory.backup(tmp_path / "empty")
        memory.save([{"_rmx_id": "x", "n": n} for n in range(200)], original_id_always=True)
        memory.flush()
        memory.compact(drop_history=True)
        memory.save({"_rmx_id": "x", "n": "new"}, original_id_always=True)
        (tmp_path / "copy").mkdir()
        assert memory.backup(tmp_path / "copy") == memory.watermark()
        with Database(tmp_path / "copy") as copy:
            assert copy.get("x") == memory.get("x")
            assert copy.history("x") == memory.history("x")
            assert [copy.stats()[name] for name in ("generation", "horizon", "versions")] == [
                memory.stats()[name] for name in ("generation", "horizon", "versions")
            ]
            assert copy.check() == []
            with pytest.raises(QueryError, match="history"):
                copy.as_of("0" * 16)
    with Database(tmp_path / "empty") as copy:
        assert copy.query("").count() == 0
        for taken in (tmp_path / "copy", tmp_path / "empty", Path("/")):
            with pytest.raises(StorageError, match="empty folder"):
                copy.backup(taken)
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(StorageError, match="empty folder"):
            copy.backup(tmp_path / "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "empty", "link"]


@pytest.mark.parametrize("name", ["db.dat", "db.0-300.idx"])
def test_no_backup_is_made_of_what_is_damaged(tmp_path: Path, name: str) -> None:
    source = tmp_path / "source"
    with Database(source) as database:
        database.save([{"n": n, "text": "x" * 50} for n in range(300)])
        database.flush()
        with (source / name).open("r+b") as file:
            # In the middle; for a segment, behind what opening checks.
            file.seek(-200, os.SEEK_END)
            file.write(b"\xff" * 8)
        with pytest.raises(StorageError, match=name):
            database.backup(tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_database_goes_on_in_forked_children(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    output, _ = start(FORKED, tmp_path).communicate(timeout=LONG)
    assert output == "fine\n"


def test_a_full_disk_refuses_commits_and_loses_none(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    output, _ = start(FULL, tmp_path).communicate(timeout=LONG)
    assert output == "fine\n"


def test_a_commit_of_another_process_wakes_who_waits(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    code = "import sys; from mix_db import Database; Database(sys.argv[1]).save({'n': 1})"
    with Database(tmp_path) as database:
        begin = database.watermark()
        start(code, tmp_path)
        assert database.wait_for_change(begin, LONG) == f"{1:016d}"

        async def wait() -> str:
            async with asyncio.timeout(LONG):
                return await database.wait_for_change_async(f"{1:016d}")

        start(code, tmp_path)
        assert asyncio.run(wait()) == f"{2:016d}"


def test_many_wait_for_one_commit() -> None:
    async def wait(database: Database, count: int) -> list[str]:
        begin, before = database.watermark(), threading.active_count()
        waiting = [asyncio.create_task(database.wait_for_change_async(begin)) for _ in range(count)]
        await asyncio.sleep(0)
        assert threading.active_count() < before + 20
        await asyncio.to_thread(database.save, {"n": 1})
        async with asyncio.timeout(LONG):
            return await asyncio.gather(*waiting)

    with Database.in_memory() as database:
        assert asyncio.run(wait(database, 200)) == [f"{1:016d}"] * 200


def test_a_live_query_is_closed_by_another_thread() -> None:
    with Database.in_memory() as database:
        live = database.live("exists n")
        assert live.next() is not None
        ended: list[BaseException] = []

        def follow() -> None:
            try:
                live.next(LONG)
            except QueryCancelled as exc:
                ended.append(exc)

        thread = threading.Thread(target=follow)
        thread.start()
        live.close()
        thread.join(LONG)
        assert len(ended) == 1


def test_a_change_is_found_without_a_look_at_old_rows(tmp_path: Path) -> None:
    with Database(tmp_path, settings=Settings(background=False)) as database:
        # The index has the beginning of a text: what it leaves is compared with the record.
        text = "x" * 300
        old = database.save([{"text": text + str(n), "n": n} for n in range(50)])
        database.flush()
        with database.live('text like "' + text + '%" and n != 1 | {n}') as live:
            first = live.next(0)
            assert first is not None
            assert len(first.entered) == 49
            with (tmp_path / "db.dat").open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                file.write(b"\xff" * (size // 2))
            with pytest.raises(StorageError):
                database.get(old[0]["_rmx_id"])
            database.save({"text": text, "n": 100})
            database.delete(old[40]["_rmx_id"])
            change = live.next(0)
            assert change is not None
            assert [row["n"] for row in change.entered] == [100]
            assert [ref.id for ref in change.left] == [old[40]["_rmx_id"].id]


def test_a_slow_consumer_gets_one_change() -> None:
    with Database.in_memory() as database, database.live("exists n") as live:
        record = database.save({"n": 0})
        assert live.next(0) is not None
        for number in range(1, 6):
            database.upsert({"_rmx_id": record["_rmx_id"], "n": number})
        gone = database.save({"n": 100})
        database.delete(gone["_rmx_id"])
        change = live.next(0)
        assert change is not None
        assert [row["n"] for row in change.changed] == [5]
        assert not change.entered
        assert not change.left
        assert live.next(0) is None


def test_what_is_due_is_done_without_being_asked(tmp_path: Path) -> None:
    with Database(tmp_path, settings=Settings(flush_rows=20)) as database:
        for number in range(400):
            database.save({"n": number})
        until(lambda: database.stats()["log_versions"] < 20)
        until(lambda: 0 < database.stats()["segments"] <= 6)
        stats = database.stats()
        assert stats["errors"] == []
        assert stats["last_flush_here"] and stats["last_merge_here"] and not stats["last_compaction_here"]
        assert database.query("n >= 0").count() == 400
        database.close()
    with Database(tmp_path, read_only=True) as database:
        # Another one, as another process has.
        assert database.stats()["last_flush_here"] is None
    with Database(tmp_path, settings=Settings(flush_seconds=0.05)) as database:
        database.save({"n": 400})
        until(lambda: database.stats()["log_versions"] == 0)


def test_many_different_fields_do_not_stay_in_memory(tmp_path: Path) -> None:
    with Database(tmp_path, settings=Settings(flush_fields=1_000)) as database:
        for call in range(3):
            database.save({f"field {call} {number}": number for number in range(10_000)})
            # Without a wait: the call itself moved it.
            assert database.stats()["log_versions"] == 0
        assert database.query("`field 1 77` == 77").count() == 1


@pytest.mark.parametrize("kept", ["in files", "in memory"])
def test_left_alone_it_comes_to_few_segments(tmp_path: Path, kept: str) -> None:
    with Database(tmp_path if kept == "in files" else None) as database:
        for burst in range(5):
            database.save([{"n": burst}] * 20)
            database.flush()
        until(lambda: database.stats()["segments"] == 1)
        assert database.query("n == 3").count() == 20
        assert database.stats()["errors"] == []


@pytest.mark.parametrize("in_files", [True, False])
def test_a_flush_under_steady_commits_indexes_no_row_again(
    tmp_path: Path, in_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed: list[int] = []
    note = MemoryPart.note

    def counted(part: MemoryPart, count: int, links: Any, deleted: Any) -> None:
        indexed.extend(range(part.stop, part.stop + count))
        note(part, count, links, deleted)

    monkeypatch.setattr(MemoryPart, "note", counted)
    stop = threading.Event()
    with Database(tmp_path if in_files else None, settings=Settings(background=False)) as database:

        def write() -> None:
            while not stop.is_set():
                database.save({"n": 1})

        database.save([{"n": 0} for _ in range(1_000)])
        writers = [threading.Thread(target=write) for _ in range(3)]
        for writer in writers:
            writer.start()
        for _ in range(5):
            database.flush()
            # So that each flush finds something.
            before = database.stats()["versions"]
            until(lambda before=before: database.stats()["versions"] > before)
        stop.set()
        for writer in writers:
            writer.join()
        stats = database.stats()
        assert stats["segments"] == 5
        # Twice are indexed at most those that came while a segment was made; never a segment.
        assert max(Counter(indexed).values()) <= 2
        assert all(count == 1 for row, count in Counter(indexed).items() if row < 1_000)
        assert database.query("exists n").count() == stats["versions"] == stats["commits"] + 999
        assert database.check() == []


def test_a_long_log_is_not_left_to_who_opens_next(tmp_path: Path) -> None:
    for count, left in ((900, 900), (200, 0)):
        with Database(tmp_path) as database:
            database.save([{"n": n} for n in range(count)])
        with Database(tmp_path, read_only=True) as database:
            assert database.stats()["log_versions"] == left


def test_times_never_decrease(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        first = database.save({"n": 0})
        ahead = first["_rmx_last_modified_at"] + 3_600_000
        database.contract._engine._clock = ahead
        database.save({"n": 1})
        database.flush()
    with Database(tmp_path) as database:
        assert database.save({"n": 2})["_rmx_last_modified_at"] == ahead
        assert database.save({"n": 3})["_rmx_last_modified_at"] == ahead
        assert database.as_of(ahead - 1).query("").count() == 1
        assert database.as_of(ahead).query("").count() == 4


@pytest.mark.parametrize("in_files", [True, False])
def test_a_moment_behind_the_horizon_can_be_asked_for_though_its_rows_are_gone(
    tmp_path: Path, in_files: bool
) -> None:
    database = Database(tmp_path if in_files else None)

    def later() -> None:
        nonlocal database
        time.sleep(0.003)
        if in_files:
            database.close()
            database = Database(tmp_path)

    kept = database.save({"n": 0})
    later()
    gone = database.save({"n": 1})
    later()
    deleted = database.delete(gone["_rmx_id"])["_rmx_last_modified_at"]
    later()
    database.compact(drop_history=True)
    later()
    for _ in range(2):
        assert database.as_of(deleted).watermark() == database.as_of(deleted + 1).watermark() == f"{3:016d}"
        with pytest.raises(QueryError, match="history"):
            database.as_of(deleted - 1)
        with pytest.raises(QueryError, match="history"):
            database.as_of(kept["_rmx_last_modified_at"])
        later()
        # What comes later moves nothing, and a second compaction without news forgets nothing.
        database.compact(drop_history=True)
        database.flush()
    later()
    new = database.save({"n": 2})
    assert database.as_of(deleted).query("").all() == [kept]
    assert database.as_of(new["_rmx_last_modified_at"]).query("").count() == 2
    database.delete([kept["_rmx_id"], new["_rmx_id"]])
    database.contract._engine._clock += 3_600_000
    last = database.save({"n": 3})
    ahead = database.delete(last["_rmx_id"])["_rmx_last_modified_at"]
    database.compact(drop_history=True)
    later()
    # All rows are gone; times do not decrease all the same.
    assert database.stats()["versions"] == 0
    assert database.save({"n": 4})["_rmx_last_modified_at"] == ahead
    database.close()


def test_a_fault_of_background_work_is_told_and_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(flush_rows=1, background=False)
    with Database(tmp_path, settings=settings) as database:
        # The flush takes this lock first; a folder of its name cannot be opened.
        (tmp_path / "FLUSH").unlink(missing_ok=True)
        (tmp_path / "FLUSH").mkdir()
        database.save({"n": 1})
        engine = database.contract._engine
        assert engine.maintain() is not None
        assert engine.maintain() is not None
        [error] = database.stats()["errors"]
        assert error.startswith("flush: ")
        assert len(caplog.records) == 1
        assert database.query("n == 1").count() == 1
        (tmp_path / "FLUSH").rmdir()
        assert engine.maintain() is None
        assert database.stats()["errors"] == []
        assert database.stats()["log_versions"] == 0


def test_a_retention_compacts_by_itself(tmp_path: Path) -> None:
    settings = Settings(flush_rows=5, retention=0.001, compact_share=0.3)
    with Database(tmp_path, settings=settings) as database:
        record = database.save({"n": 0})
        first = database.watermark()
        for number in range(1, 40):
            database.upsert({"_rmx_id": record["_rmx_id"], "n": number})
        until(lambda: database.stats()["generation"] > 0)
        assert database.get(record["_rmx_id"])["n"] == 39  # type: ignore[index]
        with pytest.raises(QueryError, match="history"):
            database.as_of(first)
        assert database.check() == []


def test_handles_share_an_engine_until_the_last_is_closed(tmp_path: Path) -> None:
    one, two = Database(tmp_path), Database(tmp_path)
    assert one.contract._engine is two.contract._engine
    cursor = one.contract.query("")
    one.save([{"n": n} for n in range(3)])
    one.close()
    one.close()
    with pytest.raises(QueryCancelled):
        cursor.next()
    with pytest.raises(StorageError, match="closed"):
        one.get("x")
    assert two.query("").count() == 3
    two.close()
    with Database(tmp_path, read_only=True) as three:
        assert three.query("").count() == 3
        with pytest.raises(StorageError, match="read"):
            three.save({"n": 4})
        with pytest.raises(StorageError, match="read"):
            three.compact()


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_database_that_nobody_refers_to_any_more_is_closed(tmp_path: Path, cyclic: bool) -> None:
    database = Database(tmp_path)
    database.save([{"n": n} for n in range(250)])
    cursor = database.contract.query("exists n | orderAsc(n)")
    assert len(cursor.next()) == 100
    engine = database.contract._engine
    held: list[Any] = [database]
    if cyclic:
        held.append(held)
    del database
    # Python may notice it wherever it clears up, whatever locks the thread holds there.
    with _engines.mutex, worker._change, engine._maintenance, engine._mutex:
        del held
        gc.collect()
    until(lambda: engine.closed)
    until(lambda: not descriptors(str(tmp_path)))
    assert [row["n"] for row in cursor] == list(range(100, 250))
    with Database(tmp_path) as again:
        assert again.query("").count() == 250
        assert again.contract._engine is not engine


def test_two_threads_close_a_handle_and_release_it_once(tmp_path: Path) -> None:
    with Database(tmp_path) as kept:
        for _ in range(50):
            handle = Database(tmp_path)
            start = threading.Barrier(4)

            def close(start: threading.Barrier = start, handle: Database = handle) -> None:
                start.wait()
                handle.close()

            threads = [threading.Thread(target=close) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert kept.save({"n": 1})["n"] == 1


def test_who_opens_another_database_does_not_wait_for_one_that_is_locked(tmp_path: Path) -> None:
    slow, other = tmp_path / "slow", tmp_path / "other"
    Database(slow).close()
    opened = threading.Event()

    def open_slow() -> None:
        with Database(slow):
            opened.set()

    thread = threading.Thread(target=open_slow)
    with hold_lock(slow):
        thread.start()
        with Database(other) as database:
            database.save({"n": 1})
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert not opened.is_set()
    thread.join(LONG)
    assert opened.is_set()


def test_many_who_open_one_at_once_share_it(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    found: list[Database] = []

    def open_it() -> None:
        start.wait()
        found.append(Database(tmp_path))

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(database.contract._engine) for database in found}) == 1
    for number, database in enumerate(found):
        database.save({"n": number})
        database.close()
    with Database(tmp_path, read_only=True) as again:
        assert again.query("").count() == 8


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing"):
        Database(tmp_path / "nothing", read_only=True)
    with pytest.raises(NotFound):
        Database(tmp_path, read_only=True)
    (tmp_path / "file").write_text("text")
    with pytest.raises(StorageError, match="file"):
        Database(tmp_path / "file")
    with pytest.raises(StorageError):
        Database(tmp_path / "file" / "below")


def test_a_moved_database_and_a_new_one_in_its_place_are_two(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as first:
        first.save({"n": 1})
        (tmp_path / "a").rename(tmp_path / "b")
        with Database(tmp_path / "a") as second:
            assert second.query("").count() == 0
            second.save([{"n": 2}, {"n": 3}])
            assert first.query("").count() == 1
        with Database(tmp_path / "b") as again:
            assert again.contract._engine is first.contract._engine


def test_parameters_of_any_name() -> None:
    with Database.in_memory() as database:
        database.save([{"class": 1}, {"class": 2}])
        assert database.query("class == $class", {"class": 2}).count() == 1
        assert database.query("class == $n", n=2).first()["class"] == 2  # type: ignore[index]
        assert database.query("class == $timeout", params={"timeout": 1}).all()[0]["class"] == 1
        with pytest.raises(QueryError, match="two"):
            database.query("class == $n", {"n": 1}, n=2)


def test_rows_of_a_query_are_those_of_the_moment_when_they_are_asked_for() -> None:
    with Database.in_memory() as database:
        rows = database.query("exists n | orderDesc(n)")
        assert rows.first() is None
        assert rows.count() == 0
        database.save([{"n": n} for n in range(250)])
        assert rows.first()["n"] == 249  # type: ignore[index]
        assert rows.count() == len(rows.all()) == 250
        assert [len(batch) for batch in rows.batches()] == [100, 100, 50]
        assert rows.explain()["rows"] == 250
        past = database.as_of(f"{0:016d}")
        assert past.query("").count() == 0
        assert past.watermark() == f"{0:016d}"
