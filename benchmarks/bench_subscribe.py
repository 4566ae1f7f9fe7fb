"""Many clients of one topic on one worker: how long until all have a message, and what each of them costs.

    python benchmarks/bench_subscribe.py [--clients N] [--messages N] [--json]

`mixkit serve` is a process of its own with one worker, this one its clients and the publisher, by the bus that workers
share. `all_ms` is the time from publishing until the last client has all of the message, the best and the median of
the messages; `cpu_ms` is the server's processor time for one, and `each_kib` its resident memory for a client, without
what the kernel of the system keeps for connections.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import select
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_server import TOKEN, mixkit, resident
from load import processor_time

from mixkit.shared_bus import SharedBus

TOPIC = "mixkit/app/w/bench/room"
PATH = "/v1/subscribe/$app/room?ws=w&app=bench"
LONGEST = 60.0
AT_ONCE = 100
"""Clients that connect at the same time."""


class Clients:
    """Connections of which all bytes are read."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._seen: dict[int, bytes] = {}

    def add(self, count: int) -> None:
        """So many more, who have been told where the topic is."""
        head = (f"GET {PATH} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", "", "")
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", self._port))
            connection.sendall("\r\n".join(head).encode())
            connection.setblocking(False)
            self._sockets[connection.fileno()] = connection
            self._seen[connection.fileno()] = b""
            self._poll.register(connection, select.EPOLLIN)
        self.wait(b"\nid: ")

    def wait(self, text: bytes) -> float:
        """Wait until all have got that text; the second at which the last one had."""
        missing = {number for number, seen in self._seen.items() if text not in seen}
        until = time.perf_counter() + LONGEST
        while missing:
            if time.perf_counter() > until:
                raise RuntimeError(f"{len(missing)} of {len(self._seen)} have not got {text!r}")
            for number, _ in self._poll.poll(1.0):
                part = self._sockets[number].recv(65536)
                if not part:
                    raise RuntimeError(f"a connection ended: {self._seen[number][:500]!r}")
                self._seen[number] = self._seen[number][-200:] + part
                if text in self._seen[number]:
                    missing.discard(number)
        return time.perf_counter()

    def close(self) -> None:
        for connection in self._sockets.values():
            connection.close()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    settings = {"MIXKIT_SERVER_MAX_STREAMS": str(args.clients + AT_ONCE), "MIXKIT_SERVER_HEARTBEAT": "30"}
    with tempfile.TemporaryDirectory() as directory, mixkit(directory, **settings) as (pid, port):
        bus = SharedBus(Path(directory) / ".bus")
        clients = Clients(port)
        # What the first of all costs is the server's.
        clients.add(AT_ONCE)
        before = resident(pid)
        began = time.perf_counter()
        for _ in range(args.clients // AT_ONCE):
            clients.add(AT_ONCE)
        connected = time.perf_counter() - began
        held = resident(pid) - before

        async def publish() -> tuple[list[float], float]:
            times = []
            cpu = processor_time(pid)
            for number in range(args.messages):
                text = f"message {number} of the benchmark"
                began = time.perf_counter()
                await bus.publish(TOPIC, text.encode(), text=True)
                times.append(await asyncio.to_thread(clients.wait, text.encode()) - began)
            cpu = processor_time(pid) - cpu
            await bus.close()
            return times, cpu / args.messages

        times, cpu = asyncio.run(publish())
        after = resident(pid) - before
        clients.close()
    return {
        "clients": args.clients,
        "connect_s": round(connected, 1),
        "all_ms": round(min(times) * 1000),
        "median_ms": round(statistics.median(times) * 1000),
        "cpu_ms": round(cpu * 1000),
        "each_kib": round(held / args.clients, 1),
        "after_kib": round(after / args.clients, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--messages", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    row = measure(args)
    if args.json:
        print(json.dumps(row))
        return
    print("  ".join(key.rjust(max(len(key), 9)) for key in row))
    print("  ".join(str(cell).rjust(max(len(key), 9)) for key, cell in row.items()))


if __name__ == "__main__":
    main()
