"""Installs that are looked at first, get less than they ask for, and what was withheld later; from a URL too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.server import Server

from mixkit import tagged_json
from mixkit.moving.remote import ANYWHERE, Remote
from mixkit.package import Package

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

INSTALL = "/v1/ws/w/install"
BINARY = {"Content-Type": "application/octet-stream"}


def as_user(server: Server, email: str) -> dict[str, str]:
    token, _ = server.key.token(email, email, 600, use="token")
    return {"Authorization": f"Bearer {token}"}


async def installed(client: httpx.AsyncClient, data: bytes, query: str = "") -> httpx.Response:
    return await client.post(f"{INSTALL}{query}", content=data, headers=BINARY)


async def test_a_dry_run_shows_the_powers_and_changes_nothing(
    client: httpx.AsyncClient, make_package: Any
) -> None:
    before = (await client.get("/v1/ws/w/app/demo")).json()
    more = {"ffis": ["$core_*", "$db_*"], "options": {"db.apps": ["crm"]}}
    data = make_package(version="2.0.0", grants=more, limits={"wall_time": 5})
    answer = await installed(client, data, "?dry_run=true")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["changed"], found["apps"], found["withheld"]) == (True, ["demo"], ["$db_*", "db.apps: crm"])
    assert found["asks"] == more
    assert (await client.get("/v1/ws/w/activities")).json()["activities"] == []
    [change] = found["changes"]
    assert (change["app"], change["widened"]) == ("demo", ["$db_*", "db.apps: crm"])
    assert change["version"] == {"old": "1.0.0", "new": "2.0.0"}
    assert (await client.get("/v1/ws/w/app/demo")).json() == before
    # What would be refused is refused.
    for bad in (make_package(version="0.1.0"), make_package(version="3.0.0", code=b"\0asm")):
        assert (await installed(client, bad, "?dry_run=true")).status_code == 400
    assert (await installed(client, make_package(), "?dry_run=true")).json()["changed"] is False


async def test_what_was_withheld_is_agreed_to_later(client: httpx.AsyncClient, make_package: Any) -> None:
    more = {"ffis": ["$core_*", "$db_*", "$crypto_*"], "options": {"db.apps": ["crm", "hr"]}}
    done = (await installed(client, make_package(version="2.0.0", grants=more))).json()
    assert done["withheld"] == ["$crypto_*", "$db_*", "db.apps: crm", "db.apps: hr"]
    path = "/v1/ws/w/powers/demo"
    found = (await client.get(path)).json()
    assert (found["allowed"], found["withheld"]) == (["$core_*"], done["withheld"])
    assert (await client.get("/v1/ws/w/powers")).json() == {"apps": [found]}
    answer = await client.post(path, json={"agree": ["$db_*", "db.apps: crm"]})
    assert answer.json()["withheld"] == ["$crypto_*", "db.apps: hr"], answer.text
    # An upgrade keeps it, and gets nothing by itself.
    still = {"ffis": ["$core_*", "$db_*", "$http_*"], "options": {"db.apps": ["crm"]}}
    assert (await installed(client, make_package(version="3.0.0", grants=still))).json()["withheld"] == [
        "$http_*"
    ]
    for body, status in (
        ({"agree": ["$http_do"]}, 400),
        ({"agree": []}, 400),
        ({"agree": ["$http_*"], "all": True}, 400),
        ({}, 400),
        ({"all": True}, 200),
        ({"all": True}, 200),
    ):
        assert (await client.post(path, json=body)).status_code == status, body
    assert (await client.get(path)).json()["withheld"] == []
    for missing in ("nothing", "demo2"):
        assert (await client.get(f"/v1/ws/w/powers/{missing}")).status_code == 404
        assert (await client.post(f"/v1/ws/w/powers/{missing}", json={"all": True})).status_code == 404


async def test_a_power_counts_from_the_next_run_on(client: httpx.AsyncClient, make_package: Any) -> None:
    assert (await installed(client, make_package(version="2.0.0"), "?grant=$core_log")).json()[
        "withheld"
    ] == ["$core_*"]
    run = "/v1/ws/w/app/demo/agent/env"
    assert (await client.post(run)).status_code == 422
    assert (await client.post("/v1/ws/w/powers/demo", json={"agree": ["$core_*"]})).status_code == 200
    noted = (await client.get("/v1/ws/w/activities?limit=1")).json()["activities"][0]
    assert (noted["kind"], noted["app"]) == ("install", "demo")
    assert noted["about"] == {"apps": ["demo"], "agreed": ["$core_*"]}
    assert (await client.post(run)).status_code == 200


async def test_an_install_takes_what_is_granted(client: httpx.AsyncClient, make_package: Any) -> None:
    for query, status, withheld in (
        ("?grant=$http_*", 400, None),
        ("?grant=", 400, None),
        ("?grant=$core_log,", 400, None),
        ("?grant=$core_log,$core_now", 200, ["$core_*"]),
        ("?grant=*", 200, []),
    ):
        answer = await installed(client, make_package(version="2.0.0"), query)
        assert answer.status_code == status, (query, answer.text)
        if withheld is not None:
            assert answer.json()["withheld"] == withheld


async def test_powers_are_for_the_administrator_of_the_workspace(
    server: Server, client: httpx.AsyncClient
) -> None:
    grants = [("ada", "admin", "db/demo"), ("bob", "admin", "workspace"), ("eve", "editor", "workspace")]
    for name, role, resource in grants:
        grant = {"subject": f"user/{name}@example.org", "role": role, "resource": resource}
        assert (await client.post("/v1/ws/w/permissions", json=grant)).status_code == 201
    for name, expected in (("ada", 403), ("bob", 200), ("eve", 403), ("mallory", 404)):
        headers = as_user(server, f"{name}@example.org")
        for path in ("/v1/ws/w/powers", "/v1/ws/w/powers/demo"):
            assert (await client.get(path, headers=headers)).status_code == expected, (name, path)
        agreed = await client.post("/v1/ws/w/powers/demo", json={"all": True}, headers=headers)
        assert agreed.status_code == expected, name


async def test_a_package_comes_from_a_url(
    make_server: Make, served: Connect, make_package: Any, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr("mix_server.moving.transfers.Transfers.remote", lambda self: Remote(ANYWHERE))
    server = make_server(body_limit=100_000)
    async with served(server) as client:
        # What this server answers at a URL is as good as what any other does.
        data = make_package(version="2.0.0")
        assert len(data) < 100_000
        await client.post("/v1/ws", json={"name": "shop"})
        files = server.kernel.files.open(server.store.workspace("w").place("demo"))
        await files.put("/public/demo.remix", data)
        address = f"{str(client.base_url).rstrip('/')}/v1/ws/w/app/demo/files/public"
        right = {"url": f"{address}/demo.remix", "sha256": hashlib.sha256(data).hexdigest()}
        looked = await client.post("/v1/ws/shop/install", json=right | {"dry_run": True})
        assert looked.json()["asks"]["ffis"] == ["$core_*"], looked.text
        assert looked.json()["sha256"] == right["sha256"]
        assert (await client.get("/v1/ws/shop")).json()["apps"] == []
        wrong = await client.post("/v1/ws/shop/install", json=right | {"sha256": "0" * 64})
        assert (wrong.status_code, "nothing was changed" in wrong.json()["message"]) == (400, True)
        done = await client.post("/v1/ws/shop/install", json=right | {"grant": ["$core_log"]})
        assert (done.json()["apps"], done.json()["withheld"]) == (["demo"], ["$core_*"])
        missing = await client.post("/v1/ws/shop/install", json={"url": f"{address}/missing"})
        assert missing.status_code == 424
        await files.put("/public/large", b"x" * 200_000)
        large = await client.post("/v1/ws/shop/install", json={"url": f"{address}/large"})
        assert (large.status_code, "at most 100000 bytes" in large.json()["message"]) == (424, True)
        for body in ({"url": "nothing"}, {"url": right["url"], "forse": True}, {}):
            assert (await client.post("/v1/ws/shop/install", json=body)).status_code == 400
        twice = await client.post("/v1/ws/shop/install?force=true", json=right)
        assert twice.status_code == 400


async def test_no_package_comes_from_inside(client: httpx.AsyncClient) -> None:
    for url in ("https://127.0.0.1/x.remix", "http://example.org/x.remix", "https://localhost/x.remix"):
        assert (await client.post(INSTALL, json={"url": url})).status_code == 403


async def test_a_package_is_made_of_a_template_and_a_query(
    make_server: Make, served: Connect, make_package: Any
) -> None:
    server = make_server()
    async with served(server) as client:
        app = "/v1/ws/w/app/demo"
        for number in range(5):
            record = {"_rmx_type": "row", "n": number}
            assert (await client.post(f"{app}/documents", json=record)).status_code == 201
        files = server.kernel.files.open(server.store.workspace("w").place("demo"))
        await files.put("/templates/demo.remix", make_package(version="2.0.0"))
        await files.put("/templates/bad.remix", b"nothing")
        wanted = {
            "template": "/templates/demo.remix",
            "query": "n >= $least | orderDesc(n)",
            "params": {"least": 3},
            "version": "3.1",
        }
        made = await client.post(f"{app}/remixgen", json=wanted)
        assert made.status_code == 200, made.text
        package = Package.open(made.content)
        assert (package.name, package.version, package.signature) == ("demo", "3.1", None)
        lines = [tagged_json.loads(line) for line in package.lines("records/demo.ndjson")]
        assert [(line["n"], line["_rmx_type"]) for line in lines] == [(4, "row"), (3, "row")]
        assert all(set(line) == {"n", "_rmx_id", "_rmx_type"} for line in lines)
        await client.post("/v1/ws", json={"name": "other"})
        installed = await client.post("/v1/ws/other/install", content=made.content, headers=BINARY)
        assert installed.status_code == 200, installed.text
        rows = (await client.get("/v1/ws/other/app/demo/documents")).json()
        assert [row["n"] for row in rows] == [4, 3]
        first = await client.post("/remixgen/w/demo", json=wanted)
        assert (first.status_code, first.content == made.content) == (200, True)
        assert first.headers["Deprecation"]
        for change in (
            {"template": "/templates/missing"},
            {"template": "/templates/bad.remix"},
            {"template": "no path"},
            {"template": None},
            {"template": 1},
            {"query": "(("},
            {"params": {}},
            {"into": "other"},
            {"name": "../x"},
            {"version": "new"},
            {"surprise": 1},
            {"explain": True},
        ):
            refused = await client.post(f"{app}/remixgen", json=wanted | change)
            assert refused.status_code == 400, (change, refused.text)
