"""Guests and the databases of their apps, through the whole kernel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.databases import Apps
from mixkit.errors import CancelledRun, GrantError, LimitExceeded, NotFound, RunError, StorageError
from mixkit.ffi_call import call_ffi
from mixkit.grants import Grants
from mixkit.job import Agents, Target
from mixkit.limits import Limits
from mixkit.state import State
from mixkit.storage import Place
from mixkit.value import Case

NAMES = {
    "save": "$db_save_one", "get": "$db_get_one", "save_ar": "$db_save_ar", "delegate": "$core_agent_call",
    "execute": "$db_execute", "next": "$db_execute_next",
}  # fmt: skip
GLOBAL = {"type": "rmx", "scope": "global", "db": "crm"}
SESSION = {"scope": "session"}
DB = Grants(["$db_*", "$core_*"])
SLOW = "items.(a == 1 and .items.(b == 2 and .items.(a == 1 and b == 1)))"


@pytest.fixture(scope="module")
def code(guest: Callable[..., bytes]) -> bytes:
    """Entries that hand their parameters to an FFI; `query` reads the first rows of a query."""
    data, calls = "", {}
    for number, (entry, name) in enumerate(NAMES.items()):
        data += f'(data (i32.const {64 + 32 * number}) "{name}")'
        calls[entry] = f"(call $call (i32.const {64 + 32 * number}) (i32.const {len(name)}) "
    rows = """
      (func $first (param $handle i64) (result i64) (local $at i32) (local $n i32)
        (local.set $n (i32.wrap_i64 (local.get $handle)))
        (local.set $at (call $alloc (i32.add (local.get $n) (i32.const 4))))
        (i32.store (local.get $at) (i32.const 0x109))
        (memory.copy (i32.add (local.get $at) (i32.const 4))
          (i32.wrap_i64 (i64.shr_u (local.get $handle) (i64.const 32))) (local.get $n))
        {} (local.get $at) (i32.add (local.get $n) (i32.const 4))))
    """.format(calls.pop("next"))
    query = f"(call $first {calls.pop('execute')} (local.get $p) (local.get $n)))"
    bodies = {entry: f"{call} (local.get $p) (local.get $n))" for entry, call in calls.items()}
    return guest(data + rows, query=query, **bodies)


@pytest.fixture(params=["memory", "mixquery"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kernel]:
    profile = tmp_path / "databases.toml"
    profile.write_text(f'extends = "test"\nstorage = "{request.param}"\n')
    with Kernel(profile, environ={}) as kernel:
        yield kernel


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Place]:
    return {name: Place("office", name, tmp_path / name) for name in ("notes", "crm")}


def test_a_run_has_the_database_of_its_app(kernel: Kernel, code: bytes, places: dict[str, Place]) -> None:
    def run(entry: str, *params: Any, place: str) -> Any:
        return kernel.run_sync(code, entry, list(params), grants=DB, place=places[place]).value

    record = run("save", None, {"n": 1}, place="notes")
    assert run("get", None, record["_rmx_id"], place="notes") == record
    assert run("get", None, record["_rmx_id"], place="crm") is None
    assert run("query", None, "n == $n", {"n": 1}, place="notes") == [record]
    assert kernel.databases.open(places["notes"]).get(record["_rmx_id"]) == record


def test_a_run_without_a_place_has_only_its_session(kernel: Kernel, code: bytes) -> None:
    with pytest.raises(RunError, match="no database of its own"):
        kernel.run_sync(code, "save", [None, {"n": 1}], grants=DB)
    record = kernel.run_sync(code, "save", [SESSION, {"n": 1}], grants=DB).value
    assert kernel.run_sync(code, "get", [SESSION, record["_rmx_id"]], grants=DB).value is None


def test_a_run_without_grants_has_no_database(kernel: Kernel, code: bytes, places: dict[str, Place]) -> None:
    with pytest.raises(RunError) as caught:
        kernel.run_sync(code, "save", [None, {"n": 1}], place=places["notes"])
    assert isinstance(caught.value.__cause__, GrantError)


def test_another_app_is_reached_by_the_option_alone(
    kernel: Kernel, code: bytes, places: dict[str, Place]
) -> None:
    def resolve(name: str) -> Place:
        if name not in places:
            raise NotFound(f"no app {name!r}")
        return places[name]

    def run(grants: Grants, apps: Apps | None) -> Any:
        return kernel.run_sync(
            code, "save", [GLOBAL, {"n": 1}], grants=grants, place=places["notes"], apps=apps
        ).value

    opened = Grants(["$db_*"], {"db.apps": ["crm"]})
    record = run(opened, Apps(resolve))
    assert kernel.databases.open(places["crm"]).get(record["_rmx_id"]) == record
    with pytest.raises(RunError, match="started alone"):
        run(opened, None)
    for closed in (DB, opened & DB, Grants(["$db_*"], {"db.apps": ["CRM"]})):
        with pytest.raises(RunError) as caught:
            run(closed, Apps(resolve))
        assert isinstance(caught.value.__cause__, GrantError)


def test_a_nested_run_has_what_its_target_says_and_nothing_of_its_caller(
    kernel: Kernel, code: bytes, places: dict[str, Place]
) -> None:
    program = kernel.load(code)
    targets = {
        "crm": Target(program, "save", DB, place=places["crm"]),
        "nobody": Target(program, "save", DB),
    }

    async def resolve(state: State, name: str) -> Target:
        return targets[name]

    async def call(name: str, db: Any) -> Any:
        options: Any = {"grants": DB, "agents": Agents(resolve), "place": places["notes"]}
        return (await kernel.run(code, "delegate", [name, [db, {"n": 1}]], **options)).value

    answer = asyncio.run(call("crm", None))
    assert (answer.name, answer.arg["n"]) == ("ok", 1)
    assert kernel.databases.open(places["crm"]).get(answer.arg["_rmx_id"]) == answer.arg
    assert kernel.databases.open(places["notes"]).stats()["versions"] == 0
    refused = asyncio.run(call("nobody", None))
    assert refused.name == "error"
    assert "no database of its own" in refused.arg


def _slow(kernel: Kernel, place: Place) -> None:
    items = [{"a": 1, "b": 2}] * 40 + [{"a": 2, "b": 1}]
    kernel.databases.open(place).save([{"items": items} for _ in range(600)])


def test_a_query_ends_with_the_time_of_its_run(kernel: Kernel, code: bytes, places: dict[str, Place]) -> None:
    _slow(kernel, places["notes"])
    with pytest.raises(RunError) as caught:
        kernel.run_sync(
            code, "query", [None, SLOW, {}], grants=DB, place=places["notes"], limits=Limits(wall_time=0.1)
        )
    assert isinstance(caught.value.__cause__, LimitExceeded)
    assert "wall_time" in str(caught.value)


def test_a_query_ends_when_its_caller_goes_away(
    kernel: Kernel, code: bytes, places: dict[str, Place]
) -> None:
    _slow(kernel, places["notes"])

    async def leave() -> None:
        task = asyncio.create_task(
            kernel.run(code, "query", [None, SLOW, {}], grants=DB, place=places["notes"])
        )
        await asyncio.sleep(0.1)
        task.cancel()
        # The run is over when the task is: its thread is free again.
        with pytest.raises((asyncio.CancelledError, CancelledRun)):
            await task

    asyncio.run(leave())


def test_rows_of_a_run_are_limited(kernel: Kernel, code: bytes, places: dict[str, Place]) -> None:
    with pytest.raises(RunError, match="database_rows"):
        kernel.run_sync(
            code,
            "save_ar",
            [None, [{"n": n} for n in range(11)]],
            grants=DB,
            place=places["notes"],
            limits=Limits(database_rows=10),
        )
    assert kernel.databases.open(places["notes"]).watermark() == "0" * 16


def test_runs_of_many_threads_share_one_database(
    kernel: Kernel, code: bytes, places: dict[str, Place]
) -> None:
    async def all_of_them() -> None:
        runs = [
            kernel.run(code, "save", [None, {"n": n}], grants=DB, place=places["notes"]) for n in range(40)
        ]
        await asyncio.gather(*runs)

    asyncio.run(all_of_them())
    assert sorted(row["n"] for row in kernel.databases.open(places["notes"]).query("true")) == list(range(40))


def test_a_profile_without_a_storage_says_so(tmp_path: Path, places: dict[str, Place]) -> None:
    profile = tmp_path / "none.toml"
    profile.write_text('plugins = ["db"]\nengines = []\n')
    with Kernel(profile, environ={}) as kernel:
        with pytest.raises(StorageError, match="storage ="):
            _ = kernel.databases
        answer = asyncio.run(call_ffi(kernel, "$db_fromAST_result", [["nullFilter"]]))
        assert answer == Case("ok", "true")


def test_a_closed_kernel_has_closed_its_databases(places: dict[str, Place]) -> None:
    with Kernel("test", environ={}) as kernel:
        database = kernel.databases.open(places["notes"])
    with pytest.raises(StorageError):
        database.watermark()


def test_loading_a_profile_starts_no_thread_and_opens_nothing(places: dict[str, Place]) -> None:
    before = set(threading.enumerate())
    with Kernel("test", environ={}) as kernel:
        _ = kernel.databases
        assert not set(threading.enumerate()) - before
        assert not places["notes"].home.exists()
