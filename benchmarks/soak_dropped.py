"""Runs dropped at random moments: nothing of them may remain, and nothing may crash.

    python benchmarks/soak_dropped.py [--drops N] [--requests N] [--stops N] [--seed N]

`--drops` runs of this process are cancelled, reach their deadline, or lose their event loop, while they wait, compute,
take memory, call FFIs or other agents. `--requests` of one `mixkit serve` lose their client, by a close or a reset of
the connection, or reach their deadline. `--stops` such servers are stopped while runs wait in them. What a process
holds is looked at all the while: resident memory, handles, mappings, threads, and the memory of its guests.
Exits with 1 if any of that has grown from the first quarter to the end, or a server did not stop as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

TOKEN = "a-token-of-the-soak"
AT_ONCE = 50
EPISODE = 500
WALL_TIME = 0.15
START = STOP = 120
"""Seconds that a server may take for it."""
RESET = struct.pack("ii", 1, 0)
"""Of SO_LINGER: what has not been sent is thrown away, and the other side is told so."""

GUEST = r"""
(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (data (i32.const 64) "$core_sleep") (data (i32.const 80) "$core_now") (data (i32.const 96) "$core_agent_call")
  (data (i32.const 120) "\09\00\00\00")
  (func $alloc (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))) (then (unreachable)))
    (local.get $at))
  (func $pair (param $ptr i32) (param $len i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len))))
  (func $call (param $name i32) (param $name_len i32) (param $args i32) (param $len i32) (result i64)
    (local $size i32) (local $at i32)
    (local.set $size (call $ffi (local.get $name) (local.get $name_len) (local.get $args) (local.get $len)))
    (local.set $at (call $alloc (local.get $size)))
    (call $take (local.get $at))
    (call $pair (local.get $at) (local.get $size)))
  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64) (call $pair (local.get $p) (local.get $n)))
  (func (export "mix_entry_sleep") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 64) (i32.const 11) (local.get $p) (local.get $n)))
  (func (export "mix_entry_call") (param $p i32) (param $n i32) (result i64)
    (call $call (i32.const 96) (i32.const 16) (local.get $p) (local.get $n)))
  (func (export "mix_entry_spin") (param i32 i32) (result i64) (loop $again (br $again)) (unreachable))
  (func (export "mix_entry_grow") (param i32 i32) (result i64)
    (loop $more (drop (memory.grow (i32.const 16)))
      (memory.fill (i32.const 65536) (i32.const 1) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)))
      (br $more)) (unreachable))
  (func (export "mix_entry_ask") (param i32 i32) (result i64)
    (loop $again (drop (call $ffi (i32.const 80) (i32.const 9) (i32.const 120) (i32.const 4))) (br $again))
    (unreachable))
  (global i32 (i32.const {number})))
"""
ENTRIES = ("echo", "sleep", "call", "spin", "grow", "ask")


def codes() -> tuple[bytes, bytes]:
    """Two modules with all entries: guests that take much memory may be treated in a way of their own."""
    from wasmtime import wat2wasm

    return bytes(wat2wasm(GUEST.replace("{number}", "0"))), bytes(wat2wasm(GUEST.replace("{number}", "1")))


@dataclass(frozen=True)
class Held:
    """What a process holds; `guests` is the memory of its guests, where it can be asked."""

    resident: int
    handles: int
    mappings: int
    threads: int
    guests: int = 0

    @classmethod
    def of(cls, pid: int, guests: int = 0) -> Held:
        folder = Path(f"/proc/{pid}")
        return cls(
            int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            len(list((folder / "fd").iterdir())),
            (folder / "maps").read_text().count("\n"),
            len(list((folder / "task").iterdir())),
            guests,
        )


MAY_GROW = Held(resident=16 << 20, handles=8, mappings=300, threads=4, guests=32 << 20)
"""By chance: arenas of the allocator, instances that wait for the next run."""


def grown(samples: list[Held]) -> list[str]:
    """A line for each kind of thing of which there is more at the end than in the second quarter."""
    quarter = max(1, len(samples) // 4)
    found = []
    for field in fields(Held):
        values = [getattr(sample, field.name) for sample in samples]
        before, after = (
            statistics.median(part) for part in (values[quarter : 2 * quarter] or values, values[-quarter:])
        )
        line = f"  {field.name:10} {before:14,.0f} → {after:14,.0f}"
        print(line)
        if after - before > getattr(MAY_GROW, field.name):
            found.append(line)
    return found


# -- in this process -------------------------------------------------------------------------------------


def what(order: random.Random) -> tuple[str, Any]:
    """An entry, mostly one that waits, and its parameters."""
    match order.random():
        case x if x < 0.005:
            return "grow", None
        case x if x < 0.01:
            return "spin", None
        case x if x < 0.02:
            return "ask", None
        case x if x < 0.3:
            return "call", ["sleep", [order.randrange(60)]]
    return "sleep", [order.randrange(60)]


def in_process(drops: int, order: random.Random) -> list[str]:
    """Episodes, each on an event loop of its own that ends while runs are under way; a new kernel now and then."""
    from mixkit import Kernel, State
    from mixkit.errors import CancelledRun, RunError
    from mixkit.grants import ALL
    from mixkit.job import Agents, Target
    from mixkit.limits import Limits

    samples: list[Held] = []
    ends = dict.fromkeys(("answered", "failed", "cancelled"), 0)

    async def one(kernel: Kernel, programs: list[Any]) -> None:
        async def resolve(state: State, name: str) -> Target:
            return Target(programs[0], name, grants=ALL)

        entry, params = what(order)
        program = programs[entry == "grow"]
        limits = Limits(wall_time=order.choice((0.002, 0.01, 0.03, 5)), memory=32 << 20)
        try:
            async with asyncio.timeout(order.random() * 0.06):
                await kernel.run(program, entry, params, limits=limits, grants=ALL, agents=Agents(resolve))
            ends["answered"] += 1
        except (RunError, CancelledRun):
            ends["failed"] += 1
        except TimeoutError:
            ends["cancelled"] += 1

    async def episode(kernel: Kernel, programs: list[Any], count: int) -> None:
        left = count

        async def some() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await one(kernel, programs)

        tasks = [asyncio.ensure_future(some()) for _ in range(AT_ONCE)]
        # The loop ends while the last ones are under way.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    done = 0
    while done < drops:
        with Kernel("test", environ={}) as kernel:
            programs = [kernel.load(code) for code in codes()]
            for _ in range(20):
                if done >= drops:
                    break
                asyncio.run(episode(kernel, programs, EPISODE))
                done += EPISODE
                gc.collect()
                samples.append(Held.of(os.getpid(), kernel.memory_in_use))
            if kernel.run_sync(programs[0], "echo", 7).value != 7:
                return ["  an agent no longer answers"]
    print(f"{done} runs of one process: {ends}")
    return grown(samples)


# -- of a server -----------------------------------------------------------------------------------------


@contextmanager
def installed() -> Iterator[str]:
    """A directory of workspaces, in which `w` has the agents."""
    from mixkit import Kernel
    from mixkit.package import Package, WorkspaceStore
    from mixkit.package.build import pack

    small, large = codes()
    agents = {
        name: {"code": f"code/soak/{'large' if name == 'grow' else 'small'}.wasm", "entry": name}
        for name in ENTRIES
    }
    manifest = {
        "format": 3, "name": "soak", "version": "1", "kind": "app", "apps": {"soak": {"agents": agents}},
        "grants": {"ffis": ["$core_*"]},
    }  # fmt: skip
    entries = {
        "manifest.json": lambda: json.dumps(manifest).encode(),
        "code/soak/small.wasm": lambda: small,
        "code/soak/large.wasm": lambda: large,
    }
    with tempfile.TemporaryDirectory() as directory:
        with Kernel("agent_server") as kernel:
            store = WorkspaceStore(Path(directory), kernel.databases)
            store.create("w").install(Package.open(pack(entries)))
        yield directory


@contextmanager
def served(directory: str, **variables: str) -> Iterator[tuple[int, int]]:
    """`mixkit serve`: its pid and port. Raises `RuntimeError` if it ends with something else than 0."""
    command = (sys.executable, "-m", "mixkit", "serve", "--port", "0", "--ws-dir", directory)
    environment = {
        "MIXKIT_SERVER_TOKEN": TOKEN,
        "MIXKIT_LIMITS_MEMORY": str(32 << 20),
        "MIXKIT_SERVER_MAX_WAITING": "1000",
        **variables,
    }
    # In a file: a pipe that nobody reads would stop the server.
    with (Path(directory) / "log").open("w+") as log:
        child = subprocess.Popen(command, stderr=log, env={**os.environ, **environment})
        try:
            yield child.pid, _port(child, Path(log.name))
        finally:
            if child.poll() is None:
                child.terminate()
            if child.wait(STOP) != 0:
                raise RuntimeError(
                    f"the server ended with {child.returncode}: {Path(log.name).read_text()[-2000:]}"
                )


def _port(child: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START
    while child.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError(f"expected the address of the server, found {log.read_text()!r}")


async def ask(port: int, entry: str, params: Any, drop: float | None, reset: bool = False) -> bytes:
    """The start of the answer; b"" where the client went away after `drop` seconds, or the server did."""
    body = json.dumps(params).encode()
    head = (
        f"POST /v1/ws/w/app/soak/agent/{entry} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + body)
        try:
            async with asyncio.timeout(drop):
                return await reader.read(64)
        except TimeoutError:
            if reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return b""
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def clients_gone(directory: str, requests: int, order: random.Random) -> list[str]:
    samples: list[Held] = []
    ends: dict[str, int] = {}
    left = requests

    async def some(pid: int, port: int) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if left % EPISODE == 0:
                samples.append(Held.of(pid))
            entry, params = what(order)
            drop = None if order.random() < 0.1 else order.random() * 0.08
            answer = await ask(port, entry, params, drop, reset=order.random() < 0.5)
            status = answer[9:12].decode() or "gone"
            ends[status] = ends.get(status, 0) + 1

    async def main(pid: int, port: int) -> bytes:
        await asyncio.gather(*(some(pid, port) for _ in range(AT_ONCE)))
        await asyncio.sleep(2 * WALL_TIME)
        return await ask(port, "echo", 7, None)

    with served(directory, MIXKIT_LIMITS_WALL_TIME=str(WALL_TIME)) as (pid, port):
        last = asyncio.run(main(pid, port))
    print(f"{requests} requests to one server: {ends}")
    found = grown(samples)
    return (
        found if last.startswith(b"HTTP/1.1 200") else [*found, f"  expected 200 at the end, found {last!r}"]
    )


def stops(directory: str, count: int, order: random.Random) -> None:
    async def main(pid: int, port: int) -> None:
        # It listens before it is ready to be stopped.
        await ask(port, "echo", 7, None)
        tasks = [
            asyncio.ensure_future(ask(port, "sleep", [60_000], None))
            if order.random() < 0.9
            else asyncio.ensure_future(ask(port, *what(order), None))
            for _ in range(2 * AT_ONCE)
        ]
        await asyncio.sleep(0.1 + order.random() * 0.4)
        os.kill(pid, signal.SIGTERM)
        await asyncio.gather(*tasks)
        # Until it has ended: to be told twice, it would take for haste.
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    for _ in range(count):
        with served(directory, MIXKIT_SERVER_GRACE_PERIOD="0.5") as (pid, port):
            asyncio.run(main(pid, port))
    print(f"{count} servers stopped while runs waited")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drops", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    print(f"--seed {args.seed}", flush=True)
    order = random.Random(args.seed)
    found = in_process(args.drops, order) if args.drops else []
    if args.requests or args.stops:
        with installed() as directory:
            if args.requests:
                found += clients_gone(directory, args.requests, order)
            if args.stops:
                stops(directory, args.stops, order)
    if found:
        print("\n".join(("what must be flat has grown, or failed:", *found)), file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
