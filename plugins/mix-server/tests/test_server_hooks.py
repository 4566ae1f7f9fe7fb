"""The hooks that the server adds, each documented and each called; and what doctor says."""

from __future__ import annotations

import asyncio
import inspect
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from mix_server import hookspecs, start
from mix_server.app import create_app
from mix_server.caller import EVERYBODY, Caller, Permission, Resource
from mix_server.doctor import checks
from mix_server.server import Server

from mixkit import Kernel, hookimpl
from mixkit.errors import PluginError, StorageError

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


def test_mix_page(make_server: Make, capsys: pytest.CaptureFixture[str]) -> None:
    class Plugin:
        @hookimpl
        def mix_page(self) -> tuple[str, str]:
            return "weather", "/weather/"

    kernel = make_server().kernel
    kernel.manager.register(Plugin(), "weather")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        start._announce("https", listener, None, kernel)
        port = listener.getsockname()[1]
    assert f"weather: https://127.0.0.1:{port}/weather/\n" in capsys.readouterr().err


class Extension:
    """What answers below a name of its own."""

    permissions: ClassVar = {"GET": Permission.READ, "POST": EVERYBODY}

    def resource(self, path: str) -> Resource:
        return Resource(*path.split("/")[:2])

    async def on_request(self, req: Any, resp: Any, path: str) -> None:
        if path.endswith("wrong"):
            raise ValueError(path)
        body = (await req.body(100, 5.0)).decode()
        resp.media = [req.method, path, req.query_string, body, req.caller and req.caller.user]


class Extending:
    def __init__(self, **extensions: Any) -> None:
        self.extensions = extensions

    @hookimpl
    def mix_extensions(self, server: Server) -> dict[str, Any]:
        return self.extensions


async def test_an_extension_answers_below_its_name(make_server: Make, connect: Connect) -> None:
    server = make_server()
    server.kernel.manager.register(Extending(weather=Extension()), "weather")
    path = "/v1/ext/weather/w/demo/x"
    async with connect(server) as client:
        assert (await client.get(f"{path}?a=1&a=2")).json() == ["GET", "w/demo/x", "a=1&a=2", "", "local"]
        assert (await client.post(path, content=b"hello")).json() == ["POST", "w/demo/x", "", "hello", None]
        # Not in its permissions: for who may do everything.
        put = await client.put(path, content=b"x", headers={"If-Match": "*"})
        assert put.json() == ["PUT", "w/demo/x", "", "x", "local"]
        assert (await client.head(path)).status_code == 200
        assert (await client.post(path, content=b"x" * 101)).status_code == 413
        assert (await client.get("/v1/ext/weather/w/demo/wrong")).status_code == 500
        assert (await client.get("/v1/ext/none/x")).status_code == 404
        operation = (await client.get("/openapi.json")).json()["paths"]["/v1/ext/{ext}/{path}"]["get"]
        assert "default" in operation["responses"]
        client.headers.clear()
        stranger = client
        for method, status in (("GET", 401), ("PUT", 401), ("DELETE", 401), ("POST", 200)):
            assert (await stranger.request(method, path)).status_code == status
        assert (await stranger.get("/v1/ext/none/x")).status_code == 401


async def test_an_extension_asks_what_may_be_done(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    server.kernel.manager.register(Extending(weather=Extension()), "weather")
    asked = []

    def may(subject: Caller, permission: Permission, resource: Resource) -> bool:
        asked.append((permission, resource))
        return permission is Permission.SEE

    monkeypatch.setattr(server.authorizer, "may", may)
    async with connect(server) as client:
        assert (await client.get("/v1/ext/weather/w/demo/x")).status_code == 403
        assert asked[0] == (Permission.READ, Resource("w", "demo"))
        assert (await client.delete("/v1/ext/weather/w/demo/x")).status_code == 403
        assert (Permission.ADMIN, Resource("w", "demo")) in asked


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ({"No name": Extension()}, "expected names"),
        ({"weather": object()}, "has no method on_request"),
        ({"taken": Extension()}, "another plugin"),
    ],
)
def test_what_is_no_extension_fails_the_start(
    make_server: Make, extensions: dict[str, Any], message: str
) -> None:
    server = make_server()
    server.kernel.manager.register(Extending(taken=Extension()), "first")
    server.kernel.manager.register(Extending(**extensions), "second")
    with pytest.raises(PluginError, match=message):
        create_app(server)


class Leaves:
    """A resource, or a middleware, that leaves by what is no `Exception`."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def on_get(self, req: Any, resp: Any) -> None:
        raise self.error

    async def on_post(self, req: Any, resp: Any) -> None:
        await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        raise self.error

    async def process_request(self, req: Any, resp: Any) -> None:
        if req.path == "/v1/middle":
            raise self.error


@pytest.fixture
def handled_interrupts() -> Iterator[None]:
    """SIGINT is handled as servers do it, so that a KeyboardInterrupt can only be a plugin's own."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_a_resource_that_leaves_costs_its_request_alone(
    make_server: Make, connect: Connect, error: BaseException
) -> None:
    class Plugin:
        @hookimpl
        def mix_routes(self, app: Any, server: Server) -> None:
            app.add_route("/v1/leaves", Leaves(error))

        @hookimpl
        def mix_middleware(self) -> Any:
            return Leaves(error)

    server = make_server()
    server.kernel.manager.register(Plugin(), "leaves")
    async with connect(server) as client:
        for answer in (
            await client.get("/v1/leaves"), await client.post("/v1/leaves"), await client.get("/v1/middle")
        ):  # fmt: skip
            assert (answer.status_code, answer.json()["ok"]) == (500, False)
        assert (await client.get("/v1/ws")).status_code == 200


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_a_storage_that_leaves_costs_its_call_alone(
    make_server: Make, connect: Connect, error: BaseException
) -> None:
    def leave() -> None:
        raise error

    server = make_server()
    async with connect(server):
        for call in (server.databases.call, server.databases.look_up):
            with pytest.raises(StorageError, match=f"the storage failed: {type(error).__name__}"):
                await call(leave)
        assert await server.databases.call(lambda: 1) == 1


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("hook", ["mix_routes", "mix_middleware"])
async def test_a_hook_that_leaves_is_named(make_server: Make, connect: Connect, hook: str) -> None:
    class Plugin:
        @hookimpl
        def mix_routes(self, app: Any, server: Server) -> None:
            sys.exit(0) if hook == "mix_routes" else None

        @hookimpl
        def mix_middleware(self) -> Any:
            return sys.exit(0) if hook == "mix_middleware" else []

    server = make_server()
    server.kernel.manager.register(Plugin(), "leaves")
    with pytest.raises(PluginError, match=f"plugin 'leaves': {hook} failed: SystemExit: 0"):
        async with connect(server):
            pass


def test_doctor_says_what_was_granted_and_what_is_kept(make_server: Make, tmp_path: Path) -> None:
    server = make_server()

    def found(name: str) -> tuple[str, str]:
        (check,) = [check for check in checks(server.kernel) if check.name == name]
        return check.level, check.message

    assert found("server grants") == ("ok", "0 in 1 workspaces; `mixkit perms list --ws WS` has them")
    server.grants.add("w", "all-users", "editor", "workspace", None)
    server.grants.add("w", "anonymous", "runner", "db/demo", None)
    assert found("server grants")[0] == "ok" and found("server grants")[1].startswith("2 in 1 workspaces")
    server.grants.add("w", "anonymous", "editor", "db/demo", None)
    level, message = found("server grants")
    assert level == "warning" and "everybody, without a token, is editor of db/demo in w; 3 in" in message
    assert found("server activities")[1].startswith("the newest 100000 of each workspace, for 90 days")


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, {}),
        ({"settings.server.token": "x" * 20}, {}),
        ({"settings.server.token": "short"}, {"server authentication": "error"}),
        ({"settings.server.no_auth": True}, {"server authentication": "warning"}),
        ({"settings.server.ws_dir": "/proc/version/x"}, {"server workspaces": "error"}),
        ({"settings.server.serve_files_from": "/nothing/there"}, {"server files": "error"}),
        ({"settings.server.cors_origins": ["*"]}, {"server origins": "warning"}),
        ({"settings.server.cors_origins": ["a.org"]}, {"server origins": "error"}),
        ({"limits.wall_time": 301}, {"server timeout": "error"}),
        pytest.param(
            {"settings.server.max_waiting_runs": 1 << 40},
            {"server runs": "warning"},
            marks=pytest.mark.skipif(not Path("/proc/sys/vm/max_map_count").exists(), reason="Linux only"),
        ),
    ],
)
def test_doctor(tmp_path: Path, settings: dict[str, Any], wrong: dict[str, str]) -> None:
    overrides = {"settings.server.ws_dir": str(tmp_path / "new")} | settings
    with Kernel("agent_server", overrides=overrides, environ={}) as kernel:
        found = checks(kernel)
    assert {check.name: check.level for check in found if check.level != "ok"} == wrong
    assert all(check.remedy for check in found if check.level != "ok")
    assert not (tmp_path / "new").exists()
