"""What SQL may try, and what stops it. Nothing here harms DuckDB: it is our guards that are exercised."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mix_duckdb.session import Late

from mixkit.errors import FFIError

Connect: TypeAlias = Any
Ended: TypeAlias = Callable[[int], Awaitable[None]]


@pytest.fixture(params=["memory", "file"])
async def session(request: pytest.FixtureRequest, connect: Connect, file: Path) -> Any:
    return await connect(file if request.param == "file" else None)


REFUSED = [
    "select * from read_csv('/etc/passwd')",
    "from '/etc/passwd.csv'",
    "from read_text('/etc/hostname')",
    "from read_blob('/proc/self/environ')",
    "from glob('/*')",
    "from sniff_csv('/etc/passwd')",
    "from query_table('/etc/passwd.csv')",
    "create table t as from read_text('/etc/hostname')",
    "create view v as from read_text('/etc/hostname')",
    "create macro m() as table from read_text('/etc/hostname')",
    "copy (select 1) to '/tmp/x.csv'",
    "explain analyze copy (select 1) to '/tmp/x.csv'",
    "explain (analyze, format json) copy (select 1) to '/tmp/x.csv'",
    "explain /* ( */ analyze copy (select 1) to '/tmp/x.csv'",
    "explain explain select 1",
    "export database '/tmp/x'",
    "import database '/tmp/x'",
    "attach '/tmp/other.duckdb'",
    "attach ':memory:' as y",
    "detach memory",
    "install httpfs",
    "load httpfs",
    "load '/tmp/x.duckdb_extension'",
    "set threads = 64",
    "set memory_limit = '64GB'",
    "set variable x = 1",
    "reset threads",
    "pragma threads = 64",
    "pragma enable_profiling",
    "pragma database_list",
    "use main",
    "call enable_logging()",
    "checkpoint",
    "prepare p as select 1",
    "execute p",
    "create persistent secret s (type http)",
    "select getenv('HOME')",
    "from python_table",
    "",
    ";;",
    "-- nothing",
]


async def test_refused(session: Any) -> None:
    for sql in REFUSED:
        with pytest.raises(FFIError) as caught:
            await session.query(sql)
        assert len(str(caught.value)) > 20, sql
        assert await (await session.query("select 1 as a")).rows() == [{"a": 1}]


async def test_the_path_of_a_file_is_not_shown(connect: Connect, file: Path) -> None:
    session = await connect(file)
    for sql in (
        "from duckdb_databases()",
        'from "DuckDB_Databases"()',
        "from query('from duckdb_' || 'databases()')",
        "from \"query\"('from duckdb_' || 'databases()')",
        "from query/**/('from duckdb_' || 'databases()')",
        "from query--\n('from duckdb_' || 'databases()')",
        "from pragma_database_list",
        "from pg_settings",
        "from duckdb_settings()",
        "select current_setting('allowed_paths')",
        "create view v as from duckdb_databases()",
        "create macro m() as table from query_table('duckdb_' || 'databases')",
    ):
        with pytest.raises(FFIError, match="not available in a database file"):
            await session.query(sql)
    shown = []
    for sql in (
        "show databases",
        "show all tables",
        "from duckdb_tables()",
        "from duckdb_temporary_files()",
        "explain analyze select 1",
        "from information_schema.schemata",
        "from pg_catalog.pg_database",
        "from duckdb_secrets()",
    ):
        try:
            answer = await session.query(sql)
            while (batch := await answer.rows()) is not None:
                shown.append(str(batch))
        except FFIError as exc:
            shown.append(str(exc))
    everything = "\n".join(shown)
    for hidden in (str(file.parent), "/root", "/home"):
        assert hidden not in everything


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from range(1_000_000_000_000)",
        "with recursive r as (select 1 as n union all select n + 1 from r) select max(n) from r",
        "create table t as select i from range(1_000_000_000_000) t (i) where i < 0",
        "select i from range(1_000_000_000_000) t (i) where i < 0",
    ],
)
async def test_ends_at_its_deadline(connect: Connect, file: Path, sql: str) -> None:
    for path in (None, file):
        session = await connect(path, statement_time=0.3)
        began = time.monotonic()
        with pytest.raises(Late, match=r"0\.3 s \(setting duckdb\.statement_time\)"):
            answer = await session.query(sql)
            while await answer.rows() is not None:
                pass
        assert time.monotonic() - began < 20
        # It heard the interrupt, so it lives.
        assert (await (await session.query("select 1 as a")).rows()) == [{"a": 1}]


async def test_what_hears_no_interrupt_is_killed(connect: Connect, ended: Ended, file: Path) -> None:
    """Held by a signal instead of a function that does not listen: nothing inside the process can act then."""
    for path in (None, file):
        session = await connect(path, seconds=0.6)
        running = asyncio.create_task(session.query("select count(*) from range(1_000_000_000_000)"))
        await asyncio.sleep(0.1)
        os.kill(session.pid, signal.SIGSTOP)
        with pytest.raises(Late):
            await running
        await ended(session.pid)
    assert (await (await (await connect(file)).query("select 1 as a")).rows()) == [{"a": 1}]


async def test_the_alarm_needs_nobody(connect: Connect, file: Path) -> None:
    """The process ends itself by the system's clock, when the server is busy or gone."""
    code = textwrap.dedent(
        """
        import time
        from mix_duckdb.watch import Watch

        class Deaf:
            def interrupt(self):
                pass

        with Watch().over(Deaf(), time.monotonic() + 0.2):
            while True:
                pass
        """
    )
    began = time.monotonic()
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], timeout=60)
    assert done.returncode == -14 and time.monotonic() - began < 30


async def test_memory(session: Any) -> None:
    for sql in (
        "select repeat('x', 2_000_000_000)",
        "select list(i) from range(200_000_000) t (i)",
        "create temp table t as select i, i + 1 from range(200_000_000) t (i)",
    ):
        with pytest.raises(FFIError, match=r"out of memory.*duckdb\.memory_limit"):
            await session.query(sql)
    assert (await (await session.query("select 1 as a")).rows()) == [{"a": 1}]


async def test_many_columns_and_deep_expressions(session: Any) -> None:
    with pytest.raises(FFIError, match="10000 columns"):
        await session.query("select " + ", ".join(f"{i} as c{i}" for i in range(10_000)))
    with pytest.raises(FFIError):
        await session.query("select " + "(" * 3000 + "1" + ")" * 3000)
    with pytest.raises(FFIError):
        await session.query("select " + "1 + " * 5000 + "1")


async def test_a_file_does_not_grow_without_end(connect: Connect, ended: Ended, file: Path) -> None:
    session = await connect(file, file_bytes=2 << 20)
    await session.query("create table t (a int, b varchar); insert into t values (1, 'kept')")
    with pytest.raises(FFIError, match=r"duckdb\.file_bytes"):
        for _ in range(20):
            await session.query(
                "insert into t select i, md5(i::varchar) || md5((-i)::varchar) from range(20_000) t (i)"
            )
    # What was committed is there, and what is deleted makes room.
    other = await connect(file, file_bytes=2 << 20)
    assert await (await other.query("select count(*) c from t where b = 'kept'")).rows() == [{"c": 1}]
    assert (await other.query("delete from t where b <> 'kept'")).changed > 0
    await other.query("drop table t")
    session.close()
    other.close()
    await ended(other.pid)
    again = await connect(file, file_bytes=2 << 20)
    for _ in range(3):
        assert (await again.query("create or replace table t as select 1 as a")).changed is None


CONFINED = """
import os, socket, subprocess, sys
from pathlib import Path
from mix_duckdb.confine import Confinement

folder, outside = map(Path, sys.argv[1:])
lacks = Confinement().take(str(folder))
def refused(what):
    try:
        what()
    except PermissionError:
        return True
    return False
(folder / "own").write_text("x")
assert (folder / "own").read_text() == "x"
import wave  # Python's own can still be had.
if "landlock" not in lacks:
    assert refused(lambda: Path("/etc/passwd").read_text())
    assert refused((outside / "secret").read_text)
    assert refused(lambda: (outside / "new").write_text("x"))
    assert refused(lambda: (folder / "own").rename(outside / "moved"))
    assert refused(lambda: os.listdir("/"))
    assert refused(lambda: subprocess.run([sys.executable, "-c", "0"]))
    assert refused(lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes())
if "seccomp" not in lacks:
    assert refused(socket.socket)
    assert refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    socket.socketpair()
print(*lacks or ["nothing"])
"""


async def test_what_the_system_takes(tmp_path: Path) -> None:
    """It holds whatever DuckDB does, so it is tried with Python, in a process of its own."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("x")
    command = [sys.executable, "-c", CONFINED, str(folder), str(outside)]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0
    if done.stdout != "nothing\n":
        pytest.skip(f"this system lacks {done.stdout}")
