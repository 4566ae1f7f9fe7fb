"""Runs that wait: how many at once, what each takes, and what they cost the others.

    python benchmarks/bench_wait.py [--json] [--runs N] [--beside FOLDER]

`--beside` measures another checkout as well, in turn with this one; its C extensions must have been built in place.
Time is that of the process where one thread does the work, so that other load on the machine does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PARAMS = {"text": "x" * 100}
CALLS = 100
LATENCY_SECONDS = 4.0
PAUSE = 0.001
ENDLESS = {"spin": "compute", "take": "take memory", "ask": "call FFIs"}
"""What those do that never end, beside a quick agent and a thousand that wait."""

GUEST = """(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (func (export "mix_alloc") (param i32) (result i32)
    (local $at i32) (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (i32.and (i32.add (local.get 0) (i32.const 7)) (i32.const -8))))
    (local.get $at))
  (func $pair (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64)
    (call $pair (local.get $p) (local.get $n)))
  (func (export "mix_entry_spin") (param $p i32) (param $n i32) (result i64) (loop $l (br $l)) (unreachable))
  (func (export "mix_entry_take") (param $p i32) (param $n i32) (result i64)
    (loop $l (drop (memory.grow (i32.const 16)))
      (memory.fill (i32.const 65536) (i32.const 1) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)))
      (br $l)) (unreachable))
  %s)"""


def calling(entry: str, name: str, at: int, *args: Any) -> str:
    """An entry that calls an FFI `CALLS` times, or once if it is to wait."""
    from mixkit import codec

    words = codec.encode(list(args))
    text = "".join(f"\\{byte:02x}" for byte in words)
    times = 1 if args and args[0] else -1 if entry == "ask" else CALLS
    return f"""
      (data (i32.const {at}) "{name}") (data (i32.const {at + 32}) "{text}")
      (func (export "mix_entry_{entry}") (param $p i32) (param $n i32) (result i64) (local $i i32)
        (loop $l
          (drop (call $ffi (i32.const {at}) (i32.const {len(name)}) (i32.const {at + 32}) (i32.const {len(words)})))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const {times}))))
        (call $pair (local.get $p) (local.get $n)))"""


def resident() -> int:
    """Resident memory of this process in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def measure(runs: int) -> dict[str, float]:
    from wasmtime import wat2wasm

    from mixkit import Kernel
    from mixkit.grants import ALL

    entries = (
        calling("sleep", "$core_sleep", 64, 0)
        + calling("wait", "$core_sleep", 128, 1000)
        + calling("now", "$core_now", 192)
        + calling("ask", "$core_now", 256)
    )
    found: dict[str, float] = {}
    with Kernel(
        "test", environ={}, overrides={"limits.wall_time": 600, "limits.host_calls": 1 << 40}
    ) as kernel:
        program = kernel.load(bytes(wat2wasm(GUEST % entries)))

        def run(entry: str) -> Awaitable[Any]:
            return kernel.run(program, entry, PARAMS, grants=ALL)

        async def micros(call: Callable[[], Awaitable[Any]], count: int, clock: Callable[[], float]) -> float:
            times = []
            for _ in range(15):
                began = clock()
                for _ in range(count):
                    await call()
                times.append((clock() - began) / count * 1e6)
            return statistics.median(times)

        async def in_process() -> None:
            kernel.run_sync(program, "echo", PARAMS)

        for _ in range(5):
            await run("echo")
        found["warm run, run_sync (µs of processor)"] = await micros(in_process, 500, time.process_time)
        found["warm run, run (µs of processor)"] = await micros(lambda: run("echo"), 500, time.process_time)
        found["$core_now from a guest (µs of processor)"] = (
            await micros(lambda: run("now"), 10, time.process_time) / CALLS
        )
        found["$core_sleep(0) round trip (µs)"] = (
            await micros(lambda: run("sleep"), 5, time.perf_counter) / CALLS
        )

        before, peak = resident(), 0

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, resident())
                await asyncio.sleep(0.05)

        watcher = asyncio.create_task(watch())
        began = time.perf_counter()
        await asyncio.gather(*(run("wait") for _ in range(runs)))
        found[f"{runs} runs that wait 1 s (s)"] = time.perf_counter() - began
        found["memory of each (KiB)"] = (peak - before) / runs
        watcher.cancel()
        for entry, what in ENDLESS.items():
            found |= {
                f"quick agent, 2 {what}, {name}": figure
                for name, figure in (await latency(run, entry)).items()
            }
    return found


async def latency(run: Callable[[str], Awaitable[Any]], entry: str) -> dict[str, float]:
    """Of a quick agent, while a thousand others wait and two do something without end."""

    async def again() -> None:
        while True:
            await run("wait")

    others = [asyncio.ensure_future(again()) for _ in range(1000)]
    others += [asyncio.ensure_future(run(entry)) for _ in range(2)]
    await asyncio.sleep(1.5)
    times = []
    end = time.perf_counter() + LATENCY_SECONDS
    while time.perf_counter() < end:
        # As a request comes: it also waits until the loop looks for it.
        began = time.perf_counter() + PAUSE
        await asyncio.sleep(PAUSE)
        await run("echo")
        times.append((time.perf_counter() - began) * 1e3)
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    times.sort()
    return {
        "p50 (ms)": times[len(times) // 2],
        "p99 (ms)": times[len(times) * 99 // 100],
        "worst (ms)": times[-1],
    }


def of(folder: Path, runs: int) -> dict[str, float]:
    """The figures of a checkout, in a process of its own."""
    path = os.pathsep.join(map(str, (folder, *sorted((folder / "plugins").iterdir()))))
    command = [sys.executable, __file__, "--json", "--runs", str(runs)]
    environ = {**os.environ, "PYTHONPATH": path}
    figures: dict[str, float] = json.loads(subprocess.check_output(command, env=environ))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--runs", type=int, default=5000, help="runs that wait at once (default 5000)")
    parser.add_argument("--beside", type=Path, help="another checkout")
    options = parser.parse_args()
    if options.beside is None:
        figures = asyncio.run(measure(options.runs))
        if options.json:
            print(json.dumps(figures))
        else:
            for name, figure in figures.items():
                print(f"  {name:44} {figure:10.2f}")
        return
    here, there = of(ROOT, options.runs), of(options.beside, options.runs)
    print(f"{'':46} {'here':>10} {'beside':>10}")
    for name, figure in here.items():
        print(f"  {name:44} {figure:10.2f} {there[name]:10.2f}")


if __name__ == "__main__":
    main()
