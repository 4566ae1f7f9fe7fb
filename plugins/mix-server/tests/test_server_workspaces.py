"""Workspaces and apps: made, listed, deleted; packages installed; and all of that seen by other workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.server import Server

BINARY = {"Content-Type": "application/octet-stream"}
ECHO = "/v1/ws/w/app/demo/agent/echo"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
Package = Callable[..., bytes]


async def test_a_workspace_from_beginning_to_end(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/ws")).json() == {"workspaces": ["w"]}
    answer = await client.post("/v1/ws", json={"name": "new"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/ws/new")
    assert answer.json() == {"name": "new", "apps": []}
    assert (await client.post("/v1/ws", json={"name": "new"})).status_code == 409
    assert (await client.get("/v1/ws")).json() == {"workspaces": ["new", "w"]}
    assert (await client.get("/v1/ws/new")).json() == {"name": "new", "apps": []}
    assert (await client.delete("/v1/ws/new")).status_code == 204
    assert (await client.delete("/v1/ws/new")).status_code == 404
    assert (await client.get("/v1/ws/new")).status_code == 404


async def test_a_workspace_without_a_name_gets_one(client: httpx.AsyncClient) -> None:
    for body in (b"", b"{}"):
        name = (await client.post("/v1/ws", content=body)).json()["name"]
        assert (await client.get(f"/v1/ws/{name}")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"name": ".."}, {"name": "../x"}, {"name": "a/b"}, {"name": ".hidden"}, {"name": "-x"}, {"name": "x" * 64},
        {"name": 5}, {"nom": "x"}, [], "x", {"name": "a\u0000"}, {"name": "x", "y": 1},
    ],
)  # fmt: skip
async def test_names_that_no_workspace_can_have(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post("/v1/ws", json=body)
    assert (answer.status_code, answer.json()["kind"]) == (400, "message")
    assert (await client.get("/v1/ws")).json() == {"workspaces": ["w"]}


async def test_an_app_from_beginning_to_end(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/ws/w/app/fresh")
    assert answer.status_code == 201
    assert answer.json() == {"name": "fresh", "workspace": "w", "version": "", "agents": []}
    assert (await client.put("/v1/ws/w/app/fresh")).status_code == 409
    assert (await client.put("/v1/ws/w/app/a.b")).status_code == 400
    assert (await client.put("/v1/ws/none/app/fresh")).status_code == 404
    assert (await client.get("/v1/ws/w")).json()["apps"] == ["demo", "fresh"]
    demo = (await client.get("/v1/ws/w/app/demo")).json()
    assert demo["version"] == "1.0.0"
    assert {"name": "typed", "description": "Answers what it is given"} in demo["agents"]
    assert (await client.delete("/v1/ws/w/app/demo")).status_code == 204
    assert (await client.get("/v1/ws/w/app/demo")).status_code == 404
    assert (await client.post(ECHO)).status_code == 404


async def test_the_first_interface(client: httpx.AsyncClient, make_package: Package) -> None:
    assert (await client.post("/ws", json={"name": "old"})).status_code == 201
    assert (await client.get("/ws/")).json() == {"workspaces": ["old", "w"]}
    answer = await client.post("/install-remix-file/old", content=make_package(), headers=BINARY)
    assert answer.json()["changed"] is True
    answer = await client.get("/ws/old")
    assert answer.json() == {"name": "old", "apps": ["demo"]}
    assert answer.headers["deprecation"].startswith("@")
    assert (await client.post("/run-agent/old/demo/echo", json=[1])).json() == [1]
    assert (await client.delete("/ws/old/demo")).status_code == 204
    assert (await client.delete("/ws/old")).status_code == 204
    assert (await client.get("/ws/old")).status_code == 404


async def test_installing_is_idempotent_and_counts_at_once(
    client: httpx.AsyncClient, make_package: Package
) -> None:
    package = make_package()
    answer = await client.post("/v1/ws/w/install", content=package, headers=BINARY)
    assert answer.json() == {"changed": False, "apps": [], "version": "1.0.0", "withheld": []}
    assert (await client.post(ECHO, json=1)).json() == 1
    agents = {"echo": {"code": "code/demo/guest.wasm", "inParams": {"n": "int"}}}
    newer = make_package(version="2", apps={"demo": {"agents": agents}})
    answer = await client.post("/v1/ws/w/install", content=newer, headers=BINARY)
    assert (answer.json()["changed"], answer.json()["apps"]) == (True, ["demo"])
    assert (await client.post(ECHO, json=1)).status_code == 400
    assert (await client.post(ECHO, json={"n": 1})).json() == {"n": 1}
    answer = await client.post("/v1/ws/w/install", content=package, headers=BINARY)
    assert answer.status_code == 400
    answer = await client.post("/v1/ws/w/install", params="force=true", content=package, headers=BINARY)
    assert answer.json()["changed"] is True
    assert (await client.post(ECHO, json=1)).json() == 1


async def test_other_workers_see_an_install_and_a_deletion_at_once(
    make_server: Make, connect: Connect, make_package: Package
) -> None:
    async with connect(make_server()) as one, connect(make_server()) as other:
        assert (await one.post(ECHO, json=1)).json() == 1
        assert (await other.post(ECHO, json=1)).json() == 1
        agents = {"echo": {"code": "code/demo/guest.wasm", "entry": "env"}}
        newer = make_package(version="2", apps={"demo": {"agents": agents}})
        await one.post("/v1/ws/w/install", content=newer, headers=BINARY)
        for client in (one, other):
            assert (await client.post(ECHO, json=1)).json()["app"] == "demo"
        await one.delete("/v1/ws/w")
        for client in (one, other):
            assert (await client.post(ECHO)).status_code == 404
            assert (await client.get("/v1/ws")).json() == {"workspaces": []}


async def test_a_form_with_a_file(client: httpx.AsyncClient, make_package: Package) -> None:
    await client.post("/v1/ws", json={"name": "f"})
    files = {"note": (None, b"text"), "package": ("demo.remix", make_package())}
    answer = await client.post("/v1/ws/f/install", files=files)
    assert answer.json()["changed"] is True
    assert (await client.get("/v1/ws/f")).json()["apps"] == ["demo"]
    answer = await client.post("/v1/ws/f/install", files={"note": (None, b"text")})
    assert answer.status_code == 400
    bad = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x", b"--x\r\n\r\n", b"--x\r\nA: b\r\n", b"nothing"):
        answer = await client.post("/v1/ws/f/install", content=body, headers=bad)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), body
    answer = await client.post(
        "/v1/ws/f/install", content=b"", headers={"Content-Type": "multipart/form-data"}
    )
    assert answer.status_code == 400


async def test_a_package_that_is_refused_leaves_all_as_it_was(
    client: httpx.AsyncClient, make_package: Package
) -> None:
    await client.post("/v1/ws", json={"name": "n"})
    good = make_package()
    packages = {
        "no zip": b"not a zip",
        "nothing": b"",
        "cut off": good[:-100],
        "no Wasm": make_package(code=b"\0asm\1\0\0\0broken"),
        "no such entry": make_package(
            apps={"demo": {"agents": {"echo": {"code": "code/demo/guest.wasm", "entry": "missing"}}}}
        ),
        "an unknown key": make_package(surprise=1),
        "grants that nobody enforces": make_package(
            grants={"ffis": ["$http_*"], "options": {"http.nonsense": 1}}
        ),
    }
    for what, package in packages.items():
        answer = await client.post("/v1/ws/n/install", content=package, headers=BINARY)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), what
        assert (await client.get("/v1/ws/n")).json()["apps"] == [], what
    answer = await client.post("/v1/ws/none/install", content=good, headers=BINARY)
    assert answer.status_code == 404
    answer = await client.post("/v1/ws/n/install", content=good, headers={"Content-Type": "text/html"})
    assert answer.status_code == 415


async def test_a_package_over_the_limit_is_413(
    make_server: Make, connect: Connect, make_package: Package
) -> None:
    async with connect(make_server(body_limit=1024)) as client:
        answer = await client.post("/v1/ws/w/install", content=b"x" * 1025, headers=BINARY)
        assert answer.status_code == 413
        files = {"package": ("demo.remix", b"x" * 1025)}
        assert (await client.post("/v1/ws/w/install", files=files)).status_code == 413


async def test_powers_that_the_profile_does_not_have_are_told(
    client: httpx.AsyncClient, make_package: Package
) -> None:
    package = make_package(version="3", grants={"ffis": ["$core_*", "$core_envv"]})
    answer = await client.post("/v1/ws/w/install", content=package, headers=BINARY)
    assert answer.json()["changed"] is True
    assert answer.json()["warnings"] == [
        "no FFI of this profile is called '$core_envv'; did you mean '$core_env'?"
    ]


async def test_the_setup_agent_runs_once_and_must_succeed(
    client: httpx.AsyncClient, make_package: Package
) -> None:
    await client.post("/v1/ws", json={"name": "s"})
    answer = await client.post("/v1/ws/s/install", content=make_package(setup="panic"), headers=BINARY)
    assert answer.status_code == 422
    assert "it is broken" in answer.json()["run_error"]["message"]
    assert (await client.get("/v1/ws/s")).json()["apps"] == []
    answer = await client.post("/v1/ws/s/install", content=make_package(setup="env"), headers=BINARY)
    assert answer.json()["changed"] is True


async def test_what_a_package_did_not_ask_for_is_refused(
    client: httpx.AsyncClient, make_package: Package
) -> None:
    await client.post("/v1/ws", json={"name": "g"})
    package = make_package(grants={"ffis": ["$core_log"]}, limits={"host_calls": 3})
    await client.post("/v1/ws/g/install", content=package, headers=BINARY)
    answer = await client.post("/v1/ws/g/app/demo/agent/env")
    assert (answer.status_code, answer.json()["run_error"]["code"]) == (422, "grant")


async def test_limits_of_a_package_narrow_and_never_widen(
    make_server: Make, connect: Connect, make_package: Package
) -> None:
    package = make_package(limits={"host_calls": 3, "wall_time": 250})
    async with connect(make_server(package=package, limits_wall_time=0.3)) as client:
        answer = await client.post("/v1/ws/w/app/demo/agent/hoard")
        assert "limit host_calls of 3 calls" in answer.json()["run_error"]["message"]
        assert (await client.post("/v1/ws/w/app/demo/agent/spin")).status_code == 504
