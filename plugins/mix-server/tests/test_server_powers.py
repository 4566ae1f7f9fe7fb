"""Agents of installed apps, and the databases that they reach: their own, and others by the grant alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import httpx
import pytest
from mix_server.server import Server
from wasmtime import wat2wasm

from mixkit.errors import PackageError, RecordError
from mixkit.package import Package
from mixkit.package.build import pack
from mixkit.testing.guests import CALLING

Make = Callable[..., Server]
Connect = Callable[[Server], AbstractAsyncContextManager[httpx.AsyncClient]]

SAVE, GET, CALL = "$db_save_one", "$db_get_one", "$core_agent_call"
GUEST = f"""(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 64) "{SAVE}") (data (i32.const 96) "{GET}") (data (i32.const 128) "{CALL}")
  {CALLING}
  (func (export "mix_entry_save") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 64) (i32.const {len(SAVE)}) (local.get $p) (local.get $n)))
  (func (export "mix_entry_get") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 96) (i32.const {len(GET)}) (local.get $p) (local.get $n)))
  (func (export "mix_entry_delegate") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 128) (i32.const {len(CALL)}) (local.get $p) (local.get $n))))
"""


def package(
    app: str, options: dict[str, Any] | None = None, *, version: str = "1.0.0", records: bytes = b""
) -> Package:
    agents = {name: {"code": f"code/{app}/guest.wasm"} for name in ("save", "get", "delegate")}
    manifest = {
        "format": 3,
        "name": app,
        "version": version,
        "kind": "app",
        "apps": {app: {"agents": agents}},
        "grants": {"ffis": ["$db_*", "$core_*"], "options": options or {}},
    }
    entries = {
        "manifest.json": json.dumps(manifest).encode(),
        f"code/{app}/guest.wasm": bytes(wat2wasm(GUEST)),
    }
    if records:
        entries[f"records/{app}.ndjson"] = records
    return Package.open(pack({path: partial(bytes, data) for path, data in entries.items()}))


@pytest.fixture
def storage() -> str:
    """That of the profile: it must lose an app's records with its folder, which a plain one need not."""
    return "mix_db.storages:Mixquery"


@pytest.fixture
def server(make_server: Make) -> Server:
    server = make_server()
    workspace = server.store.workspace("w")
    workspace.install(package("notes", {"db.apps": ["crm"]}))
    workspace.install(package("crm"))
    server.store.create("other").install(package("secret"))
    return server


async def run(client: httpx.AsyncClient, app: str, agent: str, *params: Any) -> httpx.Response:
    return await client.post(f"/v1/ws/w/app/{app}/agent/{agent}", json=list(params))


def other(name: str) -> dict[str, str]:
    return {"type": "rmx", "scope": "global", "db": name}


async def test_an_agent_has_the_database_of_its_app(server: Server, connect: Connect) -> None:
    async with connect(server) as client:
        saved = (await run(client, "notes", "save", None, {"n": 1})).json()
        assert (await run(client, "notes", "get", None, saved["_rmx_id"])).json() == saved
        assert (await run(client, "crm", "get", None, saved["_rmx_id"])).json() is None
        # Its other agents have the same one.
        answer = (await run(client, "notes", "delegate", "get", [None, saved["_rmx_id"]])).json()
        assert answer["_rmx_value"] == saved
        id = saved["_rmx_id"]["_rmx_value"]
        assert (await client.get(f"/v1/ws/w/app/notes/documents/{id}")).json() == saved
        assert (await client.get(f"/v1/ws/w/app/crm/documents/{id}")).status_code == 404


async def test_the_grant_option_opens_others_of_the_workspace(server: Server, connect: Connect) -> None:
    async with connect(server) as client:
        saved = (await run(client, "crm", "save", None, {"n": 1})).json()
        assert (await run(client, "notes", "get", other("crm"), saved["_rmx_id"])).json() == saved
        for app, name in (("crm", "notes"), ("notes", "demo"), ("notes", "CRM"), ("notes", "../w/crm")):
            answer = await run(client, app, "get", other(name), saved["_rmx_id"])
            assert answer.status_code != 200
            assert "db.apps" in answer.text


async def test_no_option_leads_out_of_the_workspace(server: Server, connect: Connect) -> None:
    names = ["secret", "../other/secret", "other/secret", "", ".", "..", "crm/", "nobody"]
    # What is installed and granted stands in a database too, and whoever could write there would have all powers.
    names += [
        "workspace.db",
        "workspace.db/v2",
        "../w/workspace.db",
        "crm/../workspace.db",
        "app:crm",
        ".lock",
        ".changes",
    ]
    server.store.workspace("w").install(package("curious", {"db.apps": "*"}))
    server.store.workspace("w").install(package("named", {"db.apps": names}))
    folders = set(server.store.root.rglob("data"))
    workspace = server.store.workspace("w")
    home = workspace.place("crm").home
    before = workspace.past("crm"), workspace.database().watermark()
    async with connect(server) as client:
        for app in ("curious", "named"):
            for name in names:
                answer = await run(client, app, "save", other(name), {"n": 1})
                assert answer.status_code != 200
                assert "no app" in answer.text
                odd = {"type": "rmx", "scope": "main", "db": name}
                assert (await run(client, app, "save", odd, {"n": 1})).status_code != 200
        assert (await run(client, "curious", "save", other("crm"), {"n": 1})).status_code == 200
        assert (workspace.past("crm"), workspace.database().watermark()) == before
    assert set(server.store.root.rglob("data")) - folders == {home}


async def test_a_new_app_of_an_old_name_has_none_of_its_records(server: Server, connect: Connect) -> None:
    async with connect(server) as client:
        saved = (await run(client, "notes", "save", None, {"n": 1})).json()
        assert (await client.delete("/v1/ws/w/app/notes")).status_code < 300
        server.store.workspace("w").install(package("notes"))
        assert (await run(client, "notes", "get", None, saved["_rmx_id"])).json() is None


def test_records_of_a_package_are_stored_once(server: Server) -> None:
    lines = b'{"_rmx_id": "%s", "n": 1}\n' % (b"Known000" * 4)
    for version in ("1.0.0", "2.0.0"):
        server.catalog.install("w", pack_of(package("shop", version=version, records=lines)), force=False)
    database = server.kernel.databases.open(server.store.workspace("w").place("shop"))
    assert [row["n"] for row in database.query("true")] == [1]
    assert database.stats()["versions"] == 1
    with pytest.raises((PackageError, RecordError), match="line 2"):
        server.catalog.install(
            "w", pack_of(package("shop", version="3.0.0", records=lines + b"[]\n")), force=False
        )
    assert server.store.workspace("w").app("shop").version == "2.0.0"
    assert database.stats()["versions"] == 1


def pack_of(made: Package) -> bytes:
    entries = {path: made.archive.read(path) for path in made.archive.entries}
    return pack({path: partial(bytes, data) for path, data in entries.items()})
