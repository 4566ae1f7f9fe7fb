"""What the server's tests share: a guest with good and bad agents, packages of it, the application."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from mix_server.app import create_app
from mix_server.openapi import statuses
from mix_server.server import Server
from wasmtime import wat2wasm

from mixkit import Kernel, hookimpl
from mixkit.databases import Databases
from mixkit.filesystem import Files
from mixkit.importing import load_object
from mixkit.package import Package
from mixkit.package.build import pack

TOKEN = "a-token-for-tests-0123456789"

GUEST = r"""
(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (import "mix" "log" (func $log (param i32 i32 i32)))
  (import "mix" "now" (func $now (result f64)))
  (import "mix" "panic" (func $panic (param i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (data (i32.const 64) "$core_env")
  (data (i32.const 80) "$core_sleep")
  (data (i32.const 96) "$core_push_actions")
  (data (i32.const 120) "\09\00\00\00")
  (data (i32.const 128) "\00\00\00\00")
  (data (i32.const 136) "it is broken")
  (data (i32.const 160) "$core_agent_call")
  (func $alloc (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (loop $more
      (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
        (then (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))) (unreachable))))
    (local.get $at))
  (func $pair (param $ptr i32) (param $len i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len))))
  (func $call (param $name i32) (param $name_len i32) (param $args i32) (param $len i32) (result i64)
    (local $size i32) (local $at i32)
    (local.set $size (call $ffi (local.get $name) (local.get $name_len) (local.get $args) (local.get $len)))
    (local.set $at (call $alloc (local.get $size)))
    (call $take (local.get $at))
    (call $pair (local.get $at) (local.get $size)))
  (func $deep (param i32) (result i32)
    (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))

  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64)
    (call $pair (local.get $p) (local.get $n)))
  (func (export "mix_entry_env") (param i32 i32) (result i64)
    (call $call (i32.const 64) (i32.const 9) (i32.const 120) (i32.const 4)))
  (func (export "mix_entry_sleep") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 80) (i32.const 11) (local.get $p) (local.get $n)))
  (func (export "mix_entry_act") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 96) (i32.const 18) (local.get $p) (local.get $n)))
  (func (export "mix_entry_delegate") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 160) (i32.const 16) (local.get $p) (local.get $n)))
  (func (export "mix_entry_undefined") (param i32 i32) (result i64)
    (call $pair (i32.const 128) (i32.const 4)))
  (func (export "mix_entry_spin") (param i32 i32) (result i64)
    (loop $again (br $again)) (unreachable))
  (func (export "mix_entry_bomb") (param i32 i32) (result i64)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable))
  (func (export "mix_entry_deep") (param i32 i32) (result i64)
    (drop (call $deep (i32.const 1))) (unreachable))
  (func (export "mix_entry_trap") (param i32 i32) (result i64)
    (unreachable))
  (func (export "mix_entry_panic") (param i32 i32) (result i64)
    (call $panic (i32.const 136) (i32.const 12)) (unreachable))
  (func (export "mix_entry_chatter") (param i32 i32) (result i64)
    (loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 16384)) (br $again)) (unreachable))
  (func (export "mix_entry_lie") (param i32 i32) (result i64)
    (call $pair (i32.const 16) (i32.const -1)))
  (func (export "mix_entry_hoard") (param i32 i32) (result i64)
    (loop $again
      (drop (call $call (i32.const 64) (i32.const 9) (i32.const 120) (i32.const 4))) (br $again))
    (unreachable))
)
"""
"""`echo`, `env`, `sleep` `[ms]`, `act` `[actions]`, `delegate` `[agent, params]`; and those that end badly."""

ENTRIES = (
    "echo env sleep act delegate undefined spin bomb deep trap panic chatter lie hoard".split()  # noqa: SIM905
)

TYPED = {
    "code": "code/demo/guest.wasm",
    "entry": "echo",
    "description": "Answers what it is given",
    "inParams": {
        "n": "int",
        "x?": "number",
        "flag?": "bool",
        "tags?": "array(string)",
        "mode?": '"a" | "b"',
    },
    "outParams": "map(data)",
}


@pytest.fixture(scope="session")
def guest_code() -> bytes:
    """The guest, compiled to Wasm."""
    return bytes(wat2wasm(GUEST))


@pytest.fixture(scope="session")
def make_package(guest_code: bytes) -> Callable[..., bytes]:
    """Makes a package of the app `demo`: an agent for each entry; keywords change the manifest."""

    def make(
        *,
        code: bytes = guest_code,
        settings: dict[str, Any] | None = None,
        files: dict[str, bytes] | None = None,
        **changes: Any,
    ) -> bytes:
        agents = {name: {"code": "code/demo/guest.wasm"} for name in ENTRIES}
        manifest = {
            "format": 3,
            "name": "demo",
            "version": "1.0.0",
            "kind": "app",
            "apps": {"demo": {"agents": {**agents, "typed": TYPED}}},
            "grants": {"ffis": ["$core_*"]},
        } | changes
        entries = {
            "manifest.json": lambda: json.dumps(manifest).encode(),
            "code/demo/guest.wasm": lambda: code,
        }
        for name, content in (files or {}).items():
            entries[f"files/demo/{name}"] = partial(bytes, content)
        if settings:
            entries["runtime.json"] = lambda: json.dumps(settings).encode()
        return pack(entries)

    return make


@pytest.fixture
def ws_dir(tmp_path: Path) -> Path:
    """Directory of the workspaces."""
    return tmp_path / "workspaces"


@pytest.fixture
def storage() -> str:
    """Import string of what keeps the databases; a module of tests may have another one."""
    return "mix_db.testing.plain:PlainStorage"


class Undocumented:
    """Notes each status that a resource of the server answers and its document does not have."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str, int]] = set()

    @hookimpl
    def mix_middleware(self) -> Any:
        return self

    async def process_response(self, req: Any, resp: Any, resource: Any, succeeded: bool) -> None:
        status = resp.status_code
        # 499 is for the log: nobody gets it. 405 is for methods that are not done, and not documented.
        if (
            type(resource).__module__.startswith("mix_server.resources")
            and hasattr(resource, f"on_{req.method.lower().replace('head', 'get')}")
            and not any(each.others for each in getattr(resource, "methods", {}).values())
            and status not in {405, 499, *statuses(resource, req.method)}
        ):
            self.found.add((type(resource).__name__, req.method, status))


@pytest.fixture
def undocumented() -> Iterator[Undocumented]:
    """What was answered in the test and is not documented: nothing."""
    noted = Undocumented()
    yield noted
    assert not noted.found


@pytest.fixture
def make_server(
    ws_dir: Path, make_package: Callable[..., bytes], storage: str, undocumented: Undocumented
) -> Iterator[Callable[..., Server]]:
    """Makes a server with the app `demo` in the workspace `w`; keywords are settings, or `limits_…`."""
    kernels = []
    kept = load_object(storage)()
    # As far as a test is concerned.
    kept.durable = True

    def make(*, package: bytes | None = None, **settings: Any) -> Server:
        overrides: dict[str, Any] = {"settings.server.ws_dir": str(ws_dir), "settings.server.token": TOKEN}
        for name, value in settings.items():
            limit = name.removeprefix("limits_")
            overrides[f"limits.{limit}" if limit != name else f"settings.server.{name}"] = value
        kernel = Kernel("agent_server", overrides=overrides, environ={})
        # Not the profile's: a storage that is obviously right is no plugin's.
        kernel._databases = Databases(lambda: kept)
        kernels.append(kernel)
        kernel.manager.register(undocumented, "undocumented")
        server = Server(kernel)
        if "w" not in server.store.list():
            server.store.create("w").install(Package.open(package or make_package()))
        return server

    yield make
    for kernel in kernels:
        kernel.close()


@asynccontextmanager
async def _connected(server: Server, token: str | None = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server's application in this process, with the token in every request."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    server.start()
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(server)),  # type: ignore[arg-type]
            base_url="http://127.0.0.1:8000",
            headers=headers,
            timeout=60,
        ) as client:
            yield client
    finally:
        await server.stop()


@pytest.fixture
def connect() -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Makes a client of a server, whose life it spans; with another token or none."""
    return _connected


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """A server with the settings of the tests; `connect` or `client` starts it."""
    return make_server()


@pytest.fixture
def files(server: Server) -> Files:
    """The files of the app demo of its workspace w."""
    return server.kernel.files.open(server.store.workspace("w").place("demo"))


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that server."""
    async with _connected(server) as client:
        yield client


@asynccontextmanager
async def _served(server: Server, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server behind a real socket, as streams need it. uvicorn runs in the test's own loop."""
    config = uvicorn.Config(
        create_app(server), http="httptools", lifespan="on", log_config=None, access_log=False, **options
    )
    http = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        running = asyncio.create_task(http.serve(sockets=[listener]))
        while not http.started:
            assert not running.done(), "the server did not start"
            await asyncio.sleep(0.005)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        try:
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                yield client
        finally:
            http.should_exit = True
            await running


@pytest.fixture
def served() -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Makes a client of a server behind a real socket; keywords are options of uvicorn."""
    return _served


@pytest.fixture
def token() -> str:
    """The token of the servers of these tests."""
    return TOKEN


def _beside(name: str) -> Any:
    """A module of this directory, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def idp() -> Iterator[Any]:
    """An identity provider on loopback: `identity_provider.IdentityProvider`."""
    made = _beside("identity_provider").IdentityProvider()
    yield made
    made.stop()
