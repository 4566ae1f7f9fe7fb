"""Actions of agents over HTTP: the client sends one back, the client's are forwarded, idle ones follow the answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mix_lang.compiler import build as compiled
from mix_server.server import Server

from mixkit.package.build import pack

Make = Callable[..., Server]
Connect = Callable[..., Any]
DEMO = "/v1/ws/w/app/demo/agent/"
COUNT = """\
module count(p: data)
  var cell n = p.start
  cell output = {
    n,
    add: action (by) { n = n + by },
    open: action { pushNextActions(appstate, [{_rmx_type: "msg_view_open_link", url: "https://example.com/"}]) },
    later: action { pushIdleActions(appstate, [action { debug("idle " + n) }]); n = n + 1 },
    slowly: action { pushIdleActions(appstate, [action { let x = sleep(200); debug("slept") }]) },
    forever: action { pushIdleActions(appstate, [action { while (true) { } }]) }
  }
  foreign def sleep : number -> null = "$core_sleep"
module end
"""


@pytest.fixture(scope="module")
def package() -> bytes:
    """The app `demo` with the agent `count`."""
    code, _ = compiled({"count.mix": COUNT})
    manifest = {
        "format": 3, "name": "demo", "version": "1.0.0", "kind": "app", "grants": {"ffis": ["$core_*"]},
        "apps": {"demo": {"agents": {"count": {"code": "code/demo/count.mixexe"}}}},
    }  # fmt: skip
    return pack(
        {"manifest.json": lambda: json.dumps(manifest).encode(), "code/demo/count.mixexe": lambda: code}
    )


async def _invoke(client: httpx.AsyncClient, action: Any, *args: Any, **more: Any) -> httpx.Response:
    return await client.post(f"{DEMO}count?action=true", json={**action, "args": list(args)}, **more)


async def _until(found: Callable[[], bool]) -> None:
    for _ in range(1000):
        if found():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come")


async def test_a_client_sends_an_action_back(make_server: Make, connect: Connect, package: bytes) -> None:
    async with connect(make_server(package=package)) as client:
        value = (await client.post(f"{DEMO}count", json={"start": 5})).json()
        for by, n in ((1, 6), (10, 16)):
            answer = await _invoke(client, value["add"], by)
            value = answer.json()
            assert (answer.status_code, value["n"]) == (200, n)
        answer = await _invoke(client, value["open"], headers={"Prefer": "actions"})
        assert answer.json()["result"]["n"] == 16
        assert answer.json()["actions"] == [
            {"_rmx_type": "msg_view_open_link", "url": "https://example.com/"}
        ]


async def test_what_is_no_action_of_the_agent(make_server: Make, connect: Connect, package: bytes) -> None:
    async with connect(make_server(package=package)) as client:
        value = (await client.post(f"{DEMO}count", json={"start": 5})).json()
        for body, status in (
            ({"start": 5}, 400), ([], 400), ({"_rmx_type": "msg_view_open_link", "url": "x"}, 400),
            (value["add"] | {"name": "count.action/9"}, 422), (value["add"] | {"more": 1}, 400),
            (value["add"] | {"env": "none"}, 422),
        ):  # fmt: skip
            answer = await client.post(f"{DEMO}count?action=true", json=body)
            assert answer.status_code == status, (body, answer.text)
        answer = await client.post(f"{DEMO}count?action=maybe", json=value["add"])
        assert answer.status_code == 400
        # Without the option an action is parameters like any others.
        assert (await client.post(f"{DEMO}count?action=false", json={"start": 1})).json()["n"] == 1


async def test_an_action_of_a_guest_is_its_own_entry(client: httpx.AsyncClient) -> None:
    action = {"_rmx_type": "msg_view_invoke", "name": "echo", "env": {"a": 1}}
    assert (await client.post(f"{DEMO}echo?action=true", json=action)).json() == {"a": 1}
    # Who may run an agent may not for that run another entry of its code.
    answer = await client.post(f"{DEMO}act?action=true", json=action)
    assert answer.status_code == 404


async def test_idle_actions_follow_the_answer(
    make_server: Make, connect: Connect, package: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    async with connect(make_server(package=package)) as client:
        value = (await client.post(f"{DEMO}count", json={"start": 5})).json()
        assert (await _invoke(client, value["later"])).json()["n"] == 6
        await _until(lambda: "idle 6" in caplog.text)


async def test_idle_actions_have_their_time(
    make_server: Make, connect: Connect, package: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(make_server(package=package, postpone_timeout=0.2)) as client:
        value = (await client.post(f"{DEMO}count", json={"start": 5})).json()
        assert (await _invoke(client, value["forever"])).status_code == 200
        await _until(lambda: "an idle action of count failed" in caplog.text)
    assert "wall_time" in caplog.text


async def test_the_server_waits_for_idle_actions(
    make_server: Make, connect: Connect, package: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    server = make_server(package=package)
    async with connect(server) as client:
        value = (await client.post(f"{DEMO}count", json={"start": 5})).json()
        assert (await _invoke(client, value["slowly"])).status_code == 200
        await _until(lambda: server.admission.active + server.admission.paused > 0)
    assert "slept" in caplog.text


async def test_the_server_ends_idle_actions(
    make_server: Make, connect: Connect, package: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(package=package, grace_period=0.2)
    async with connect(server) as client:
        value = (await client.post(f"{DEMO}count", json={"start": 5})).json()
        assert (await _invoke(client, value["forever"])).status_code == 200
        await _until(lambda: server.admission.active > 0)
    assert "were cancelled" in caplog.text and server.admission.active == 0
