"""The hooks that the server adds, each documented and each called; and what doctor says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mix_server import hookspecs
from mix_server.doctor import checks
from mix_server.server import Server

from mixkit import Kernel, hookimpl

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
DOCUMENT = Path(__file__).parents[3] / "docs" / "server.md"


class Weather:
    async def on_get(self, req: Any, resp: Any, city: str) -> None:
        resp.media = {"city": city, "caller": req.caller.user}


class Stamp:
    async def process_response(self, req: Any, resp: Any, resource: Any, succeeded: bool) -> None:
        resp.set_header("X-Stamp", req.id)


class Plugin:
    """A plugin of somebody else's."""

    @hookimpl
    def mix_routes(self, app: Any, server: Server) -> None:
        assert server.kernel.profile.name == "agent_server"
        app.add_route("/v1/weather/{city}", Weather())

    @hookimpl
    def mix_middleware(self) -> Any:
        return Stamp()


@pytest.mark.parametrize("name", hookspecs.__all__)
def test_each_hook_is_documented(name: str) -> None:
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    assert f"### `{name}({arguments})`" in DOCUMENT.read_text()


async def test_each_hook_is_called(make_server: Make, connect: Connect) -> None:
    server = make_server()
    server.kernel.manager.register(Plugin(), "weather")
    async with connect(server) as client:
        answer = await client.get("/v1/weather/Oslo")
        assert answer.json() == {"city": "Oslo", "caller": "local"}
        assert answer.headers["x-stamp"] == answer.headers["x-request-id"]
    async with connect(server, None) as client:
        assert (await client.get("/v1/weather/Oslo")).status_code == 401


@pytest.mark.parametrize(
    ("settings", "levels"),
    [
        ({}, ["ok", "ok", "ok"]),
        ({"settings.server.token": "x" * 20}, ["ok", "ok", "ok"]),
        ({"settings.server.token": "short"}, ["ok", "error", "ok"]),
        ({"settings.server.no_auth": True}, ["ok", "warning", "ok"]),
        ({"settings.server.ws_dir": "/proc/version/x"}, ["error", "ok", "ok"]),
        ({"limits.wall_time": 301}, ["ok", "ok", "error"]),
    ],
)
def test_doctor(tmp_path: Path, settings: dict[str, Any], levels: list[str]) -> None:
    overrides = {"settings.server.ws_dir": str(tmp_path / "new")} | settings
    with Kernel("agent_server", overrides=overrides, environ={}) as kernel:
        found = checks(kernel)
    assert [check.level for check in found] == levels
    assert all(check.remedy for check in found if check.level != "ok")
    assert not (tmp_path / "new").exists()
