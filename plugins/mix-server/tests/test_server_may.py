"""What a caller is told that it may do is what it may do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from mix_server.access.role import PERMISSIONS, Role
from mix_server.caller import Permission
from mix_server.server import Server

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

WS, APP, AGENT = "/v1/ws/w", "/v1/ws/w/app/demo", "/v1/ws/w/app/demo/agent/echo"
ADA = "user/ada@example.org"
ALL = [str(each) for each in Permission]


def bearer(server: Server) -> dict[str, str]:
    token, _ = server.key.token("ada@example.org", "ada@example.org", 600)
    return {"Authorization": f"Bearer {token}"}


async def may(client: httpx.AsyncClient, path: str) -> dict[str, list[str]]:
    """What the caller may do, by resource."""
    answer = await client.get(f"{path}/may")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return {each["resource"]: each["permissions"] for each in answer.json()["may"]}


async def test_it_is_said_from_the_outside_in(server: Server, connect: Connect) -> None:
    grant = server.grants.add("w", ADA, "runner", "agent/demo/echo", None)[0]
    server.grants.add("w", ADA, "db/creator", "db/other", None)
    async with connect(server, None) as client:
        client.headers.update(bearer(server))
        assert await may(client, AGENT) == {
            "workspace": ["see"], "db/demo": ["see"], "agent/demo/echo": ["see", "run"],
        }  # fmt: skip
        assert await may(client, APP) == {"workspace": ["see"], "db/demo": ["see"]}
        assert await may(client, WS) == {"workspace": ["see"]}
        assert (await client.get(f"{WS}/may")).json()["subject"] == ADA
        unknown = (await client.get("/v1/ws/none")).json()["message"]
        # What may not be seen is as what is not there.
        for path in (f"{APP}/agent/env", f"{APP}/agent/none", f"{WS}/app/none", "/v1/ws/none"):
            hidden = await client.get(f"{path}/may")
            assert (hidden.status_code, hidden.json()["message"]) == (404, unknown)
        # What is taken back is said no more, at the next look.
        server.grants.remove("w", [grant.id])
        assert (await client.get(f"{AGENT}/may")).status_code == 404


@pytest.mark.parametrize("role", Role)
async def test_a_role_is_what_it_allows(server: Server, connect: Connect, role: Role) -> None:
    server.grants.add("w", ADA, role, "db/demo", None)
    async with connect(server, None) as client:
        client.headers.update(bearer(server))
        found = await may(client, AGENT)
        assert found["workspace"] == ["see"]
        assert set(found["db/demo"]) == set(found["agent/demo/echo"]) == PERMISSIONS[role]
        # In it there is nothing of that name; outside of it nothing is said.
        assert (await client.get(f"{APP}/agent/none/may")).status_code == 404


async def test_who_may_do_everything(client: httpx.AsyncClient) -> None:
    assert await may(client, AGENT) == dict.fromkeys(["workspace", "db/demo", "agent/demo/echo"], ALL)
    for path in ("/v1/ws/none", f"{WS}/app/none", f"{APP}/agent/none"):
        assert (await client.get(f"{path}/may")).status_code == 404


async def test_of_the_server_it_is_said_with_who_asks(make_server: Make, connect: Connect) -> None:
    for creators, expected in ((["domain/example.org"], ["see", "create"]), ([], ["see"])):
        server = make_server(workspace_creators=creators)
        async with connect(server, None) as client:
            session = await client.get("/v1/auth/session", headers=bearer(server))
            assert session.json()["may"] == expected
            made = await client.post("/v1/ws", json={}, headers=bearer(server))
            assert made.status_code == (201 if "create" in expected else 403)
