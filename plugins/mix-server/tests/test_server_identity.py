"""Runs whose app is deleted, and made again under its name, while they go on: they find nothing of the new one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
from mix_db.ffis import group as db_ffis
from mix_server.errors import NOT_FOUND
from mix_server.server import Server
from wasmtime import wat2wasm

from mixkit import codec
from mixkit.cli.installed import find_installed
from mixkit.core_ffis import ffis as core_ffis
from mixkit.databases import Apps
from mixkit.errors import NotFound, RunError
from mixkit.ffi import FFIGroup, FFITable
from mixkit.package import Package
from mixkit.package.build import pack
from mixkit.state import State
from mixkit.testing.guests import CALLING

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
Replace = Callable[[Server, httpx.AsyncClient], Awaitable[None]]

SAVE, GET, CALL, WAIT = "$db_save_one", "$db_get_one", "$core_agent_call", "$test_wait"
CRM = {"type": "rmx", "scope": "global", "db": "crm"}
AGENTS = {"save": SAVE, "get": GET, "call": CALL}


def guest(version: str) -> bytes:
    """Each agent calls its FFI with the parameters, waits, and calls it again; `first` saves in the app crm. Other
    versions are other code."""
    entries = "".join(
        f"""(func (export "mix_entry_{name}") (param $p i32) (param $n i32) (result i64)
          (drop (call $call (i32.const {64 + 32 * number}) (i32.const {len(ffi)}) (local.get $p) (local.get $n)))
          (drop (call $call (i32.const 32) (i32.const {len(WAIT)}) (i32.const 16) (i32.const 4)))
          (call $call (i32.const {64 + 32 * number}) (i32.const {len(ffi)}) (local.get $p) (local.get $n)))
        """
        for number, (name, ffi) in enumerate(AGENTS.items())
    )
    data = "".join(f'(data (i32.const {64 + 32 * at}) "{ffi}")' for at, ffi in enumerate(AGENTS.values()))
    first = codec.encode([CRM, {"n": 1}])
    written = "".join(f"\\{byte:02x}" for byte in first)
    text = rf"""(module
      (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
      (import "mix" "take" (func $take (param i32)))
      (memory (export "memory") 4)
      (global $heap (mut i32) (i32.const 4096))
      (data (i32.const 16) "\09\00\00\00") (data (i32.const 32) "{WAIT}") {data}
      (data (i32.const 2048) "{version}")
  {CALLING}
      (data (i32.const 1024) "{written}")
      (func (export "mix_entry_first") (param i32 i32) (result i64)
        (call $call (i32.const 64) (i32.const {len(SAVE)}) (i32.const 1024) (i32.const {len(first)})))
      {entries})"""
    return bytes(wat2wasm(text))


def package(app: str, version: str = "1.0.0", **changes: Any) -> bytes:
    manifest = {
        "format": 3,
        "name": app,
        "version": version,
        "kind": "app",
        "apps": {app: {"agents": {name: {"code": f"code/{app}/guest.wasm"} for name in (*AGENTS, "first")}}},
        "grants": {"ffis": ["$db_*", "$core_*", "$test_*"], "options": {"db.apps": "*"}},
        **changes,
    }
    code = guest(version)
    return pack(
        {
            "manifest.json": partial(json.dumps(manifest).encode),
            f"code/{app}/guest.wasm": partial(bytes, code),
        }
    )


class Gate:
    """Where runs that nobody called wait, until it is opened."""

    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.ffis = FFIGroup("test")
        self.ffis.register(WAIT)(self._wait)

    async def _wait(self, state: State) -> None:
        if not state.budget.spent("depth"):
            self.arrived.release()
            await self.open.wait()


@pytest.fixture
def storage() -> str:
    """That of the profile: the folders of apps are what this is about."""
    return "mix_db.storages:Mixquery"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def server(make_server: Make, gate: Gate) -> Server:
    server = make_server(package=package("notes"))
    server.store.workspace("w").install(Package.open(package("crm")))
    server.kernel.ffis = FFITable([core_ffis, db_ffis, gate.ffis])
    return server


ANOTHER_PROCESS = """
import sys
from pathlib import Path
from mix_db.storages import Mixquery
from mixkit.databases import Databases
from mixkit.package import Package, WorkspaceStore

store = WorkspaceStore(Path(sys.argv[1]), Databases(Mixquery))
if sys.argv[2] == "workspace":
    store.delete("w")
    workspace = store.create("w")
else:
    workspace = store.workspace("w")
    for app in "notes", "crm":
        workspace.delete_app(app)
for path in sys.argv[3:]:
    workspace.install(Package.open(Path(path).read_bytes()))
"""


def replace_here(what: str) -> Replace:
    """Delete the apps, or the workspace, and make others of the same names, by requests to the same server."""

    async def replace(server: Server, client: httpx.AsyncClient) -> None:
        for path in ["/v1/ws/w"] if what == "workspace" else ["/v1/ws/w/app/notes", "/v1/ws/w/app/crm"]:
            assert (await client.delete(path)).status_code == 204
        if what == "workspace":
            assert (await client.post("/v1/ws", json={"name": "w"})).status_code == 201
        for app in "notes", "crm":
            answer = await client.post(
                "/v1/ws/w/install",
                content=package(app, "2.0.0" if what == "version" else "1.0.0"),
                headers={"Content-Type": "application/zip"},
            )
            assert answer.status_code == 200, answer.text

    return replace


def replace_elsewhere(what: str) -> Replace:
    """The same by another process."""

    async def replace(server: Server, client: httpx.AsyncClient) -> None:
        root = server.store.root
        paths = []
        for app in "notes", "crm":
            paths.append(root.parent / f"{app}.remix")
            paths[-1].write_bytes(package(app, "2.0.0" if what == "version" else "1.0.0"))
        command = [sys.executable, "-c", ANOTHER_PROCESS, str(root), what, *map(str, paths)]
        await asyncio.to_thread(partial(subprocess.run, check=True), command)

    return replace


REPLACEMENTS = {
    # The same package again: what is installed has the same content hash as what was.
    "here-app": replace_here("app"),
    "here-version": replace_here("version"),
    "here-workspace": replace_here("workspace"),
    "elsewhere-version": replace_elsewhere("version"),
    "elsewhere-workspace": replace_elsewhere("workspace"),
}


@pytest.fixture(params=REPLACEMENTS)
def replace(request: pytest.FixtureRequest) -> Replace:
    return REPLACEMENTS[request.param]


async def run(client: httpx.AsyncClient, app: str, agent: str, *params: Any) -> httpx.Response:
    return await client.post(f"/v1/ws/w/app/{app}/agent/{agent}", json=list(params))


async def records(client: httpx.AsyncClient, app: str) -> Any:
    answer = await client.get(f"/v1/ws/w/app/{app}/documents")
    assert answer.status_code == 200
    return answer.json()


async def test_a_run_has_the_app_that_it_began_with(
    server: Server, connect: Connect, gate: Gate, replace: Replace
) -> None:
    id = "Known000" * 4
    asked = {
        "save": [None, {"n": 1}],
        "get": [None, id],
        # Of another app; saved before the wait, so that what the run knows of is the old one there too.
        "save ": [CRM, {"n": 1}],
        "call": ["get", [None, id]],
    }
    async with connect(server) as client:
        runs = []
        for agent, params in asked.items():
            runs.append(asyncio.create_task(run(client, "notes", agent.strip(), *params)))
            await asyncio.wait_for(gate.arrived.acquire(), 30)
        await replace(server, client)
        gate.open.set()
        for agent, answer in zip(asked, await asyncio.gather(*runs), strict=True):
            if agent == "call":
                # The caller is told, and may go on.
                assert (answer.status_code, answer.json()["_rmx_type"]) == (200, "{tag}case:error"), (
                    answer.text
                )
            else:
                assert answer.status_code == 422, answer.text
            assert "of workspace 'w' is gone" in answer.text
        assert await records(client, "notes") == await records(client, "crm") == []
        # The new ones work.
        saved = (await run(client, "notes", "save", CRM, {"n": 2})).json()
        assert saved["n"] == 2
        assert [record["n"] for record in await records(client, "crm")] == [2, 2]
        assert (await run(client, "notes", "call", "get", [CRM, saved["_rmx_id"]])).json()[
            "_rmx_value"
        ] == saved
        workspace = server.store.workspace("w")
        folders = {workspace.place(app).home.parent.name for app in workspace.apps()}
        # What begins with a dot, and its own database, are the workspace's.
        found = {path.name for path in workspace.root.iterdir() if not path.name.startswith(".")}
        assert found - {"workspace.db"} == folders


async def test_the_same_from_python(server: Server, connect: Connect, gate: Gate) -> None:
    workspace = server.store.workspace("w")
    app = workspace.app("notes")
    kernel = server.kernel
    asked = {"own": [None, {"n": 1}], "other": [CRM, {"n": 1}]}
    async with connect(server) as client:
        runs = [
            asyncio.create_task(
                kernel.run(
                    app.code("save"),
                    "save",
                    params,
                    grants=app.grants,
                    place=app.place,
                    apps=Apps(workspace.place),
                )
            )
            for params in asked.values()
        ]
        for _ in runs:
            await asyncio.wait_for(gate.arrived.acquire(), 30)
        await replace_here("app")(server, client)
        gate.open.set()
        for task in runs:
            with pytest.raises(RunError, match="is gone") as failed:
                await task
            causes = []
            cause: BaseException | None = failed.value
            while cause := cause and cause.__cause__:
                causes.append(type(cause))
            assert NotFound in causes
        assert await records(client, "notes") == await records(client, "crm") == []
        with pytest.raises(NotFound, match="is gone"):
            kernel.databases.open(app.place)
        # Who holds a package's app as it was reads its code, and nothing that has the name now.
        assert app.place != workspace.app("notes").place
        with pytest.raises(NotFound, match="is gone"):
            workspace.file(app.place, app.generation, "guest.wasm")
        with pytest.raises(NotFound, match="is gone"):
            workspace.place_beside(app.place, "crm")
        assert workspace.place_beside(workspace.place("notes"), "crm") == workspace.place("crm")


async def test_the_agent_of_an_install_reaches_other_apps_before_its_own_is_there(
    server: Server, connect: Connect
) -> None:
    async with connect(server) as client:
        for version in "1.0.0", "2.0.0":
            answer = await client.post(
                "/v1/ws/w/install",
                content=package("new", version, setup="new/first"),
                headers={"Content-Type": "application/zip"},
            )
            assert answer.status_code == 200, answer.text
        assert [record["n"] for record in await records(client, "crm")] == [1, 1]


async def test_what_was_being_loaded_is_not_taken_for_what_was_installed_since(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, read = server.catalog, server.catalog._read
    loading, installed = threading.Event(), threading.Event()

    def slow(*key: str) -> Any:
        target = read(*key)
        loading.set()
        assert installed.wait(30)
        return target

    async with connect(server):
        monkeypatch.setattr(catalog, "_read", slow)
        before = asyncio.create_task(catalog.target("w", "notes", "get"))
        assert await asyncio.to_thread(loading.wait, 30)
        server.store.workspace("w").install(Package.open(package("notes", "2.0.0")))
        after = asyncio.create_task(catalog.target("w", "notes", "get"))
        # It finds the other one at work.
        await asyncio.sleep(0)
        installed.set()
        assert (await after).is_current()
        assert (await before).program is not (await after).program


def test_what_the_command_line_found_is_bound_too(server: Server) -> None:
    workspace = server.store.workspace("w")
    found = find_installed(server.kernel, server.store.root, "w", "notes")["notes/save"]
    assert found.apps is not None and found.place == workspace.place("notes")
    assert found.apps.resolve("crm") == workspace.place("crm")
    workspace.delete_app("notes")
    workspace.install(Package.open(package("notes")))
    with pytest.raises(NotFound, match="is gone"):
        found.apps.resolve("crm")


@pytest.mark.parametrize("replace", ["here-app", "elsewhere-version"], indirect=True)
async def test_requests_under_way_are_told_that_the_app_is_gone(
    server: Server,
    served: Connect,
    replace: Replace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = "/v1/ws/w/app/notes/documents"
    async with served(server) as client:
        assert (await client.post(documents, json={"n": 1})).status_code == 201
        found, replaced, following = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
        find = server.databases.of

        async def of(ws: str, app: str) -> Any:
            database = await find(ws, app)
            found.release()
            return database

        monkeypatch.setattr(server.databases, "of", of)

        async def slowly() -> AsyncIterator[bytes]:
            yield b'{"n": '
            await replaced.wait()
            yield b"2}"

        async def follow() -> list[str]:
            lines = []
            async with client.stream(
                "GET", "/v1/ws/w/app/notes/live", params={"query": "exists n"}
            ) as answer:
                # It is cut off behind the error.
                with suppress(httpx.RemoteProtocolError):
                    async for line in answer.aiter_lines():
                        lines.append(line)
                        if line.startswith("data: "):
                            following.set()
            return lines

        save = asyncio.create_task(
            client.post(documents, content=slowly(), headers={"Content-Type": "application/json"})
        )
        live = asyncio.create_task(follow())
        # Both have their database; one waits for the rest of its body.
        await asyncio.wait_for(asyncio.gather(found.acquire(), found.acquire(), following.wait()), 30)
        await replace(server, client)
        replaced.set()
        assert (await save).status_code == 404
        lines = await asyncio.wait_for(live, 30)
        assert "event: error" in lines[-4:]
        assert NOT_FOUND in lines[-2]
        assert await records(client, "notes") == []
    assert not [
        record
        for record in caplog.records
        if record.levelname == "ERROR" and record.name.startswith("mixkit")
    ]


async def test_the_agents_of_an_app_reach_the_files_beside_their_code(server: Server) -> None:
    for version in "1.0.0", "2.0.0":
        server.store.workspace("w").install(Package.open(package("notes", version)))
        target = await server.catalog.target("w", "notes", "save")
        assert target.apps.file("guest.wasm") == guest(version)
        with pytest.raises(NotFound, match=r"there are: guest\.wasm"):
            target.apps.file("../notes/guest.wasm")
