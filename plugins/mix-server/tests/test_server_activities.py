"""What is done is noted, by whom, with which result; who sees it; and what guests write."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.app import create_app
from mix_server.server import Server

from mixkit.activities import Activities, Activity, Kind, Wanted, now
from mixkit.cli.logs import JSONFormatter
from mixkit.kernel_settings import KernelSettings

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

APP = "/v1/ws/w/app/demo"
ECHO = f"{APP}/agent/echo"
ALL = "/v1/ws/w/activities"
OUTPUT = "/v1/ws/w/output"
ID = "A" * 32
WANTED = Wanted()

NOT_NOTED = {
    ("/v1/auth/session", "DELETE"),
    ("/v1/compile", "POST"),
    ("/v1/ws/{ws}/app/{app}/query/parse", "POST"),
    ("/v1/ws/{ws}/app/{app}/query", "POST"),
    ("/v1/ws/{ws}/app/{app}/query/{name}", "POST"),
    ("/v1/ws/{ws}/app/{app}/sql", "POST"),
    ("/query/{ws}/{app}", "POST"),
    ("/count-activities/{ws}", "POST"),
    ("/v1/signals", "POST"),
    ("/v1/signals/{id}", "POST"),
    ("/v1/signals/{id}", "DELETE"),
    ("/mcp/{ws}", "POST"),
}
"""What changes nothing, though its method could, or nothing that stays: signals are forgotten. A call of a tool is
noted as the run that it is."""


async def found(client: httpx.AsyncClient, path: str = ALL, **options: Any) -> list[dict[str, Any]]:
    answer = await client.get(path, params=options)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["output" if path == OUTPUT else "activities"]
    return listed


def machine(server: Server, role: str = "runner", resource: str = "workspace") -> tuple[dict[str, str], str]:
    """The header of a machine's requests, and its subject."""
    made, token = server.grants.make_machine("w", "ci", [(role, resource)], None, None)
    return {"Authorization": f"Bearer {token}"}, made.subject


def test_all_that_changes_something_is_noted(make_server: Make) -> None:
    app = create_app(make_server())
    for route in app.api._routes.values():
        noted = getattr(route.resource, "activities", {})
        for method in {"POST", "PUT", "PATCH", "DELETE"} & set(route.methods):
            assert (method in noted) != ((route.template, method) in NOT_NOTED), (method, route.template)


async def test_what_is_done_is_noted(client: httpx.AsyncClient, make_package: Callable[..., bytes]) -> None:
    grant = (
        await client.post("/v1/ws/w/permissions", json={"subject": "all-users", "role": "runner"})
    ).json()
    steps: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("POST", ECHO, {"a": 1}, {"kind": "run", "agent": "echo", "app": "demo", "status": 200}),
        ("GET", f"{ECHO}?a=1", None, {"kind": "run", "agent": "echo", "status": 200}),
        (
            "POST",
            f"{APP}/agent/panic",
            {},
            {"kind": "run", "agent": "panic", "result": "failed", "status": 422},
        ),
        (
            "POST",
            f"{APP}/agent/typed",
            {},
            {"kind": "run", "agent": "typed", "result": "refused", "status": 400},
        ),
        ("POST", f"{APP}/agent/spin?timeout=0.1", {}, {"kind": "run", "result": "timeout", "status": 504}),
        ("PUT", f"{APP}/documents/{ID}", {"secret": "xyzzy"}, {"kind": "save", "app": "demo", "status": 201}),
        ("POST", f"{APP}/save", [{"n": 1}, {"n": 2}], {"kind": "save", "about": {"records": 2}}),
        ("PUT", f"{APP}/query/q", {"query": "true"}, {"kind": "save", "about": {"query": "q"}}),
        ("DELETE", f"/v1/ws/w/permissions/{grant['id']}", None, {"kind": "revoke", "about": grant}),
        ("PUT", "/v1/ws/w/app/other", None, {"kind": "create", "app": "other", "status": 201}),
        ("DELETE", "/v1/ws/w/app/other", None, {"kind": "delete", "app": "other", "status": 204}),
        ("DELETE", "/v1/ws/w/app/other", None, {"kind": "delete", "result": "refused", "status": 404}),
    ]
    for method, path, body, expected in steps:
        answer = await client.request(method, path, json=body)
        newest, *_ = await found(client, limit=1)
        assert expected.items() <= newest.items(), (method, path, answer.text, newest)
        assert newest["run"] == answer.headers["X-Request-Id"] and newest["subject"] == "operator"
        assert newest["result"] == expected.get("result", "ok") and newest["seconds"] > 0
    package = make_package(version="2.0.0")
    headers = {"Content-Type": "application/octet-stream"}
    await client.post("/v1/ws/w/install", content=package, headers=headers)
    newest, *_ = await found(client, limit=1)
    assert newest["kind"] == "install"
    assert newest["about"] == {"apps": ["demo"], "version": "2.0.0", "changed": True}
    listed = await found(client)
    assert len(listed) == len(steps) + 2 and listed[-1]["about"] == grant
    assert [each["time"] for each in listed] == sorted((each["time"] for each in listed), reverse=True)
    # Neither parameters nor results, nor what a guest says of them.
    assert "xyzzy" not in json.dumps(listed) and "broken" not in json.dumps(listed)


async def test_what_only_reads_is_not_noted(client: httpx.AsyncClient) -> None:
    for path in ("/v1/ws", "/v1/ws/w", APP, ECHO, f"{APP}/documents", ALL, OUTPUT):
        assert (await client.get(path)).status_code == 200
        await client.head(path)
    await client.post(f"{APP}/query", json={"query": "true"})
    assert await found(client) == []


async def test_filters_counts_and_pages(make_server: Make, connect: Connect) -> None:
    server = make_server()
    header, subject = machine(server)
    async with connect(server) as client:
        for number in range(7):
            await client.post(ECHO, json={}, headers=header if number % 2 else {})
            await client.put(f"/v1/ws/w/app/app{number}")
        await client.post(f"{APP}/agent/panic", json={})
        everything = await found(client)
        assert len(everything) == 15
        for options, expected in (
            ({"kind": "run"}, 8),
            ({"kind": "create"}, 7),
            ({"kind": "grant"}, 0),
            ({"app": "demo", "agent": "echo"}, 7),
            ({"app": "app3"}, 1),
            ({"subject": subject}, 3),
            ({"subject": "operator", "kind": "run"}, 5),
            ({"result": "failed"}, 1),
            ({"run": everything[4]["run"]}, 1),
            ({"since": everything[0]["time"], "kind": "run", "result": "failed"}, 1),
            ({"until": everything[-1]["time"]}, 0),
            ({"since": "2999-01-01T00:00:00Z"}, 0),
            ({"since": "1000"}, 15),
        ):
            assert len(await found(client, **options)) == expected, options
            count = await client.get(ALL, params={**options, "count": "true"})
            assert count.json() == {"count": expected}
            old = await client.post("/count-activities/w", json=options)
            assert old.json() == {"count": expected} and "Deprecation" in old.headers
        pages, before = [], {}
        while True:
            page = (await client.get(ALL, params={"limit": 4, **before})).json()
            pages.append(page["activities"])
            if page["next"] is None:
                break
            before = {"before": page["next"]}
            # What comes meanwhile is not on the next page.
            await client.post(ECHO, json={})
        assert [len(page) for page in pages] == [4, 4, 4, 3]
        assert [each for page in pages for each in page] == everything


async def test_what_comes_is_followed(client: httpx.AsyncClient) -> None:
    await client.post(ECHO, json={})
    latest = (await client.get(ALL)).json()["latest"]
    assert (await client.get(ALL, params={"after": latest})).json()["activities"] == []
    await client.post(ECHO, json={})
    await client.put("/v1/ws/w/app/new")
    answer = (await client.get(ALL, params={"after": latest})).json()
    assert [each["kind"] for each in answer["activities"]] == ["run", "create"]
    assert (await client.get(ALL, params={"after": answer["latest"]})).json()["activities"] == []
    first = (await client.get(ALL, params={"after": latest, "limit": 1, "kind": "run"})).json()
    assert [each["kind"] for each in first["activities"]] == ["run"]


async def test_who_does_not_administer_sees_their_own(make_server: Make, connect: Connect) -> None:
    server = make_server()
    (one, subject), (other, _), (admin, _) = machine(server), machine(server), machine(server, "admin")
    server.grants.add("w", "anonymous", "runner", "agent/demo/echo", None)
    async with connect(server, None) as client:
        for header in (one, other, other, admin, {}):
            assert (await client.post(ECHO, json={}, headers=header)).status_code == 200
            assert (await client.post(f"{APP}/agent/chatter", json={}, headers=header)).status_code in (
                422,
                401,
            )
        client.headers.update(admin)
        assert len(await found(client)) == 9
        client.headers.update(one)
        own = await found(client)
        assert [each["subject"] for each in own] == [subject] * 2
        assert await found(client, subject=subject) == own
        assert (await client.get(ALL, params={"count": 1})).json() == {"count": 2}
        assert (await client.post("/count-activities/w", json={})).json() == {"count": 2}
        assert {each["subject"] for each in await found(client, OUTPUT)} == {subject}
        for path in (ALL, OUTPUT):
            refused = await client.get(path, params={"subject": "operator"})
            assert refused.status_code == 403
        latest = (await client.get(ALL)).json()["latest"]
        await client.post(ECHO, json={}, headers=other)
        followed = (await client.get(ALL, params={"after": latest})).json()
        assert followed["activities"] == []
        # Where others are in the list cannot be read from its places, nor whether they have come to another.
        again = (await client.get(ALL)).json()["latest"]
        assert len({latest, again, (await client.get(ALL)).json()["latest"]}) == 3
        del client.headers["Authorization"]
        assert (await client.get(ALL)).status_code == 403
        assert (await client.get("/v1/ws/other/activities")).status_code == 401
        client.headers.update(one)
        assert (await client.get("/v1/ws/other/activities")).status_code == 404
        assert (await client.get("/v1/activities")).status_code in (403, 404)


async def test_a_workspace_that_is_gone_takes_its_activities_along(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/ws", json={"name": "new"})).status_code == 201
    await client.put("/v1/ws/new/app/one")
    assert [each["kind"] for each in await found(client, "/v1/ws/new/activities")] == ["create", "create"]
    assert (await client.delete("/v1/ws/new")).status_code == 204
    assert (await client.get("/v1/ws/new/activities")).status_code == 404
    assert (await client.post("/v1/ws", json={"name": "new"})).status_code == 201
    assert len(await found(client, "/v1/ws/new/activities")) == 1
    # Who runs the server sees that there was one.
    newest, *_ = await found(client, "/v1/activities")
    assert (newest["kind"], newest["workspace"], newest["status"]) == ("delete", "new", 204)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "runs"}, {"result": "bad"}, {"since": "yesterday"}, {"until": "2026-01-01T00:00:00"}, {"limit": "0"},
        {"limit": "1001"}, {"before": "x"}, {"after": "AAAA"}, {"subject": "ada"}, {"app": "a/b"}, {"run": " "},
        {"count": "true", "limit": "1"}, {"count": "maybe"},
    ],
)  # fmt: skip
async def test_options_that_are_wrong(client: httpx.AsyncClient, options: dict[str, str]) -> None:
    refused = await client.get(ALL, params=options)
    assert refused.status_code == 400, refused.text


async def test_a_place_is_good_in_its_workspace_only(client: httpx.AsyncClient) -> None:
    await client.post("/v1/ws", json={"name": "new"})
    latest = (await client.get("/v1/ws/new/activities")).json()["latest"]
    assert (await client.get("/v1/ws/new/activities", params={"after": latest})).status_code == 200
    assert (await client.get(ALL, params={"after": latest})).status_code == 400


async def test_what_guests_write_is_kept(make_server: Make, connect: Connect) -> None:
    server = make_server(limits_log_size=1 << 20)
    async with connect(server) as client:
        assert await found(client, OUTPUT) == []
        # It writes 16 KiB of nothing at a time until it has written too much.
        run = (await client.post(f"{APP}/agent/chatter", json={})).headers["X-Request-Id"]
        lines = await found(client, OUTPUT)
        assert {(each["app"], each["agent"], each["run"], each["level"]) for each in lines[1:]} == {
            ("demo", "chatter", run, 1)
        }
        assert lines[0]["text"].startswith("…") and lines[0]["level"] == 2
        assert sum(len(each["text"]) for each in lines) <= server.kernel.settings("kernel").output_of_run
        nested = await client.post(f"{APP}/agent/delegate", json=["chatter", {}])
        of_nested = await found(client, OUTPUT, agent="delegate")
        assert {each["run"] for each in of_nested} == {nested.headers["X-Request-Id"]}
        page = (await client.get(OUTPUT, params={"limit": 2})).json()
        older = await found(client, OUTPUT, before=page["next"])
        assert [*page["output"], *older] == await found(client, OUTPUT)
        latest = page["latest"]
        await client.post(f"{APP}/agent/chatter", json={})
        followed = (await client.get(OUTPUT, params={"after": latest})).json()["output"]
        assert len(followed) == len(lines)
        assert {each["level"] for each in followed[:-1]} == {1}


@pytest.mark.parametrize("name", ["output_bytes", "output_of_run"])
async def test_no_output_is_kept_where_none_is_to_be(make_server: Make, connect: Connect, name: str) -> None:
    server = make_server()
    server.activities = Activities(server.store, KernelSettings(**{name: 0}))
    async with connect(server) as client:
        await client.post(f"{APP}/agent/chatter", json={})
        assert await found(client, OUTPUT) == []


async def test_each_is_a_line_of_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "mixkit.activity")
    answer = await client.post(ECHO, json={"password": "xyzzy"})
    (record,) = (record for record in caplog.records if record.name == "mixkit.activity")
    line = json.loads(JSONFormatter().format(record))
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert line["activity"].items() >= {"kind": "run", "workspace": "w", "app": "demo", "status": 200}.items()
    assert line["message"].startswith("run w/demo/echo by operator: ok in ")
    assert "xyzzy" not in json.dumps(line)


def test_a_run_is_made_of_what_is_known_when_it_is_written(
    make_server: Make, caplog: pytest.LogCaptureFixture
) -> None:
    activities = make_server().activities
    made = []

    def make(run: str) -> Activity:
        made.append(run)
        return Activity(kind=Kind.RUN, subject="operator", time=now(), workspace="w", run=run)

    def runs() -> list[str | None]:
        return [activity.run for activity in activities.find("w", WANTED, most=9)[0]]

    activities.record_later("w", make, "first")
    activities.record(make("second"))
    assert made == ["second"]
    assert runs() == ["second", "first"]
    # Who follows the log sees it at once.
    caplog.set_level(logging.INFO, "mixkit.activity")
    activities.record_later("w", make, "third")
    assert made == ["second", "first", "third"]
    assert [record.request_id for record in caplog.records] == ["third"]  # type: ignore[attr-defined]
    assert runs() == ["third", "second", "first"]


async def test_what_cannot_be_noted_is_said(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "no space left on device")

    async with connect(server) as client:
        monkeypatch.setattr("mixkit.activities.log.Log.append", full)
        assert (await client.post(ECHO, json={})).status_code == 200
        refused = await client.put("/v1/ws/w/app/new")
        assert refused.status_code == 503 and "cannot be noted" in refused.json()["message"]
        monkeypatch.undo()
        assert (await client.put("/v1/ws/w/app/newer")).status_code == 201
        assert [each["app"] for each in await found(client, kind="create")] == ["newer"]


async def test_a_run_whose_caller_has_gone_is_noted_once(
    make_server: Make, connect: Connect, served: Connect
) -> None:
    async with served(make_server()) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"{APP}/agent/sleep", json=[5_000], timeout=0.2)
        while not (noted := await found(client)):
            pass
        assert [(each["kind"], each["result"], each["status"]) for each in noted] == [("run", "stopped", 499)]


def test_what_was_noted_is_there_after_a_kill(make_server: Make) -> None:
    """Of a process that is killed at once, all that was on the disk before it was answered, and all that was read."""
    server = make_server()
    child = os.fork()
    if not child:
        try:
            activities = server.activities
            of = {"subject": "operator", "time": now(), "workspace": "w"}
            activities.record(Activity(kind=Kind.RUN, run="read", **of))
            assert activities.count("w", WANTED) == 1
            activities.record(Activity(kind=Kind.GRANT, **of))
            activities.record(Activity(kind=Kind.RUN, run="not read", **of))
            os.kill(os.getpid(), 9)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 9
    kept, _ = server.activities.find("w", WANTED, most=10)
    assert {(each.kind, each.run) for each in kept} >= {(Kind.RUN, "read"), (Kind.GRANT, None)}
