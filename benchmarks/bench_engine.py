"""The Wasmtime engine beside wasmtime-py, a memory copy and extism.

    python benchmarks/bench_engine.py [--json] [--rounds N] [--cycles N]

The contenders of one row take turns within one run, so that a noisy moment hits all of them. A figure is the
median of the rounds, in microseconds; `ratio` is the peer's over ours: above 1, ours is faster.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import extism
import wasmtime
from mix_wasmtime.engine import Instance, WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings
from wasmtime import _bindings as bindings
from wasmtime import _ffi as ffi

from mixkit.contracts import FuncType, HostFunction
from mixkit.errors import GuestError
from mixkit.limits import Limits

ECHO = """(module
  (memory (export "memory") 32)
  (global $next (mut i32) (i32.const 1024))
  (func (export "mix_alloc") (param $size i32) (result i32) (i32.const 1024))
  (func (export "echo") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))
  (func (export "loop") (loop (br 0)))
  (func (export "calls") (loop (call $leaf) (br 0))) (func $leaf))"""
# One instruction over all memory that the limits allow by default: nothing can interrupt the instruction itself.
FILL = """(module (memory 4096)
  (func (export "fill") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x10000000)) (br 0))))"""
HOST = """(module (import "m" "f" (func $f (param i32) (result i32)))
  (func (export "many") (param i32)
    (loop (drop (call $f (local.get 0)))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
EXTISM = """(module
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 32)
  (func (export "echo") (result i32) (call $output (call $input) (call $length)) i32.const 0))"""
DATA = bytes(range(100))
MIB = 1 << 20


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def measure(contenders: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, float]:
    """Median microseconds of one operation; each contender is (function, operations that one call does)."""
    calls: dict[str, int] = {}
    for name, (function, _) in contenders.items():
        function()
        begin = time.perf_counter()
        function()
        # About 20 ms a round.
        calls[name] = max(1, int(0.02 / max(time.perf_counter() - begin, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    gc.disable()
    try:
        for _ in range(rounds):
            for name, (function, operations) in contenders.items():
                count = range(calls[name])
                begin = time.perf_counter()
                for _ in count:
                    function()
                times[name].append((time.perf_counter() - begin) / (calls[name] * operations))
    finally:
        gc.enable()
    return {name: statistics.median(values) * 1e6 for name, values in times.items()}


class Peer:
    """The same module through wasmtime-py."""

    def __init__(self, code: bytes, imports: list[Callable[[wasmtime.Store], Any]] | None = None) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        self.engine = wasmtime.Engine(config)
        self.store = wasmtime.Store(self.engine)
        self.store.set_epoch_deadline(1 << 60)
        self.module = wasmtime.Module(self.engine, code)
        made = [make(self.store) for make in imports or []]
        self.exports = wasmtime.Instance(self.store, self.module, made).exports(self.store)

    def ordinary(self) -> Callable[[], object]:
        store, memory = self.store, self.exports["memory"]
        alloc, echo = self.exports["mix_alloc"], self.exports["echo"]

        def call() -> bytes:
            ptr = alloc(store, len(DATA))  # type: ignore[operator]
            memory.write(store, DATA, ptr)  # type: ignore[union-attr]
            packed = echo(store, ptr, len(DATA))  # type: ignore[operator]
            at = (packed >> 32) & 0xFFFFFFFF
            return bytes(memory.read(store, at, at + (packed & 0xFFFFFFFF)))  # type: ignore[union-attr]

        assert call() == DATA
        return call

    def preallocated(self) -> Callable[[], object]:
        """The unchecked C call through ctypes, with argument arrays made once."""
        context = self.store._context()
        memory: Any = self.exports["memory"]
        alloc, echo = (ctypes.byref(self.exports[name]._func) for name in ("mix_alloc", "echo"))  # type: ignore[union-attr]
        base = ctypes.addressof(memory.data_ptr(self.store).contents)
        values = (ffi.wasmtime_val_raw_t * 2)()
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        trap_ref = ctypes.byref(trap)
        enter, move, string = bindings._wasmtime_func_call_unchecked, ctypes.memmove, ctypes.string_at

        def call() -> bytes:
            values[0].i32 = len(DATA)
            enter(context, alloc, values, 2, trap_ref)
            ptr = values[0].i32
            move(base + ptr, DATA, len(DATA))
            values[0].i32 = ptr
            values[1].i32 = len(DATA)
            enter(context, echo, values, 2, trap_ref)
            packed = values[0].i64
            return string(base + (packed >> 32), packed & 0xFFFFFFFF)

        assert call() == DATA
        return call


def engine(cache: str = "off") -> WasmtimeEngine:
    return WasmtimeEngine(WasmtimeSettings(cache_dir=cache))


def entries(rounds: int) -> list[dict[str, Any]]:
    peer = Peer(wat(ECHO))
    on = engine()
    instance = on.instantiate(on.compile(wat(ECHO)), Limits(), {})
    assert instance.call_bytes("echo", DATA) == DATA
    found = measure(
        {
            "wasmtime-py": (peer.ordinary(), 1),
            "wasmtime-py, preallocated": (peer.preallocated(), 1),
            "ours": (lambda: instance.call_bytes("echo", DATA), 1),
        },
        rounds,
    )
    return rows("entry call, 100 bytes in and out", found)


def host_calls(rounds: int) -> list[dict[str, Any]]:
    count = 1000
    signature = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    peer = Peer(wat(HOST), [lambda store: wasmtime.Func(store, signature, lambda number: number)])
    many: Any = peer.exports["many"]
    on = engine()
    imports = {("m", "f"): HostFunction(FuncType(("i32",), ("i32",)), lambda _, number: number)}
    instance = on.instantiate(on.compile(wat(HOST)), Limits(), imports)
    found = measure(
        {
            "wasmtime-py": (lambda: many(peer.store, count), count),
            "ours": (lambda: instance.call("many", count), count),
        },
        rounds,
    )
    return rows("guest calls a host function", found)


def snapshots(rounds: int) -> list[dict[str, Any]]:
    on = engine()
    instance = on.instantiate(on.compile(wat(ECHO)), Limits(), {})
    content = os.urandom(MIB)
    instance.write(0, content)
    snapshot = instance.freeze()
    assert snapshot is not None
    target, view = bytearray(2 * MIB), instance.memory()
    found = measure(
        {
            "copy of the bytes": (lambda: target.__setitem__(slice(0, MIB), content), 1),
            "ours": (lambda: instance.reset(snapshot), 1),
        },
        rounds,
    )
    assert bytes(view[:MIB]) == content
    return rows("restore 1 MiB of a 2 MiB memory", found)


def runs(rounds: int) -> list[dict[str, Any]]:
    on = engine()
    module = on.compile(wat(ECHO))
    limits = Limits()
    instance = on.instantiate(module, limits, {})
    snapshot = instance.freeze()
    code = wat(EXTISM)
    reused = extism.Plugin(code)
    assert bytes(reused.call("echo", DATA)) == DATA

    def ours() -> None:
        instance.reset(snapshot)
        instance.call_bytes("echo", DATA)

    def ours_fresh() -> None:
        fresh = on.instantiate(module, limits, {})
        fresh.call_bytes("echo", DATA)
        fresh.close()

    compiled = extism.extism.CompiledPlugin(code)

    def theirs_fresh() -> None:
        extism.Plugin(compiled).call("echo", DATA)

    found = measure({"extism, reused": (lambda: reused.call("echo", DATA), 1), "ours": (ours, 1)}, rounds)
    clean = measure({"extism, new plugin": (theirs_fresh, 1), "ours": (ours_fresh, 1)}, rounds)
    return rows("a run in a restored instance (extism restores nothing)", found) + rows(
        "a run in a new one", clean
    )


def compilation(rounds: int) -> list[dict[str, Any]]:
    body = "".join(
        f'(func (export "f{i}") (param i32) (result i32) (local i32) '
        + f"(loop (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const {i + 7})) (local.get 0)))"
        " (br_if 0 (i32.lt_u (local.get 1) (i32.const 1000)))) local.get 1)"
        for i in range(2800)
    )
    code = wat(f"(module (memory 1) {body})")
    with tempfile.TemporaryDirectory() as directory:
        cold: list[float] = []
        warm: list[float] = []
        for _ in range(max(3, rounds // 5)):
            for times, cache in ((cold, "off"), (warm, directory)):
                on = engine(cache)
                on.compile(wat("(module)"))
                begin = time.perf_counter()
                on.compile(code)
                times.append((time.perf_counter() - begin) * 1e6)
    # The first of the warm ones was cold.
    found = {"compiled": statistics.median(cold), "ours, from the disk": statistics.median(warm[1:])}
    return rows(f"a guest of {len(code) // 1000} kB until it is ready", found)


def interrupts(rounds: int) -> list[dict[str, Any]]:
    on = engine()
    result = []
    for name, text in (("loop", ECHO), ("calls", ECHO), ("fill", FILL)):
        module = on.compile(wat(text))
        waits = []
        for _ in range(rounds):
            instance = on.instantiate(module, Limits(), {})
            waits.append(_interrupt(instance, name))
        result.append({"what": f"interrupt of `{name}`, until the error", "median": statistics.median(waits)})
        result[-1]["worst"] = max(waits)
    return result


def _interrupt(instance: Instance, name: str) -> float:
    at: list[float] = []

    def stop() -> None:
        at.append(time.perf_counter())
        instance.interrupt()

    timer = threading.Timer(0.01, stop)
    timer.start()
    try:
        instance.call(name)
    except GuestError:
        wait = (time.perf_counter() - at[0]) * 1e6
    timer.join()
    instance.close()
    return wait


def cycles(count: int) -> list[dict[str, Any]]:
    on = engine()
    module = on.compile(wat(ECHO))
    limits = Limits()

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / MIB

    def some(number: int) -> None:
        for _ in range(number):
            instance = on.instantiate(module, limits, {})
            instance.call_bytes("echo", DATA)
            instance.close()

    some(1000)
    before = resident()
    begin = time.perf_counter()
    some(count)
    spent = (time.perf_counter() - begin) / count * 1e6
    return [{"what": f"{count:,} times create, run, free", "median": spent, "grown_mib": resident() - before}]


def rows(what: str, found: dict[str, float]) -> list[dict[str, Any]]:
    ours = next(value for name, value in found.items() if name.startswith("ours"))
    return [
        {"what": what, "who": name, "median": value, "ratio": value / ours} for name, value in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cycles", type=int, default=100_000)
    options = parser.parse_args()
    table: list[dict[str, Any]] = []
    for part in (entries, host_calls, snapshots, runs, compilation, interrupts):
        table += part(options.rounds)
    table += cycles(options.cycles)
    if options.json:
        print(
            json.dumps({"python": platform.python_version(), "wasmtime": version("wasmtime"), "rows": table})
        )
        return
    print(f"Python {platform.python_version()}, wasmtime {version('wasmtime')}; microseconds, medians")
    for row in table:
        extra = {key: value for key, value in row.items() if key not in ("what", "who", "median")}
        shown = "  ".join(f"{key} {value:,.2f}" for key, value in extra.items())
        print(f"{row['what']:56} {row.get('who', ''):28} {row['median']:12,.2f}  {shown}")


if __name__ == "__main__":
    main()
