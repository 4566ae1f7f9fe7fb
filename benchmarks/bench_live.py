"""Live queries that nobody reads, and one large commit: what a server holds for them, and what it does meanwhile.

    python benchmarks/bench_live.py [--streams N] [--megabytes N] [--distinct] [--json]

`mixkit serve` is a process of its own. `peak` and `held` are resident memory above that before the commit: the most,
and what is left ten seconds after it. `run` is the slowest of the runs that were made one after the other meanwhile,
`health` of `/healthz`. With `--distinct` each stream asks something else.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import tempfile
import threading
import time
from typing import Any
from urllib.parse import urlencode

from bench_server import PATH, TOKEN, body_of, mixkit, resident

APP = "/v1/ws/w/app/bench"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
CALM = 10.0
"""Seconds after the commit in which is looked."""


def follow(port: int, params: dict[str, Any]) -> socket.socket:
    """A live query of which nothing is read but the first event."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    query = urlencode({"query": "n >= $least", "params": json.dumps(params)})
    head = (f"GET {APP}/live?{query} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", "", "")
    connection.sendall("\r\n".join(head).encode())
    seen = b""
    while b'"entered"' not in seen:
        part = connection.recv(65536)
        if not part:
            raise RuntimeError(f"expected an event, found {seen[:500]!r}")
        seen += part
    return connection


class Looking:
    """Asks for the same again and again in a thread; `slowest` is in seconds."""

    def __init__(self, port: int, method: str, path: str) -> None:
        self.slowest = 0.0
        self._request = (method, path)
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        while not self._over.is_set():
            began = time.perf_counter()
            connection.request(*self._request, body_of(0) if self._request[0] == "POST" else None, HEADERS)
            connection.getresponse().read()
            self.slowest = max(self.slowest, time.perf_counter() - began)
            time.sleep(0.01)

    def end(self) -> float:
        self._over.set()
        self._thread.join()
        return self.slowest


def measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory, mixkit(directory) as (pid, port):
        streams = [follow(port, {"least": -n if args.distinct else 0}) for n in range(args.streams)]
        before = peak = resident(pid)
        looking = [Looking(port, "POST", PATH), Looking(port, "GET", "/healthz")]
        records = [{"n": n, "text": "x" * 1_000_000} for n in range(args.megabytes)]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        began = time.perf_counter()
        connection.request("POST", f"{APP}/save?return=ids", json.dumps(records), HEADERS)
        status = connection.getresponse().status
        saved = time.perf_counter() - began
        if status != 200:
            raise RuntimeError(f"expected 200, found {status}")
        while time.perf_counter() - began < CALM:
            peak = max(peak, resident(pid))
            time.sleep(0.01)
        held = resident(pid)
        run, health = (look.end() for look in looking)
        for stream in streams:
            stream.close()
    return {
        "streams": args.streams,
        "megabytes": args.megabytes,
        "distinct": args.distinct,
        "save_s": round(saved, 2),
        "peak_mib": (peak - before) // 1024,
        "held_mib": (held - before) // 1024,
        "run_ms": round(run * 1000),
        "health_ms": round(health * 1000),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--megabytes", type=int, default=15)
    parser.add_argument("--distinct", action="store_true", help="each stream asks something else")
    parser.add_argument("--json", action="store_true", help="print JSON")
    row = measure(parser.parse_args())
    if parser.parse_args().json:
        print(json.dumps(row))
        return
    print("  ".join(key.rjust(max(len(key), 9)) for key in row))
    print("  ".join(str(cell).rjust(max(len(key), 9)) for key, cell in row.items()))


if __name__ == "__main__":
    main()
