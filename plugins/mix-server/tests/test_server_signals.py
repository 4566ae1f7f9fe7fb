"""Signals over HTTP, and runs whose callers do not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.server import Server

from mixkit.signals import Owner
from mixkit.value import ok

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

ECHO = "/v1/ws/w/app/demo/agent/echo"
ASYNC = {"Prefer": "respond-async"}


async def made(client: httpx.AsyncClient, **body: Any) -> str:
    answer = await client.post("/v1/signals", json={"ws": "w", **body})
    assert answer.status_code == 201
    assert answer.headers["location"] == answer.json()["url"] == f"/v1/signals/{answer.json()['id']}"
    url: str = answer.json()["url"]
    return url


async def state(client: httpx.AsyncClient, url: str, seconds: float = 0) -> dict[str, Any]:
    answer = await client.get(url, params={"timeout": seconds} if seconds else {})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    found: dict[str, Any] = answer.json()
    assert found.pop("id") == url.rpartition("/")[2]
    return found


async def test_a_signal_is_made_awaited_and_settled_once(client: httpx.AsyncClient) -> None:
    url = await made(client, seconds=60)
    assert (await state(client, url))["state"] == "pending"
    waiting = asyncio.create_task(state(client, url, 50))
    await asyncio.sleep(0.05)
    assert (await client.post(url, json={"n": [1, None]})).status_code == 204
    assert await waiting == {"state": "ok", "value": {"n": [1, None]}}
    assert (await client.post(url, json=2)).status_code == 409
    assert (await client.delete(url)).status_code == 409
    assert await state(client, url, 1) == {"state": "ok", "value": {"n": [1, None]}}
    other = await made(client)
    assert (await client.delete(other)).status_code == 204
    assert await state(client, other) == {"state": "error", "error": "canceled"}
    assert (await client.post(other, json=2)).status_code == 409
    late = await made(client, seconds=0.05)
    assert await state(client, late, 30) == {"state": "error", "error": "timeout"}


@pytest.mark.parametrize(
    "body", [{}, {"ws": ""}, {"ws": "w", "seconds": 0}, {"ws": "w", "seconds": 1e9}, {"ws": "w", "x": 1}]
)
async def test_what_is_no_signal(client: httpx.AsyncClient, body: Any) -> None:
    assert (await client.post("/v1/signals", json=body)).status_code == 400
    url = await made(client)
    for timeout in ("x", "-1", "61", "nan"):
        assert (await client.get(url, params={"timeout": timeout})).status_code == 400
    assert (await client.post(url)).status_code == 400


def sign_in(server: Server, name: str) -> dict[str, str]:
    address = f"{name}@example.org"
    token, _ = server.key.token(address, address, 600)
    return {"Authorization": f"Bearer {token}"}


async def test_who_may_do_what_with_a_signal(make_server: Make, connect: Connect) -> None:
    server = make_server()
    for name, role in (("ada", "runner"), ("bob", "runner"), ("eve", "admin")):
        server.grants.add("w", f"user/{name}@example.org", role, "workspace", None)
    async with connect(server, None) as client:
        ada, bob, eve, stranger = (sign_in(server, name) for name in ("ada", "bob", "eve", "sam"))

        async def make(who: dict[str, str], ws: str = "w") -> httpx.Response:
            return await client.post("/v1/signals", json={"ws": ws}, headers=who)

        assert (await make({})).status_code == 401
        hidden, missing = await make(stranger), await make(stranger, "nothing")
        assert (hidden.status_code, hidden.content) == (404, missing.content)
        url = (await make(ada)).json()["url"]
        missing = await client.get("/v1/signals/w." + "0" * 32, headers=bob)
        assert missing.status_code == 404
        for who in (bob, stranger, {}):
            for method in ("GET", "DELETE"):
                answer = await client.request(method, url, headers=who)
                assert (answer.status_code, answer.content) == (404, missing.content)
        for who in (ada, eve):
            assert (await client.get(url, headers=who)).status_code == 200
        # Who knows it may settle it, as a service that was given the address.
        assert (await client.post(url, json=1)).status_code == 204
        assert (await client.get(url, headers=ada)).json()["value"] == 1
        again = (await make(ada)).json()["url"]
        assert (await client.delete(again, headers=eve)).status_code == 204
        # What an agent made for a user is the user's.
        id = await server.kernel.signals.create(Owner("w", "demo", "ada@example.org", "demo.1"))
        await server.kernel.signals.settle(id, ok("x"))
        assert (await client.get(f"/v1/signals/{id}", headers=ada)).json()["value"] == "x"
        assert (await client.get(f"/v1/signals/{id}", headers=bob)).status_code == 404


async def test_a_signal_is_of_who_may_see_its_workspace(make_server: Make, connect: Connect) -> None:
    """The id is known to whom it was given to be settled: that is no way to what it becomes."""
    server = make_server()
    server.store.create("other")
    grant, _ = server.grants.add("w", "user/ada@example.org", "runner", "workspace", None)
    right = [("runner", "workspace")]
    # Each workspace names its machines as it likes.
    mine, theirs = (server.grants.make_machine(ws, "ci", right, None, None)[1] for ws in ("w", "other"))
    async with connect(server, None) as client:

        async def ask(who: dict[str, str], url: str) -> int:
            return (await client.get(url, headers=who)).status_code

        ours, strange = ({"Authorization": f"Bearer {token}"} for token in (mine, theirs))
        url = (await client.post("/v1/signals", json={"ws": "w"}, headers=ours)).json()["url"]
        assert (await ask(ours, url), await ask(strange, url)) == (200, 404)
        assert (await client.delete(url, headers=strange)).status_code == 404
        ada = sign_in(server, "ada")
        url = (await client.post("/v1/signals", json={"ws": "w"}, headers=ada)).json()["url"]
        assert await ask(ada, url) == 200
        server.grants.remove("w", [grant.id])
        assert await ask(ada, url) == 404


async def test_who_only_asks_makes_nothing(make_server: Make, connect: Connect) -> None:
    server = make_server()
    root = server.store.workspace("w").root
    async with connect(server, None) as client:
        before = sorted(path.name for path in root.iterdir())
        url = f"/v1/signals/w.{'0' * 32}"
        answers = [await client.get(url), await client.delete(url), await client.post(url, json=1)]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert sorted(path.name for path in root.iterdir()) == before
        ada = sign_in(server, "ada")
        server.grants.add("w", "user/ada@example.org", "runner", "workspace", None)
        made = await client.post("/v1/signals", json={"ws": "w"}, headers=ada)
        assert (await client.get(made.json()["url"], headers=ada)).status_code == 200
        assert (root / "signals.db").is_dir()


async def test_another_worker_is_woken(make_server: Make, connect: Connect) -> None:
    one, other = make_server(), make_server()
    async with connect(one) as client, connect(other) as there:
        url = await made(client)
        waiting = asyncio.create_task(state(there, url, 50))
        await asyncio.sleep(0.05)
        assert (await client.post(url, json="x")).status_code == 204
        assert await waiting == {"state": "ok", "value": "x"}


async def test_a_run_that_nobody_waits_for(make_server: Make, connect: Connect) -> None:
    server = make_server()
    async with connect(server) as client:
        for path in (ECHO, "/run-agent/w/demo/echo"):
            answer = await client.post(path, json={"n": 1}, headers=ASYNC)
            assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
            assert answer.headers["location"] == answer.json()["url"]
            assert await state(client, answer.json()["url"], 50) == {"state": "ok", "value": {"n": 1}}
        answer = await client.get(ECHO, params={"n": "1"}, headers={"Prefer": "wait=1, Respond-Async"})
        assert await state(client, answer.json()["url"], 50) == {"state": "ok", "value": {"n": "1"}}
        # What is wrong with the request is said at once.
        typed = ECHO.replace("echo", "typed")
        assert (await client.post(typed, json={"n": "x"}, headers=ASYNC)).status_code == 400
        assert (await client.post(ECHO + "x", json={}, headers=ASYNC)).status_code == 404


async def test_how_such_a_run_fails(make_server: Make, connect: Connect) -> None:
    server = make_server()
    async with connect(server) as client:
        for agent in ("trap", "panic"):
            path = ECHO.replace("echo", agent)
            at_once = (await client.post(path, json={})).json()
            assert at_once["kind"] == "run_error"
            answer = await client.post(path, json={}, headers=ASYNC)
            assert answer.status_code == 202
            found = await state(client, answer.json()["url"], 50)
            assert (found["state"], found["error"]["kind"]) == ("error", "run_error")
            assert found["error"]["run_error"]["message"] == at_once["run_error"]["message"]
            assert found["error"]["run_error"]["agent"] == f"w/demo/{agent}"
        large = await client.post(ECHO, json={"t": "x" * 1_048_000}, headers=ASYNC)
        assert (await state(client, large.json()["url"], 50))["state"] in ("ok", "error")


async def test_such_a_run_is_bounded_and_canceled(make_server: Make, connect: Connect) -> None:
    server = make_server(postpone_timeout=0.3)
    sleep = ECHO.replace("echo", "sleep")
    async with connect(server) as client:
        slow = (await client.post(sleep, json=[30_000], headers=ASYNC)).json()["url"]
        assert await state(client, slow, 50) == {"state": "error", "error": "timeout"}
    server, other = make_server(), make_server()
    async with connect(server) as client, connect(other) as there:
        # Whichever worker is told so.
        for asked in (client, there):
            url = (await client.post(sleep, json=[50_000], headers=ASYNC)).json()["url"]
            assert (await state(asked, url))["state"] == "pending"
            assert len(server.postponed) == 1
            assert (await asked.delete(url)).status_code == 204
            assert await state(asked, url) == {"state": "error", "error": "canceled"}
            async with asyncio.timeout(30):
                while server.admission.active + server.admission.paused + len(server.postponed):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def test_a_server_that_stops_says_so_to_who_waits(make_server: Make, connect: Connect) -> None:
    server, other = make_server(grace_period=0.1), make_server()
    async with connect(other) as there:
        async with connect(server) as client:
            sleep = ECHO.replace("echo", "sleep")
            url = (await client.post(sleep, json=[50_000], headers=ASYNC)).json()["url"]
        found = await state(there, url)
        assert found["state"] == "error"


async def test_such_a_run_is_noted_when_it_has_ended(client: httpx.AsyncClient) -> None:
    for agent, status in (("echo", 200), ("trap", 422)):
        answer = await client.post(ECHO.replace("echo", agent), json={}, headers=ASYNC)
        assert (await state(client, answer.json()["url"], 50))["state"] in ("ok", "error")
        found: list[Any] = []
        async with asyncio.timeout(30):
            while not found:
                listed = (await client.get("/v1/ws/w/activities")).json()["activities"]
                found = [each for each in listed if each.get("agent") == agent]
        assert [each["status"] for each in found] == [status], found
