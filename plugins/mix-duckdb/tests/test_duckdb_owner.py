"""One owner of a file, whoever asks, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mix_duckdb import processes
from mix_duckdb.session import OwnerLost
from mix_duckdb.settings import DuckdbSettings

from mixkit.errors import FFIError, ProfileError

Connect: TypeAlias = Any
Ended: TypeAlias = Callable[[int], Awaitable[None]]

WORKER = """
import asyncio, sys, time
from pathlib import Path
from mix_duckdb import processes
from mix_duckdb.session import session
from mix_duckdb.settings import DuckdbSettings

async def main():
    settings = DuckdbSettings(idle=1.0, process_memory=512 << 20)
    owners = set()
    for n in range(10):
        async with session(settings, deadline=time.monotonic() + 60, file=Path(sys.argv[1])) as sql:
            owners.add(sql.pid)
            await sql.query("create table if not exists t (who int, n int)")
            for _ in range(3):
                await sql.query("insert into t values (?, ?)", [int(sys.argv[2]), n])
    print(*owners)
    processes.forget()

asyncio.run(main())
"""


async def rows(session: Any, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await (await session.query(sql)).rows()
    return found


async def work(file: Path, number: int) -> str:
    """The owners that another process of a server has found."""
    command = [sys.executable, "-c", WORKER, str(file), str(number)]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 0
    return done.stdout.strip()


async def test_four_processes_have_one_owner(connect: Connect, file: Path) -> None:
    answers = await asyncio.gather(*(work(file, n) for n in range(4)))
    assert len({pid for answer in answers for pid in answer.split()}) == 1
    session = await connect(file)
    assert await rows(session, "select who, count(*) c, sum(n) s from t group by who order by who") == [
        {"who": who, "c": 30, "s": 135} for who in range(4)
    ]


async def test_who_starts_at_once_gets_the_same(connect: Connect, file: Path) -> None:
    sessions = await asyncio.gather(*(connect(file) for _ in range(6)))
    assert len({session.pid for session in sessions}) == 1
    await sessions[0].query("create table t as select 7 as a")
    for session in sessions:
        assert await rows(session, "from t") == [{"a": 7}]
    # Each has a transaction of its own.
    await sessions[1].query("begin; insert into t values (8)")
    assert await rows(sessions[2], "select count(*) c from t") == [{"c": 1}]
    sessions[1].close()
    assert await rows(await connect(file), "select count(*) c from t") == [{"c": 1}]


async def test_an_owner_killed_in_the_middle(connect: Connect, file: Path) -> None:
    session = await connect(file)
    await session.query("create table t (a int); insert into t values (1)")
    await session.query("begin; insert into t values (2)")
    other = await connect(file)
    await other.query("insert into t values (3)")
    running = asyncio.create_task(session.query("select count(*) from range(1_000_000_000_000)"))
    await asyncio.sleep(0.1)
    os.kill(session.pid, signal.SIGKILL)
    with pytest.raises(OwnerLost, match="what was committed is there"):
        await running
    with pytest.raises(OwnerLost):
        await other.query("select 1")
    # It left its socket behind.
    assert file.with_suffix(".sock").exists()
    again = await connect(file)
    assert again.pid != session.pid
    assert await rows(again, "select a from t order by a") == [{"a": 1}, {"a": 3}]


async def test_an_owner_that_nobody_uses_ends(connect: Connect, ended: Ended, file: Path) -> None:
    session = await connect(file, idle=0.2)
    await session.query("create table t as select 7 as a")
    await asyncio.sleep(0.6)
    assert await rows(session, "from t") == [{"a": 7}]
    session.close()
    await ended(session.pid)
    assert sorted(os.listdir(file.parent)) == ["main.duckdb", "main.lock"]  # noqa: PTH208
    assert os.stat(file).st_mode & 0o077 == 0  # noqa: PTH116
    again = await connect(file, idle=0.2)
    assert again.pid != session.pid and await rows(again, "from t") == [{"a": 7}]


async def test_it_outlives_who_started_it(connect: Connect, file: Path) -> None:
    owner = await work(file, 1)
    assert str((await connect(file)).pid) == owner


async def test_a_process_in_memory_ends_with_its_session(connect: Connect, ended: Ended) -> None:
    one, other = await connect(), await connect()
    assert one.pid != other.pid
    await one.query("create table t as select 7 as a")
    with pytest.raises(FFIError, match="Catalog Error"):
        await other.query("from t")
    one.close()
    await ended(one.pid)
    os.kill(other.pid, signal.SIGKILL)
    with pytest.raises(OwnerLost, match="try again"):
        await other.query("select 1")


async def test_who_is_cancelled_stops_the_statement(connect: Connect, ended: Ended, file: Path) -> None:
    for path in (None, file):
        session = await connect(path)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.query("select count(*) from range(1_000_000_000_000)"), 0.2)
        assert session.closed
        if path is None:
            await ended(session.pid)
        else:
            # Interrupted, not killed: others use it.
            again = await connect(path, sessions=1)
            assert again.pid == session.pid and await rows(again, "select 1 as a") == [{"a": 1}]
        assert time.monotonic() - began < 20


async def test_a_zygote_that_is_lost_is_started_again(connect: Connect) -> None:
    first = await connect(batch_rows=999)
    [zygote] = [z for settings, z in processes._zygotes.items() if settings.batch_rows == 999]
    os.kill(zygote._pid, signal.SIGKILL)
    assert await rows(first, "select 1 as a") == [{"a": 1}]
    assert await rows(await connect(batch_rows=999), "select 1 as a") == [{"a": 1}]
    zygote.forget()


@pytest.fixture
def foreign(file: Path) -> Path:
    file.write_bytes(b"nothing of DuckDB's" * 100)
    return file


async def test_a_file_that_is_no_database(connect: Connect, foreign: Path) -> None:
    with pytest.raises(FFIError, match="cannot be opened") as caught:
        await connect(foreign)
    assert str(foreign.parent) not in str(caught.value)


async def test_a_folder_with_a_long_name(connect: Connect, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    sessions = [await connect(folder / "main.duckdb") for _ in range(2)]
    assert sessions[0].pid == sessions[1].pid


async def test_many_sessions(connect: Connect, file: Path) -> None:
    """Each has a thread with a stack of its own, for which there is room beside the memory of statements."""
    sessions = [await connect(file, memory_limit=32 << 20, process_memory=160 << 20) for _ in range(50)]
    assert len({session.pid for session in sessions}) == 1
    assert (
        await asyncio.gather(*(rows(session, "select 1 as a") for session in sessions)) == [[{"a": 1}]] * 50
    )


def test_memory_that_cannot_be() -> None:
    with pytest.raises(ProfileError, match="process_memory: expected at least 128 MiB more"):
        DuckdbSettings(memory_limit=256 << 20, process_memory=300 << 20)


async def test_as_many_sessions_as_are_allowed(connect: Connect, file: Path) -> None:
    await connect(file, sessions=1)
    with pytest.raises(FFIError, match=r"1 runs use this.*duckdb\.sessions"):
        await connect(file, sessions=1)


FORKS = """
import asyncio, os, sys, time
from pathlib import Path
from mix_duckdb import processes
from mix_duckdb.session import session
from mix_duckdb.settings import DuckdbSettings

async def use(file):
    settings = DuckdbSettings(idle=1.0, process_memory=512 << 20)
    found = []
    for path in (None, Path(file)):
        async with session(settings, deadline=time.monotonic() + 60, file=path) as sql:
            [row] = await (await sql.query("select ? as a", [os.getpid()])).rows()
            assert row == {"a": os.getpid()}
            found.append(sql.pid)
    return found

_, owner = asyncio.run(use(sys.argv[1]))
[before] = [zygote._pid for zygote in processes._zygotes.values()]
child = os.fork()
assert asyncio.run(use(sys.argv[1]))[1] == owner
[after] = [zygote._pid for zygote in processes._zygotes.values()]
assert (before == after) is (child != 0)
processes.forget()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("both")
"""

ENDS = """
import asyncio, os, signal, time
from mix_duckdb import processes
from mix_duckdb.session import open_session
from mix_duckdb.settings import DuckdbSettings

async def main():
    sql = await open_session(DuckdbSettings(process_memory=512 << 20), deadline=time.monotonic() + 60)
    print(sql.pid, *(zygote._pid for zygote in processes._zygotes.values()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_workers_that_are_forked(file: Path) -> None:
    command = [sys.executable, "-c", FORKS, str(file)]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "both\n")


async def test_nothing_stays_behind_a_server_that_is_killed(ended: Ended) -> None:
    command = [sys.executable, "-c", ENDS]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == -signal.SIGKILL
    for pid in done.stdout.split():
        await ended(int(pid))


async def test_who_is_cancelled_while_a_process_starts(connect: Connect, file: Path) -> None:
    for path in (None, file):
        with pytest.raises(TimeoutError):
            # As many as are allowed: each that was not given back would be one too many.
            await asyncio.wait_for(connect(path, processes=1, threads=1), 0.001)
        assert await rows(await connect(path, processes=1, threads=1), "select 1 as a") == [{"a": 1}]


KILLS = """
import asyncio, os, random, signal, sys, time
from pathlib import Path
from mix_duckdb import processes
from mix_duckdb.session import OwnerLost, session
from mix_duckdb.settings import DuckdbSettings

async def main():
    file, who = Path(sys.argv[1]), int(sys.argv[2])
    settings = DuckdbSettings(idle=0.5, process_memory=512 << 20)
    acknowledged = set()

    async def ask(text, params=()):
        async with session(settings, deadline=time.monotonic() + 60, file=file) as sql:
            return await (await sql.query(text, params)).rows(), sql.pid

    for n in range(12):
        try:
            await ask("create table if not exists t (who int, n int)")
            _, owner = await ask("insert into t values (?, ?)", [who, n])
            acknowledged.add(n)
            if n % 4 == who:
                os.kill(owner, signal.SIGKILL)
        except (OwnerLost, ProcessLookupError):  # The other worker kills it as well.
            pass
    while True:
        try:
            found, _ = await ask("select n from t where who = ?", [who])
            break
        except OwnerLost:
            pass
    print(len(acknowledged), sorted(acknowledged - {row["n"] for row in found or ()}))
    processes.forget()

asyncio.run(main())
"""


async def test_nothing_acknowledged_is_lost_when_owners_are_killed(file: Path) -> None:
    async def work(number: int) -> str:
        command = [sys.executable, "-c", KILLS, str(file), str(number)]
        done = await asyncio.to_thread(
            subprocess.run, command, stdout=subprocess.PIPE, text=True, timeout=200
        )
        assert done.returncode == 0
        return done.stdout

    for answer in await asyncio.gather(work(0), work(1)):
        count, lost = answer.split(maxsplit=1)
        assert int(count) > 0 and lost == "[]\n"
