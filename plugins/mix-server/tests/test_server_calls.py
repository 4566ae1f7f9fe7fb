"""Agents that call those of other apps: if who asked, or the agent that calls, was granted that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server import catalog
from mix_server.activity import result_of
from mix_server.server import Server

from mixkit.activities import Result
from mixkit.errors import CancelledRun, LimitExceeded, NotFound, RunError
from mixkit.package import Package
from mixkit.package.build import pack

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

DELEGATE = "/v1/ws/w/app/demo/agent/delegate"
CALLS = ["other/echo", {"a": 1}]
OK = {"_rmx_type": "{tag}case:ok", "_rmx_value": {"a": 1}}


@pytest.fixture
def server(make_server: Make, guest_code: bytes) -> Server:
    """One with the apps `demo` and `other`, whose agents are the same."""
    made = make_server()
    agents = {name: {"code": "code/other/guest.wasm"} for name in ("echo", "delegate")}
    manifest = {
        "format": 3, "name": "other", "version": "1.0.0", "kind": "app",
        "apps": {"other": {"agents": agents}}, "grants": {"ffis": ["$core_*"]},
    }  # fmt: skip
    entries = {
        "manifest.json": lambda: json.dumps(manifest).encode(),
        "code/other/guest.wasm": lambda: guest_code,
    }
    made.store.workspace("w").install(Package.open(pack(entries)))
    return made


def machine(server: Server, *rights: tuple[str, str]) -> dict[str, str]:
    _, token = server.grants.make_machine("w", "ci", rights, None, None)
    return {"Authorization": f"Bearer {token}"}


async def called(client: httpx.AsyncClient, header: dict[str, str], params: Any = CALLS) -> Any:
    answer = await client.post(DELEGATE, json=params, headers=header)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_who_asks_or_the_agent_needs_the_grant(server: Server, connect: Connect) -> None:
    one, both = machine(server, ("runner", "db/demo")), machine(server, ("runner", "workspace"))
    agent = "agent/:w.demo.delegate"
    async with connect(server, None) as client:
        refused = await called(client, one)
        assert refused["_rmx_type"].endswith("error") and "other/echo" in refused["_rmx_value"]
        # Nothing says which of them there are.
        missing = await called(client, one, ["other/none", {}])
        assert missing["_rmx_value"].replace("none", "echo") == refused["_rmx_value"]
        gone = await called(client, one, ["nothing/echo", {}])
        assert gone["_rmx_value"].replace("nothing", "other") == refused["_rmx_value"]
        assert await called(client, both) == OK
        # Its own app, by its name too.
        assert await called(client, one, ["demo/echo", {"a": 1}]) == OK
        server.grants.add("w", "agent/:w.demo.echo", "runner", "agent/other/echo", None)
        assert await called(client, one) == refused
        grant, _ = server.grants.add("w", agent, "runner", "agent/other/echo", None)
        assert await called(client, one) == OK
        server.grants.remove("w", [grant.id])
        assert await called(client, one) == refused


async def test_an_agent_that_was_called_calls_as_itself(server: Server, connect: Connect) -> None:
    header = machine(server, ("runner", "db/demo"))
    server.grants.add("w", "agent/:w.demo.delegate", "runner", "agent/other/delegate", None)
    async with connect(server, None) as client:
        # What it names is of its own app then, and back it needs a grant: who asks has one for that app.
        inner = await called(client, header, ["other/delegate", ["echo", {"a": 1}]])
        assert inner == {**OK, "_rmx_value": OK}
        back = await called(client, header, ["other/delegate", ["demo/echo", {"a": 1}]])
        assert back == {**OK, "_rmx_value": OK}


async def test_what_was_granted_to_an_agent_goes_with_its_app(server: Server) -> None:
    server.grants.add("w", "agent/:w.demo.delegate", "runner", "agent/other/echo", None)
    server.grants.add("w", "agent/:w.other.echo", "runner", "workspace", None)
    server.store.workspace("w").delete_app("demo")
    assert [grant.subject for grant in server.grants.of("w")] == ["agent/:w.other.echo"]


async def test_it_is_explained(server: Server, connect: Connect, token: str) -> None:
    agent = "agent/:w.demo.delegate"
    path = "/v1/ws/w/permissions"
    options = {"explain": "run", "subject": "user/a@b.c", "resource": "agent/other/echo"}
    async with connect(server) as client:

        async def explained(**more: str) -> Any:
            answer = await client.get(path, params=options | more)
            assert answer.status_code == 200, answer.text
            return answer.json()

        assert not (await explained())["allowed"]
        before = await explained(via=agent)
        assert not before["allowed"] and before["needed"]["roles"][0] == "runner"
        assert before["via"]["subjects"][0] == agent
        server.grants.add("w", agent, "runner", "agent/other/echo", None)
        after = await explained(via=agent)
        assert after["allowed"] and after["because"]["subject"] == agent
        same = await explained(subject=agent, resource="agent/demo/echo")
        assert same["allowed"] and same["because"] == {"same_app": "demo"}
        for wrong in (
            {"via": "user/a@b.c"},
            {"via": "agent/:x.demo.echo"},
            {"via": agent, "explain": "read"},
        ):
            assert (await client.get(path, params=options | wrong)).status_code == 400


async def test_a_run_that_another_one_begins_is_noted_with_it(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = machine(server, ("runner", "workspace"))
    async with connect(server) as client:

        async def noted(*params: Any, status: int = 200) -> list[tuple[str, str, str]]:
            answer = await client.post(DELEGATE, json=params, headers=ada)
            assert answer.status_code == status, answer.text
            id = answer.headers["x-request-id"]
            found = (await client.get("/v1/ws/w/activities", params={"run": id})).json()["activities"]
            subject = server.grants.of("w").machines
            assert {each["subject"] for each in found} == {f"machine/{name}" for name in subject}
            assert all(each["kind"] == "run" and each["seconds"] >= 0 for each in found)
            about = [(each.get("about") or {}).get("called_by", "") for each in found]
            return sorted(
                (f"{each['app']}/{each['agent']}", each["result"], by)
                for each, by in zip(found, about, strict=True)
            )

        asked = ("demo/delegate", "ok", "")
        assert await noted("echo", 1) == sorted([asked, ("demo/echo", "ok", "demo/delegate")])
        assert await noted("other/delegate", ["echo", 1]) == sorted(
            [asked, ("other/delegate", "ok", "demo/delegate"), ("other/echo", "ok", "other/delegate")]
        )
        assert await noted("panic", {}) == sorted([asked, ("demo/panic", "failed", "demo/delegate")])
        assert await noted("typed", {"n": "x"}) == sorted([asked, ("demo/typed", "refused", "demo/delegate")])
        # What is not there, or may not be called, is not run.
        assert await noted("other/none", {}) == [asked]
        monkeypatch.setattr(catalog, "_MOST_NOTED", 1)
        assert await noted("delegate", ["echo", 1]) == sorted(
            [asked, ("demo/delegate", "ok", "demo/delegate")]
        )


@pytest.mark.parametrize(
    ("failure", "result"),
    [
        (None, Result.OK),
        (LimitExceeded("wall_time", 1, "s"), Result.TIMEOUT),
        (LimitExceeded("depth", 1, ""), Result.FAILED),
        (RunError("broken", agent="a", panic_code="guest"), Result.FAILED),
        (RunError("inside", agent="a", panic_code="internal"), Result.FAULT),
        (NotFound("no such entry"), Result.REFUSED),
        (CancelledRun("stopped"), Result.STOPPED),
        (asyncio.CancelledError(), Result.STOPPED),
        (RuntimeError("a fault"), Result.FAULT),
    ],
)
def test_how_a_call_ended(failure: BaseException | None, result: Result) -> None:
    assert result_of(failure) is result


def test_a_call_that_took_too_long_is_a_timeout() -> None:
    late = RunError("late", agent="a", panic_code="limit")
    late.__cause__ = LimitExceeded("wall_time", 1, "s")
    assert result_of(late) is Result.TIMEOUT
