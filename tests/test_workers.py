"""Four workers of a server that was loaded before they were forked use every plugin at once: each has its own connections,
nothing is delivered twice or lost, and what one stores the others have."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from wasmtime import wat2wasm
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server as WebSocketServer
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from mixkit.kernel import Kernel
from mixkit.package import Package, WorkspaceStore
from mixkit.package.build import pack

pytest.importorskip("ziglang")
pytestmark = pytest.mark.slow

WORKERS = 4
RUNS = 40
DEADLINE = 90.0
TOKEN = "a-token-of-some-length-for-tests"
ADDER = bytes(
    wat2wasm(
        '(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))'
    )
)


class Owners:
    """Which processes hold the other end of a connection that came in on loopback."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, int], set[int]] = {}
        self.served: Counter[int] = Counter()
        self._lock = threading.Lock()

    def note(self, kind: str, port: int, server: int, parent: int) -> None:
        """A request came over the connection from that port to that of the server."""
        holders = _holders(port, server, [parent, *_children(parent)])
        with self._lock:
            self.found.setdefault((kind, port), set()).update(holders)
            self.served.update(holders)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _holders(port: int, server: int, pids: list[int]) -> set[int]:
    here = f"{struct.unpack('=I', socket.inet_aton('127.0.0.1'))[0]:08X}"
    ends = [f"{here}:{port:04X}", f"{here}:{server:04X}"]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    nodes = {f"socket:[{row[9]}]" for row in rows if row[1:3] == ends}
    holders = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if str(descriptor.readlink()) in nodes:
                    holders.add(pid)
            except FileNotFoundError:
                continue
    return holders


class Outside:
    """What the agents reach: an HTTP server and a WebSocket server that count what they are told."""

    def __init__(self) -> None:
        self.owners = Owners()
        self.said: Counter[str] = Counter()
        self.parent = 0
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outside._heard("http", self.client_address[1], self.path.removeprefix("/"))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.ws: WebSocketServer = serve_websockets(self._echo, "127.0.0.1", 0)
        for server in (self.http, self.ws):
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def _heard(self, kind: str, port: int, text: str) -> None:
        server = self.http if kind == "http" else self.ws
        self.owners.note(kind, port, server.socket.getsockname()[1], self.parent)
        self.said[f"{kind} {text}"] += 1

    def _echo(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                self._heard("ws", connection.remote_address[1], str(message))
                connection.send(message)
        except ConnectionClosed:
            pass

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.ws.shutdown()


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.close()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from mix_wasm.build import build

    out = tmp_path_factory.mktemp("steps") / "steps.wasm"
    return build(Path(__file__).parent / "guests" / "steps.c", out).read_bytes()


@pytest.fixture
def server(tmp_path: Path, agent: bytes, outside: Outside) -> Iterator[httpx.Client]:
    """Gunicorn with four workers and the app `all`, which may do everything."""
    manifest = {
        "format": 3,
        "name": "all",
        "version": "1.0",
        "kind": "app",
        "apps": {"all": {"agents": {name: {"code": "code/all/steps.wasm"} for name in ("steps", "collect")}}},
        "grants": {"ffis": ["*"]},
    }
    entries = {
        "manifest.json": partial(json.dumps(manifest).encode),
        "code/all/steps.wasm": partial(bytes, agent),
        "code/all/adder.wasm": partial(bytes, ADDER),
    }
    with Kernel("agent_server", environ={}) as kernel:
        WorkspaceStore(tmp_path / "ws", kernel.databases).create("w").install(Package.open(pack(entries)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    variables = {
        "MIXKIT_SERVER_WS_DIR": str(tmp_path / "ws"),
        "MIXKIT_SERVER_TOKEN": TOKEN,
        "MIXKIT_HTTP_DANGEROUS_HTTP_MODE": "true",
        "MIXKIT_WS_DANGEROUS_WS_MODE": "true",
    }
    command = [
        "gunicorn",
        "-k",
        "uvicorn_worker.UvicornWorker",
        "--bind",
        f"127.0.0.1:{port}",
        "--no-control-socket",
    ]
    errors = (tmp_path / "stderr").open("w+")
    child = subprocess.Popen(
        [sys.executable, "-m", *command, "-w", str(WORKERS), "--preload", "mix_server.asgi:app"],
        env={**clean, **variables}, stdout=subprocess.DEVNULL, stderr=errors,
    )  # fmt: skip
    outside.parent = child.pid
    limits = httpx.Limits(max_keepalive_connections=0)
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=DEADLINE,
        limits=limits,
    )
    try:
        deadline = time.monotonic() + DEADLINE
        while len(_children(child.pid)) < WORKERS or not _is_ready(client):
            assert child.poll() is None and time.monotonic() < deadline, Path(errors.name).read_text()
            time.sleep(0.1)
        yield client
        workers = _children(child.pid)
    finally:
        client.close()
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        errors.close()
    assert len(workers) == WORKERS
    said = (tmp_path / "stderr").read_text()
    assert "Traceback" not in said, said


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def call(client: httpx.Client, entry: str, **params: Any) -> Any:
    answer = client.post(f"/v1/ws/w/app/all/agent/{entry}", json=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def step(ffi: str, *args: Any, quiet: bool = False) -> dict[str, Any]:
    return {"ffi": ffi, "args": list(args), **({"quiet": True} if quiet else {})}


def run(client: httpx.Client, outside: Outside, number: int) -> Any:
    """One agent that uses every plugin."""
    home, ws = (server.socket.getsockname()[1] for server in (outside.http, outside.ws))
    text = f"run {number}"
    steps = [
        step("$http_do", {"url": f"http://127.0.0.1:{home}/{number}"}),
        step("$ws_connect", {"url": f"ws://127.0.0.1:{ws}/"}, quiet=True),
        step("$ws_send", {"of": 1, "key": "socket"}, text),
        step("$ws_receive", {"of": 1, "key": "socket"}, 20_000),
        step("$mqtt_publish", f"seen/{number}", text),
        step("$db_save_one", None, {"_rmx_type": "seen", "n": number}),
        step("$duckdb_execute", "seen", f"insert into seen values ({number})"),
        step("$crypto_sha256", text),
        step("$wasm_load", "adder.wasm", quiet=True),
        step("$wasm_call", {"of": 8, "key": "module"}, "add", [number, 1]),
        step("$file_create", f"/seen/{number}.txt", text),
        step("$file_read", f"/seen/{number}.txt"),
    ]
    return call(client, "steps", steps=steps)


def test_all_workers_use_every_plugin_at_once(server: httpx.Client, outside: Outside) -> None:
    call(server, "steps", steps=[step("$duckdb_execute", "seen", "create table seen (n int)")])
    with ThreadPoolExecutor(16) as pool:
        # Those that listen, in whichever workers; they leave a file when they do.
        call_collect = partial(call, server, "collect", filter="seen/+", count=RUNS)
        collecting = [pool.submit(call_collect, ready=f"/ready/{number}") for number in range(WORKERS)]
        while len(_files(server, "/ready")) < WORKERS and not any(found.done() for found in collecting):
            time.sleep(0.1)
        answers = list(pool.map(partial(run, server, outside), range(RUNS)))
        heard = [found.result(DEADLINE) for found in collecting]
    for number, answer in enumerate(answers):
        http, _, sent, received, published, saved, inserted, digest, _, added, created, read = answer
        assert http["status"] == 200, http
        assert f"run {number}" in json.dumps(_ok(received))
        for answer in (sent, published, inserted, created):
            _ok(answer)
        assert (saved["n"], len(digest), _ok(added)) == (number, 64, number + 1)
        assert b64decode(_ok(read)["data"]["_rmx_value"]) == f"run {number}".encode()
    expected = {f"run {number}" for number in range(RUNS)}
    for messages in heard:
        assert sorted(messages) == sorted(expected), "each message once, to each who listens"
    assert outside.said == Counter(
        {f"http {n}": 1 for n in range(RUNS)} | {f"ws run {n}": 1 for n in range(RUNS)}
    )
    shared = {
        connection: holders for connection, holders in outside.owners.found.items() if len(holders) != 1
    }
    assert not shared, "a connection belongs to one process"
    assert len(outside.owners.served) > 1, "more than one worker was at it"
    queried = [
        step("$duckdb_query", "seen", "select count(*) as n, count(distinct n) as m from seen"),
        step("$db_execute", None, '"_rmx_type" == "seen"'),
        step("$db_execute_next", {"of": 1}),
    ]
    rows, _, records = call(server, "steps", steps=queried)
    assert _ok(rows)["rows"] == [{"n": RUNS, "m": RUNS}]
    assert sorted(record["n"] for record in records) == list(range(RUNS))
    assert len(_files(server, "/seen")) == RUNS


def _files(client: httpx.Client, folder: str) -> list[Any]:
    (answer,) = call(client, "steps", steps=[step("$file_list", folder)])
    files: list[Any] = _ok(answer)["files"]
    return files


def _ok(answer: Any) -> Any:
    """What is in an `ok(…)` or another case, as tagged JSON has it."""
    assert answer["_rmx_type"] != "{tag}case:error", answer
    return answer["_rmx_value"]
