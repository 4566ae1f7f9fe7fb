"""SQL as agents call it."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_duckdb.doctor import checks
from mix_duckdb.ffis import Sessions, group
from mix_duckdb.settings import DuckdbSettings

from mixkit import Kernel, codec
from mixkit.databases import Apps
from mixkit.errors import FFIError, GrantError, LimitExceeded, MixError, NotFound
from mixkit.ffi import FFITable
from mixkit.ffi_call import call_ffi
from mixkit.grants import ALL, Grants
from mixkit.limits import Budget, Limits
from mixkit.state import NoServices, State
from mixkit.storage import Place
from mixkit.value import UNDEF, Case, Ref, Token

TABLE = FFITable([group])


class Services(NoServices):
    """Those of a kernel with the plugin."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self._settings = DuckdbSettings(**({"idle": 1.0, "process_memory": 512 << 20} | changes))

    def settings(self, plugin: str) -> Any:
        return self._settings


class Agent:
    """A run that calls."""

    def __init__(
        self, home: Path | None, grants: Grants = ALL, limits: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        place = None if home is None else Place("w", "a", home)
        self.state = State(
            budget=Budget(Limits(**(limits or {}))), grants=grants, services=Services(**settings), place=place
        )

    async def call(self, name: str, *args: Any) -> Any:
        words = codec.encode(list(args), token=self.state.token_to_handle)
        ffi, answer = TABLE.dispatch(self.state, f"$duckdb_{name}".encode(), words)
        if inspect.isawaitable(answer):
            answer = await answer
        assert ffi.is_async is (name != "close")
        self.state.budget.check_call(answer)
        return codec.decode(answer, token=self.state.token_from_handle)

    async def ok(self, name: str, *args: Any) -> Any:
        answer = await self.call(name, *args)
        assert answer.name == "ok", answer.arg
        return answer.arg

    async def refused(self, name: str, *args: Any) -> str:
        answer = await self.call(name, *args)
        assert answer.name == "error", answer
        message: str = answer.arg
        return message


class Agents:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.made: list[Agent] = []

    def __call__(self, grants: Grants = ALL, limits: dict[str, Any] | None = None, **settings: Any) -> Agent:
        self.made.append(Agent(self.home, grants, limits, **settings))
        return self.made[-1]


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    agents = Agents(tmp_path / "home")
    yield agents
    for agent in agents.made:
        assert agent.state.close() == []
    await asyncio.sleep(0)


def pid_of(agent: Agent, db: str | None) -> int:
    sessions = agent.state.get(Sessions)
    assert sessions is not None
    return sessions._open[db].pid


async def test_query_execute_next_close(agents: Agents) -> None:
    agent = agents()
    for db in (None, "main"):
        assert await agent.ok("execute", db, "create table t (id int, name varchar)") is None
        assert await agent.ok("execute", db, "insert into t values (?, ?), (2, 'b')", [1, Ref("r")]) == 2
        assert await agent.ok("query", db, "select id, name from t where id = $id", {"id": 1}) == {
            "columns": [{"name": "id", "type": "INTEGER"}, {"name": "name", "type": "VARCHAR"}],
            "rows": [{"id": 1, "name": "r"}],
            "next": None,
        }
        answer = await agent.ok("query", db, "select i from range(2500) t (i)", None)
        handle = answer["next"]
        assert len(answer["rows"]) == 1000 and isinstance(handle, Token)
        assert await agent.ok("execute", db, "delete from t") == 2
        assert [len(await agent.ok("next", handle)) for _ in range(4)] == [1000, 500, 0, 0]
        assert await agent.call("close", handle) is None
        assert await agent.call("close", handle) is None
        assert "not an open DuckdbRows" in await agent.refused("next", handle)
    # What is in memory is this run's; the file is the app's.
    other = agents()
    assert "Catalog Error" in await other.refused("query", None, "from t")
    assert (await other.ok("query", "main", "from t"))["rows"] == []


async def test_parameters_have_types(agents: Agents) -> None:
    agent = agents()
    given = [None, True, -(2**63), 0.5, "å", b"\x00\xff", [1, 2], {"a": {"b": 1}}]
    sql = "select ? as a, ? as b, ? as c, ? as d, ? as e, ? as f, ? as g, ? as h"
    [row] = (await agent.ok("query", None, sql, given))["rows"]
    assert list(row.values()) == given
    for wrong in (UNDEF, Case("x"), [Case("x", 1)], {"a": UNDEF}):
        with pytest.raises(MixError, match=r"parameter 1: expected null, a boolean|undefined"):
            answer = await agent.call("query", None, "select ?", [wrong])
            assert answer.name == "error"
            raise FFIError(answer.arg)
    assert "arameter" in await agent.refused("query", None, "select ?, ?", [1])
    assert "arameter" in await agent.refused("query", None, "select $a", {"b": 1})


async def test_names_of_files(agents: Agents) -> None:
    agent = agents(files=2)
    for name in ("", "../x", "a/b", "A", "a.duckdb", "x" * 64, "a\0", ".", "-a"):
        assert "expected null or 1 to 63" in await agent.refused("query", name, "select 1")
    assert await agent.ok("execute", "one", "create table t (a int)") is None
    assert await agent.ok("execute", "two", "create table t (a int)") is None
    assert "2 database files, which is the limit" in await agent.refused("execute", "three", "select 1")
    assert await agents(files=2).ok("execute", "two", "insert into t values (1)") == 1
    assert (agents.home / "duckdb" / "one.duckdb").exists()
    assert "no place for a database file" in await Agent(None).refused("query", "main", "select 1")


async def test_an_app_that_is_gone(agents: Agents) -> None:
    agents.home = agents.home / "not there" / "app"
    with pytest.raises(NotFound, match="is gone"):
        answer = await agents().call("query", "main", "select 1")
        raise NotFound(answer.arg)


async def test_grants(agents: Agents) -> None:
    agent = agents(Grants(["$duckdb_*"], {"duckdb.files": ["mine"]}) & Grants(["$duckdb_query"]))
    assert (await agent.ok("query", "mine", "select 1 as a"))["rows"] == [{"a": 1}]
    assert (await agent.ok("query", None, "select 1 as a"))["rows"] == [{"a": 1}]
    assert "not granted: expected mine" in await agent.refused("query", "other", "select 1")
    with pytest.raises(GrantError):
        await agent.call("execute", "mine", "select 1")


async def test_rows_and_handles_are_counted(agents: Agents) -> None:
    agent = agents(limits={"database_rows": 1500, "handles": 2})
    handle = (await agent.ok("query", None, "select i from range(5000) t (i)"))["next"]
    assert agent.state.budget.spent("database_rows") == 1000
    with pytest.raises(LimitExceeded, match="database_rows"):
        await agent.call("next", handle)
    agent = agents(limits={"handles": 3})
    with pytest.raises(LimitExceeded, match="handles"):
        for _ in range(4):
            await agent.ok("query", None, "select i from range(5000) t (i)")
    agent = agents(limits={"database_rows": 10, "database_bytes": 1000})
    assert await agent.ok("execute", "main", "create table t as select i from range(5) t (i)") is None
    assert await agent.ok("execute", "main", "delete from t") == 5
    assert agent.state.budget.spent("database_rows") == 5
    with pytest.raises(LimitExceeded, match="database_bytes"):
        await agent.call("execute", "main", "insert into t values (?)", ["x" * 2000])


async def test_wide_rows_come_in_smaller_batches(agents: Agents) -> None:
    """What an answer may have, and a call of an agent not at once, is no error."""
    agent = agents()
    for sql in (
        "select " + ", ".join(f"i as column_{n}" for n in range(200)) + " from range(1200) t (i)",
        "select range(300) as l, {'a': i} as s from range(1200) t (i)",
        "select repeat('x', 40_000) as x from range(1200) t (i)",
    ):
        answer = await agent.ok("query", None, sql)
        found = len(answer["rows"])
        assert 0 < found < 1000
        while rows := await agent.ok("next", answer["next"]):
            found += len(rows)
        assert found == 1200
    answer = await agent.refused("query", None, "select range(100_000) as l")
    assert "one row has" in answer and "duckdb.batch_bytes" in answer


async def test_the_end_of_the_run(agents: Agents, ended: Any) -> None:
    agent = agents()
    await agent.ok("execute", "main", "create table t (a int); begin; insert into t values (1)")
    await agent.ok("execute", None, "create table t (a int)")
    pid = pid_of(agent, None)
    # As the kernel does it: from the thread of the run.
    assert await asyncio.to_thread(agent.state.close) == []
    await ended(pid)
    assert (await agents().ok("query", "main", "from t"))["rows"] == []


async def test_wall_time(agents: Agents) -> None:
    agent = agents(limits={"wall_time": 0.7})
    began = time.monotonic()
    with pytest.raises(LimitExceeded, match="wall_time"):
        await agent.call("query", None, "select count(*) from range(1_000_000_000_000)")
    assert time.monotonic() - began < 20
    agent = agents(statement_time=0.2)
    assert "time was over" in await agent.refused(
        "query", None, "select count(*) from range(1_000_000_000_000)"
    )
    assert (await agent.ok("query", None, "select 1 as a"))["rows"] == [{"a": 1}]


async def test_a_killed_process_is_an_error_and_the_next_call_works(agents: Agents) -> None:
    agent = agents()
    await agent.ok("execute", "main", "create table t as select 1 as a")
    await agent.ok("execute", None, "create table t as select 1 as a")
    for db, said in (("main", "what was committed is there"), (None, "try again")):
        os.kill(pid_of(agent, db), signal.SIGKILL)
        assert said in await agent.refused("query", db, "from t")
    assert (await agent.ok("query", "main", "from t"))["rows"] == [{"a": 1}]
    assert "Catalog Error" in await agent.refused("query", None, "from t")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Kernel, Place, Place]]:
    """A kernel with the records of two apps."""
    profile = tmp_path / "shop.toml"
    profile.write_text(
        'plugins = ["db", "duckdb"]\nengines = []\nstorage = "mixquery"\n[settings.duckdb]\nidle = 1.0\n'
    )
    with Kernel(str(profile)) as kernel:
        places = [Place("w", app, tmp_path / app) for app in ("shop", "crm")]
        for place in places:
            kernel.databases.open(place).save(
                [{"_rmx_type": "order", "app": place.app, "n": n} for n in range(3)]
                + [{"_rmx_type": "person", "name": "Åse"}]
            )
        yield kernel, places[0], places[1]


async def test_records_are_attached(shop: tuple[Kernel, Place, Place]) -> None:
    kernel, own, other = shop
    agent = Agent(None)
    agent.state = State(
        services=kernel,
        place=own,
        grants=Grants(["$duckdb_*"], {"db.apps": ["crm"]}),
    )
    agent.state.put(Apps({"crm": other}.__getitem__))
    orders = 'select app, sum(n) as s from "order" group by app'
    assert "Catalog Error" in await agent.refused("query", None, orders)
    assert await agent.ok("attach", None) == ["order", "person", "records"]
    assert (await agent.ok("query", None, orders))["rows"] == [{"app": "shop", "s": 3}]
    then = kernel.databases.open(own).watermark()
    kernel.databases.open(own).save([{"_rmx_type": "order", "app": "shop", "n": 10}])
    # As they were when they were attached, until they are attached again.
    assert (await agent.ok("query", None, orders))["rows"] == [{"app": "shop", "s": 3}]
    await agent.ok("attach", None)
    assert (await agent.ok("query", None, orders))["rows"] == [{"app": "shop", "s": 13}]
    assert "old_order" in await agent.ok("attach", None, None, then, "old_")
    assert (await agent.ok("query", None, "select sum(n) as s from old_order"))["rows"] == [{"s": 3}]
    # Those of another app beside them, in a file of this one; what is made of them stays there.
    await agent.ok("attach", "main", "crm", None, "crm_")
    assert await agent.ok("execute", "main", "create table kept as select app, n from crm_order") is None
    assert (await agent.ok("query", "main", "select app, sum(n) as s from kept group by app"))["rows"] == [
        {"app": "crm", "s": 3}
    ]
    # No record can be changed so.
    assert await agent.refused("execute", None, "delete from old_order")
    # A process that was killed is replaced by one that knows the tables.
    os.kill(pid_of(agent, None), signal.SIGKILL)
    assert "try again" in await agent.refused("query", None, orders)
    assert (await agent.ok("query", None, orders))["rows"] == [{"app": "shop", "s": 13}]
    assert agent.state.close() == []
    await asyncio.sleep(0)


async def test_records_that_are_not_granted(shop: tuple[Kernel, Place, Place]) -> None:
    kernel, own, other = shop
    agent = Agent(None)
    agent.state = State(services=kernel, place=own)
    agent.state.put(Apps({"crm": other}.__getitem__))
    with pytest.raises(GrantError, match=r"db\.apps"):
        await agent.call("attach", None, "crm")
    for prefix in ("a b", "x" * 65, 'a"'):
        assert "argument 4 (prefix)" in await agent.refused("attach", None, None, None, prefix)
    agent.state = State(services=kernel)
    assert "no records of its own" in await agent.refused("attach", None)


async def test_calls_at_once(agents: Agents) -> None:
    agent = agents()
    found = await asyncio.gather(*(agent.ok("query", "main", "select ? as a", [i]) for i in range(10)))
    assert [answer["rows"] for answer in found] == [[{"a": i}] for i in range(10)]


def test_with_a_kernel(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('plugins = ["duckdb"]\nengines = []\n')
    with Kernel(str(profile)) as kernel:
        answer = asyncio.run(call_ffi(kernel, "$duckdb_query", [None, "select 6 * 7 as n"]))
        assert answer.arg["rows"] == [{"n": 42}]
        process, confinement = checks(kernel.settings("duckdb"))
        assert process.level == "ok" and "DuckDB v2" in process.message
        # It depends on the system, which doctor tells.
        assert confinement.level == "ok" or confinement.remedy


SERVER = """
import asyncio, sys
from mixkit import Kernel
from mixkit.ffi_call import call_ffi

with Kernel(sys.argv[1]) as kernel:
    answer = asyncio.run(call_ffi(kernel, "$duckdb_query", [None, "select date '2026-11-27' as d"]))
assert answer.arg["rows"] == [{"d": "2026-11-27"}]
print(*{name.partition(".")[0] for name in sys.modules} & {"duckdb", "_duckdb", "pyarrow"})
"""


def test_the_server_imports_no_library(tmp_path: Path) -> None:
    """DuckDB and pyarrow are in the processes that can be killed, and nowhere else."""
    profile = tmp_path / "p.toml"
    profile.write_text('plugins = ["duckdb"]\nengines = []\n')
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(profile)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "\n"
