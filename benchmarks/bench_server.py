"""`mixkit serve`: warm runs of a small agent over HTTP, beside a bare Falcon echo under the same HTTP server.

    python benchmarks/bench_server.py [--json] [--rounds N]     requests per second
    python benchmarks/bench_server.py --size 10000              the same with so many bytes of JSON in and out
    python benchmarks/bench_server.py --mix                     the same with an agent in Mix, which greets
    python benchmarks/bench_server.py --soak 10000              resident memory before and after so many runs

Each server is one process, the load comes from this one, over loopback, on connections that are kept. The servers
take turns; of each the median round counts, and `ratio` is that over the echo's: above 0.6 is the target.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from load import measure, processor_time

TOKEN = "a-token-of-the-benchmark"
PATH = "/v1/ws/w/app/bench/agent/echo"
GUEST = """
(module
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (func (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n)))))
"""


GREET = """\
module echo(p: data)
  _meta_ { inParams: {name: "string", n: "int"}, outParams: {text: "string"} }
  import string
  cell output = { text: "Good day, " + string.capitalize(p.name) }
module end
"""


def body_of(size: int) -> bytes:
    """JSON of about so many bytes, as records are; a small map for 0."""
    if not size:
        return json.dumps({"name": "Ada", "n": 42}).encode()
    records: list[dict[str, Any]] = []
    while len(text := json.dumps({"records": records})) < size:
        n = len(records)
        price = round(n * 1.37 % 100, 2)
        note, tags = "as good as new", ["a", "b"]
        records.append(
            {"id": n, "name": f"item {n}", "price": price, "tags": tags, "note": note, "sold": n % 3 == 0}
        )
    return text.encode()


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON, as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run_echo() -> None:
    """The peer: a bare Falcon application that answers the JSON that it gets. Says its address on stderr."""
    import falcon.asgi
    import uvicorn
    from mix_server.serve import bind

    class Echo:
        async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
            resp.media = await req.get_media()

    app: Any = falcon.asgi.App()
    app.add_route("/echo", Echo())
    listener = bind("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    options: dict[str, Any] = {"loop": "uvloop", "http": "httptools", "ws": "none", "log_config": None}
    config = uvicorn.Config(app, access_log=False, server_header=False, proxy_headers=False, **options)
    uvicorn.Server(config).run([listener])


@contextmanager
def process(*command: str, env: dict[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its pid and port."""
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    assert child.stderr is not None
    try:
        line = child.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if not found:
            raise RuntimeError(f"expected the address of the server, found {line + child.stderr.read()!r}")
        yield child.pid, int(found[1])
    finally:
        child.terminate()
        child.wait(30)
        child.stderr.close()


@contextmanager
def mixkit(directory: str, mix: bool = False, **settings: str) -> Iterator[tuple[int, int]]:
    """`mixkit serve` with the agent installed, of Wasm or of Mix; keywords are variables of its environment."""
    from mix_lang.compiler import build
    from wasmtime import wat2wasm

    from mixkit import Kernel
    from mixkit.package import Package, WorkspaceStore
    from mixkit.package.build import pack

    code = "code/bench/" + ("echo.mixexe" if mix else "guest.wasm")
    apps = {"bench": {"agents": {"echo": {"code": code}}}}
    manifest = {"format": 3, "name": "bench", "version": "1", "kind": "app", "apps": apps}
    entries = {
        "manifest.json": lambda: json.dumps(manifest).encode(),
        code: lambda: build({"echo.mix": GREET})[0] if mix else bytes(wat2wasm(GUEST)),
    }
    with Kernel("agent_server") as kernel:
        store = WorkspaceStore(Path(directory), kernel.databases)
        store.create("w").install(Package.open(pack(entries)))
    command = (sys.executable, "-m", "mixkit", "serve", "--port", "0", "--ws-dir", directory)
    with process(*command, env={"MIXKIT_SERVER_TOKEN": TOKEN, **settings}) as found:
        yield found


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each server."""
    body = body_of(args.size)
    rounds: dict[str, list[tuple[float, list[float], float]]] = {"falcon echo": [], "mixkit run": []}
    with (
        tempfile.TemporaryDirectory() as directory,
        process(sys.executable, __file__, "--echo") as echo,
        mixkit(directory, args.mix) as ours,
    ):
        targets = {"falcon echo": (*echo, "/echo"), "mixkit run": (*ours, PATH)}
        for _, port, path in targets.values():
            measure(port, request(path, body), 1000, args.seconds, args.connections)
        for _ in range(args.rounds):
            for name, (pid, port, path) in targets.items():
                before = processor_time(pid)
                rate, times = measure(port, request(path, body), args.count, args.seconds, args.connections)
                rounds[name].append((rate, times, (processor_time(pid) - before) / len(times)))
    rows: list[dict[str, Any]] = []
    for name, found in rounds.items():
        times = sorted(second for _, seconds, _ in found for second in seconds)
        rate = statistics.median(rate for rate, _, _ in found)
        rows.append(
            {
                "server": name,
                "requests_per_second": round(rate),
                "cpu_us": round(statistics.median(cpu for _, _, cpu in found) * 1e6),
                "p50_ms": round(times[len(times) // 2] * 1000, 2),
                "p99_ms": round(times[len(times) * 99 // 100] * 1000, 2),
                "ratio": round(rate / (rows[0]["requests_per_second"] if rows else rate), 2),
            }
        )
    return rows


def soak(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Resident memory must not grow with the number of runs."""
    sent = request(PATH, body_of(args.size))
    with tempfile.TemporaryDirectory() as directory, mixkit(directory) as (pid, port):
        measure(port, sent, 2000, 60, args.connections)
        before = resident(pid)
        rate, times = measure(port, sent, args.soak, 600, args.connections)
        after = resident(pid)
    return [
        {
            "runs": len(times),
            "requests_per_second": round(rate),
            "resident_before_kib": before,
            "resident_after_kib": after,
            "growth_bytes_a_run": round((after - before) * 1024 / len(times), 1),
        }
    ]


def resident(pid: int) -> int:
    """Resident memory of a process in KiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="requests of a round, at most")
    parser.add_argument("--seconds", type=float, default=3.0, help="time of a round, at most")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument(
        "--size", type=int, default=0, help="bytes of JSON in a request; a small map by default"
    )
    parser.add_argument("--mix", action="store_true", help="an agent in Mix")
    parser.add_argument("--soak", type=int, metavar="RUNS")
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.echo:
        run_echo()
        return
    rows = soak(args) if args.soak else compare(args)
    if args.json:
        print(json.dumps(rows))
        return
    widths = [max(len(key), 12) for key in rows[0]]
    print("  ".join(key.rjust(width) for key, width in zip(rows[0], widths, strict=True)))
    for row in rows:
        print("  ".join(str(cell).rjust(width) for cell, width in zip(row.values(), widths, strict=True)))


if __name__ == "__main__":
    main()
