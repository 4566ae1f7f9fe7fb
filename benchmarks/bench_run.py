"""Running agents inside the process: a warm run beside Extism, the first run after a restart, flat memory.

    python benchmarks/bench_run.py [--json] [--cycles N]

The agent answers its parameters (100 bytes of text); every run of ours begins from a restored snapshot with
checked parameters, a budget, a deadline and grants. Extism's plugin answers its input.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = 7
ROUNDS = 40
TEXT = "x" * 100
FILLER = 100 * 1024

GUEST = """(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (func (export "mix_alloc") (param i32) (result i32)
    (local $at i32) (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (i32.and (i32.add (local.get 0) (i32.const 7)) (i32.const -8))))
    (local.get $at))
  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  %s)"""

DECLARED = r"""
  (func (export "mix_call") (param i32 i32) (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  (@custom "mix.manifest" "{\"version\": 1, \"entries\": {\"echo\": {\"inParams\": {\"text\": \"string\"},"
    " \"outParams\": {\"text\": \"string\"}}}}")"""

EXTISM = """(module
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "input_load_u64" (func $load (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 2)
  (func (export "echo") (result i32)
    (local $n i64) (local $i i64) (local $out i64)
    (local.set $n (call $length))
    (local.set $out (call $alloc (i64.add (local.get $n) (i64.const 8))))
    (block $done (loop $more
      (br_if $done (i64.gt_u (i64.add (local.get $i) (i64.const 8)) (local.get $n)))
      (call $store (i64.add (local.get $out) (local.get $i)) (call $load (local.get $i)))
      (local.set $i (i64.add (local.get $i) (i64.const 8)))
      (br $more)))
    (call $output (local.get $out) (i64.and (local.get $n) (i64.const -8)))
    (i32.const 0)))"""


def filler(size: int) -> str:
    """Functions of about `size` bytes of code, as a real guest of that size has."""
    step = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 12345)) (i32.xor (local.get 0) (i32.const 6789))))"
    one = f"(func (param i32) (result i32) {step * 12} (local.get 0))"
    return one * (size // 195)


def micros(contenders: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, dict[str, float]]:
    """Microseconds a call, minimum and median of several rounds; the contenders take turns, as the machine is noisy.

    `contenders` maps names to what is called and how often in a round.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (call, calls) in contenders.items():
            began = time.perf_counter()
            for _ in range(calls):
                call()
            times[name].append((time.perf_counter() - began) / calls * 1e6)
    return {name: {"min": min(found), "median": statistics.median(found)} for name, found in times.items()}


def resident() -> int:
    """Resident memory of this process in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def warm_runs() -> dict[str, dict[str, float]]:
    import extism
    from wasmtime import wat2wasm

    from mixkit import Kernel

    with Kernel("test", environ={}) as kernel:
        program = kernel.load(bytes(wat2wasm(GUEST % "")))
        declared = kernel.load(bytes(wat2wasm(GUEST % DECLARED)))
        params = {"text": TEXT}
        assert kernel.run_sync(program, "echo", params).value == params
        module = bytes(wat2wasm(EXTISM))
        plugin = extism.Plugin(module)
        assert len(plugin.call("echo", TEXT)) == 96
        return micros(
            {
                "mixkit, clean snapshot": (lambda: kernel.run_sync(program, "echo", params), 1000),
                "mixkit, declared types": (lambda: kernel.run_sync(declared, "echo", params), 1000),
                "extism, reused plugin": (lambda: plugin.call("echo", TEXT), 1000),
                "extism, new plugin": (lambda: extism.Plugin(module).call("echo", TEXT), 20),
            }
        )


FIRST = """
import sys, time
from mixkit import Kernel
kernel = Kernel("test", environ={})
kernel.prepare()
code = open(sys.argv[1], "rb").read()
began = time.perf_counter()
assert kernel.run_sync(code, "echo", 1).value == 1
print((time.perf_counter() - began) * 1e3)
"""


def first_runs() -> dict[str, float]:
    """Milliseconds of a process's first run of a 100 KB guest, with a cold and with a warm cache on disk."""
    from wasmtime import wat2wasm

    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "guest.wasm"
        code.write_bytes(wat2wasm(GUEST % filler(FILLER)))
        environ = {**os.environ, "XDG_CACHE_HOME": folder, "PYTHONPYCACHEPREFIX": folder}
        # An installed package has its bytecode; a checkout on a machine that writes none would be timed compiling it.
        environ.pop("PYTHONDONTWRITEBYTECODE", None)

        def first() -> float:
            command = [sys.executable, "-c", FIRST, str(code)]
            return float(
                subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
            )

        cold = first()
        warm = [first() for _ in range(REPEATS)]
        return {"guest_kb": code.stat().st_size / 1024, "cold": cold, "warm": statistics.median(warm)}


def cycles(count: int) -> dict[str, list[int]]:
    """Resident memory in KiB over `count` runs on pooled instances, and over `count` create-run-free cycles."""
    from wasmtime import wat2wasm

    from mixkit import Kernel

    code = bytes(wat2wasm(GUEST % ""))
    found = {}
    for name, idle in (("pooled", 8), ("create-run-free", 0)):
        with Kernel("test", environ={}, overrides={"settings.kernel.idle_instances": idle}) as kernel:
            program = kernel.load(code)
            marks = []
            for step in range(count + 1):
                if step % (count // 10) == 0:
                    marks.append(resident())
                kernel.run_sync(program, "echo", step)
        found[name] = marks
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--cycles", type=int, default=100_000, help="runs of the memory check (default 100,000)"
    )
    options = parser.parse_args()
    figures = {"warm_us": warm_runs(), "first_ms": first_runs(), "resident_kib": cycles(options.cycles)}
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    warm: dict[str, dict[str, float]] = figures["warm_us"]  # type: ignore[assignment]
    peer = warm["extism, reused plugin"]["median"]
    print("warm run of a small agent, 100 bytes in and out (µs)")
    for name, figure in warm.items():
        ratio = figure["median"] / peer
        print(
            f"  {name:28} min {figure['min']:7.1f}  median {figure['median']:7.1f}  {ratio:5.2f} × extism reused"
        )
    first: dict[str, float] = figures["first_ms"]  # type: ignore[assignment]
    print(f"first run after a restart, guest of {first['guest_kb']:.0f} KB (ms; goal 20 with a warm cache)")
    print(f"  cache cold {first['cold']:.1f}   cache warm {first['warm']:.1f}")
    print(f"resident memory over {options.cycles:,} runs (KiB at each tenth)")
    for name, marks in figures["resident_kib"].items():  # type: ignore[union-attr]
        print(f"  {name:16} {' '.join(map(str, marks))}")


if __name__ == "__main__":
    main()
