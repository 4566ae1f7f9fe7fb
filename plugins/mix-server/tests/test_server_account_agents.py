"""Agents of installed apps, and the accounts of the user for whom they run: by the grant alone, and never as text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.server import Server
from wasmtime import wat2wasm

from mixkit.grants import ALL
from mixkit.package import Package
from mixkit.package.build import pack
from mixkit.testing.guests import CALLING

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

NAMES = {"get": "$secrets_getToken", "extra": "$secrets_tokenExtra", "delete": "$secrets_deleteToken"}
ENTRIES = "".join(
    f"""
  (data (i32.const {64 + 32 * number}) "{ffi}")
  (func (export "mix_entry_{entry}") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const {64 + 32 * number}) (i32.const {len(ffi)}) (local.get $p) (local.get $n)))"""
    for number, (entry, ffi) in enumerate(NAMES.items())
)
GUEST = f"""(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 4096))
  {CALLING}
  {ENTRIES})
"""


def package(app: str, options: dict[str, Any]) -> Package:
    code = bytes(wat2wasm(GUEST))
    manifest = {
        "format": 3,
        "name": app,
        "version": "1.0.0",
        "kind": "app",
        "apps": {app: {"agents": {entry: {"code": f"code/{app}/guest.wasm"} for entry in NAMES}}},
        "grants": {"ffis": ["$secrets_*"], "options": options},
    }
    return Package.open(
        pack({"manifest.json": lambda: json.dumps(manifest).encode(), f"code/{app}/guest.wasm": lambda: code})
    )


@pytest.fixture
def server(make_server: Make) -> Server:
    made = make_server(provider_plain=True)
    workspace = made.store.workspace("w")
    workspace.install(package("granted", {"secrets.accounts": ["idp"]}), granted=ALL)
    workspace.install(package("another", {"secrets.accounts": ["other"]}), granted=ALL)
    workspace.install(package("silent", {}), granted=ALL)
    return made


async def run(client: httpx.AsyncClient, app: str, entry: str) -> Any:
    return await client.post(f"/v1/ws/w/app/{app}/agent/{entry}", json=["idp"])


async def test_an_agent_uses_the_account_of_its_user(server: Server, connect: Connect, idp: Any) -> None:
    server.grants.add("w", "user/eve@example.org", "runner", "workspace", None)
    eve = server.key.token("eve@example.org", "eve@example.org")[0]
    async with (
        connect(server) as client,
        httpx.AsyncClient(
            transport=client._transport, base_url=client.base_url, headers={"Authorization": f"Bearer {eve}"}
        ) as other,
    ):
        await client.put("/v1/ws/w/auth-configs/idp", json=idp.config())
        where = (await client.get("/v1/auth/w/idp/start")).headers["location"]
        assert (await client.get("/v1/auth/w/idp/callback", params=idp.consent(where))).status_code == 200

        said = (await run(client, "granted", "extra")).json()
        assert said["_rmx_type"] == "{tag}case:ok", said
        assert said["_rmx_value"]["email"] == "ada@example.org"
        assert said["_rmx_value"]["expires"] > time.time()
        # The token is a handle to the guest, and nothing of it leaves the server.
        given = await run(client, "granted", "get")
        assert given.status_code == 406 and "never serialised" in given.text
        assert not any(token in given.text for token in idp._access)
        for app in ("another", "silent"):
            refused = await run(client, app, "extra")
            assert refused.json()["_rmx_type"] == "{tag}case:error" and "no token 'idp'" in refused.text
        assert "no token 'idp'" in (await run(other, "granted", "extra")).text
        assert (await run(other, "granted", "delete")).json()["_rmx_value"] is False
        assert (await client.get("/v1/ws/w/accounts")).json()["accounts"][0]["connected"] is True
        assert (await other.get("/v1/ws/w/accounts")).json()["accounts"][0] == {
            "provider": "idp",
            "connected": False,
        }
        assert (await run(client, "granted", "delete")).json()["_rmx_value"] is True
        assert (await client.get("/v1/ws/w/accounts")).json()["accounts"][0]["connected"] is False
