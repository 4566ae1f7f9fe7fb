"""A signal that is settled in one process and awaited in another: how long until who waits goes on.

    python benchmarks/bench_signals.py [--count N] [--waiters N] [--json]

Both have the same workspace, as two workers of a server. `wake_ms` is the time from the call that settles to when the
other goes on, which is the commit with its flush to the disk, and the waking; `settle_ms` is the former alone. The
median and the worst of `--count`; beside it `--waiters` others wait for other signals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mixkit import Kernel
from mixkit.package import WorkspaceStore
from mixkit.signals import Owner, Signals
from mixkit.value import ok

PAUSE = 0.2
"""Seconds for which a signal is awaited before it is settled."""
ME = Owner("w", "demo", "ada@example.org", "demo.1")


def signals_in(kernel: Kernel, directory: str) -> Signals:
    store = WorkspaceStore(Path(directory), kernel.databases)
    if "w" not in store.list():
        store.create("w")
    kernel.share_bus(Path(directory) / ".bus")
    kernel.keep_signals(lambda name, make: store.workspace(name).signals(make=make))
    return kernel.signals


async def await_all(signals: Signals, count: int, waiters: int) -> None:
    """The other process: makes signals, tells their ids, and says when it goes on."""
    others = [asyncio.create_task(signals.wait([await signals.create(ME)], ME, 300)) for _ in range(waiters)]
    for _ in range(count):
        id = await signals.create(ME)
        waiting = asyncio.create_task(signals.wait([id], ME, 60))
        # Long enough that whoever looks from time to time does so seldom.
        await asyncio.sleep(PAUSE)
        print(id, flush=True)
        await waiting
        print(time.monotonic(), flush=True)
    for other in others:
        other.cancel()


async def settle_all(signals: Signals, child: Any, count: int) -> tuple[list[float], list[float]]:
    wakes, settles = [], []
    for _ in range(count):
        id = (await asyncio.to_thread(child.stdout.readline)).strip()
        began = time.monotonic()
        await signals.settle(id, ok("x"))
        settles.append(time.monotonic() - began)
        wakes.append(float(await asyncio.to_thread(child.stdout.readline)) - began)
    return wakes, settles


def measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory, Kernel("agent_server") as kernel:
        signals = signals_in(kernel, directory)
        command = [sys.executable, __file__, "--child", directory, "--count", str(args.count)]
        command += ["--waiters", str(args.waiters)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            wakes, settles = asyncio.run(settle_all(signals, child, args.count))
    row: dict[str, Any] = {"count": args.count, "waiters": args.waiters}
    for name, times in (("wake", wakes), ("settle", settles)):
        row[f"{name}_ms"] = round(statistics.median(times) * 1000, 1)
        row[f"{name}_worst_ms"] = round(max(times) * 1000, 1)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--waiters", type=int, default=100)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.child:
        with Kernel("agent_server") as kernel:
            asyncio.run(await_all(signals_in(kernel, args.child), args.count, args.waiters))
        return
    row = measure(args)
    if args.json:
        print(json.dumps(row))
        return
    print("  ".join(key.rjust(max(len(key), 9)) for key in row))
    print("  ".join(str(cell).rjust(max(len(key), 9)) for key, cell in row.items()))


if __name__ == "__main__":
    main()
