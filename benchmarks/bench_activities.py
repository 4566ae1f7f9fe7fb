"""What it costs a request that its run is noted: processor time of this process, with and without, alternately.

    python benchmarks/bench_activities.py

Requests go to the application as the HTTP server hands them over. With and without take turns after a hundred of them,
since a machine is not as fast a second later; each turn is compared with the one before it, and their median counts.
What was noted is written when as many have come as do in the 0.2 s of the server, and that is part of it.
"""

from __future__ import annotations

import asyncio
import operator
import statistics
import tempfile
import time
from typing import Any

from mix_server import middleware as around
from mix_server.app import create_app
from mix_server.server import Server

from mixkit.activities import Activity, Kind, Wanted, now
from mixkit.kernel import Kernel
from mixkit.package import Package
from mixkit.package.build import pack

REQUESTS = 100
ROUNDS = 500
TOGETHER = 20
"""Rounds whose runs are written together: some of 0.2 s."""
NOTED = 2_000
TOKEN = "a-token-for-benchmarks-01"
GUEST = """(module (memory (export "memory") 2)
  (func (export "mix_alloc") (param i32) (result i32) (i32.const 4096))
  (func (export "mix_entry_echo") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"""
MANIFEST = b"""{"format": 3, "name": "demo", "version": "1.0.0", "kind": "app",
  "apps": {"demo": {"agents": {"echo": {"code": "code/demo/guest.wasm"}}}}}"""


async def request(app: Any) -> None:
    """One run, as an HTTP server asks for it."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/ws/w/app/demo/agent/echo",
        "raw_path": b"/v1/ws/w/app/demo/agent/echo",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {TOKEN}".encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"7"),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    events = [{"type": "http.request", "body": b'{"a":1}', "more_body": False}]

    async def receive() -> Any:
        if not events:
            await asyncio.Event().wait()
        return events.pop()

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            assert event["status"] == 200

    await app(scope, receive, send)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        from wasmtime import wat2wasm

        overrides = {"settings.server.ws_dir": f"{folder}/ws", "settings.server.token": TOKEN}
        server = Server(Kernel("agent_server", overrides=overrides, environ={}))
        entries = {"manifest.json": lambda: MANIFEST, "code/demo/guest.wasm": lambda: bytes(wat2wasm(GUEST))}
        server.store.create("w").install(Package.open(pack(entries)))
        app = create_app(server)
        record, activity_of = server.activities.record, around.activity_of  # type: ignore[attr-defined]
        times: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(500):
            await request(app)
        written = 0.0
        for number in range(2 * ROUNDS):
            noted = bool(number % 2)
            around.activity_of = activity_of if noted else lambda resource, method: None  # type: ignore[attr-defined]
            began = time.process_time()
            for _ in range(REQUESTS):
                await request(app)
            times[noted].append((time.process_time() - began) / REQUESTS * 1e6)
            if number % (2 * TOGETHER) == 2 * TOGETHER - 1:
                began = time.process_time()
                server.activities.flush()
                written += time.process_time() - began
        writing = written / (ROUNDS * REQUESTS) * 1e6
        without = statistics.median(times[False])
        more = statistics.median(map(operator.sub, times[True], times[False])) + writing
        print(
            f"a request: {without:.1f} µs; that its run is noted {more:+.2f} µs, {writing:.2f} of them to write it"
        )
        print(f"           {more / without:+.1%}")

        began = time.process_time()
        for _ in range(NOTED):
            record(
                Activity(
                    kind=Kind.RUN, subject="operator", time=now(), workspace="w", app="demo", agent="echo"
                )
            )
        noted_in = (time.process_time() - began) / NOTED * 1e6
        began = time.process_time()
        server.activities.flush()
        print(
            f"to note a run {noted_in:.2f} µs, to write it {(time.process_time() - began) / NOTED * 1e6:.2f} µs"
        )
        began = time.perf_counter()
        for _ in range(20):
            record(Activity(kind=Kind.GRANT, subject="operator", time=now(), workspace="w"))
        print(f"to note a grant, with the disk: {(time.perf_counter() - began) / 20 * 1e3:.2f} ms")
        began = time.process_time()
        found = server.activities.count("w", Wanted())
        print(f"to count {found}: {(time.process_time() - began) * 1e3:.1f} ms")
        await server.stop()


asyncio.run(main())
