"""The wasm2c engine beside Wasmtime, and beside itself without the checks that stop a guest.

    python benchmarks/bench_wasm2c.py [--json] [--rounds N]

The contenders of one row take turns within one run, so that a noisy moment hits all of them. A figure is the
median of the rounds, in microseconds; `ratio` is Wasmtime's over it: above 1, it is faster.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import wasmtime
from mix_wasm2c import translation
from mix_wasm2c.engine import Wasm2cEngine
from mix_wasm2c.settings import Wasm2cSettings
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.contracts import FuncType, HostFunction, Instance, WasmEngine
from mixkit.limits import Limits

DATA = bytes(range(100))
ECHO = """(module
  (memory (export "memory") 2)
  (func (export "mix_alloc") (param $size i32) (result i32) (i32.const 1024))
  (func (export "echo") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"""
HOST = """(module (import "m" "f" (func $f (param i32) (result i32)))
  (func (export "many") (param i32)
    (loop (drop (call $f (local.get 0)))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
# Memory, branches and short loops; calls; floating point with an inner loop.
COMPUTE = """(module (memory 4)
  (func (export "sieve") (result i32) (local $i i32) (local $j i32) (local $n i32)
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 200000))
    (local.set $i (i32.const 2))
    (loop $outer
      (if (i32.eqz (i32.load8_u (local.get $i))) (then
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (local.set $j (i32.shl (local.get $i) (i32.const 1)))
        (block $done (loop $inner
          (br_if $done (i32.ge_u (local.get $j) (i32.const 200000)))
          (i32.store8 (local.get $j) (i32.const 1))
          (local.set $j (i32.add (local.get $j) (local.get $i)))
          (br $inner)))))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200000))))
    (local.get $n))
  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
      (else (i32.add
        (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "matrix") (result f64) (local $i i32) (local $j i32) (local $k i32) (local $s f64)
    (loop $rows (local.set $j (i32.const 0))
      (loop $columns (local.set $k (i32.const 0)) (local.set $s (f64.const 0))
        (loop $sum
          (local.set $s (f64.add (local.get $s) (f64.mul
            (f64.load (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 80)) (local.get $k)) (i32.const 3)))
            (f64.load offset=51200
              (i32.shl (i32.add (i32.mul (local.get $k) (i32.const 80)) (local.get $j)) (i32.const 3))))))
          (br_if $sum (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 80))))
        (f64.store offset=102400
          (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 80)) (local.get $j)) (i32.const 3)) (local.get $s))
        (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 80))))
      (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 80))))
    (local.get $s)))"""
SERIES: Mapping[str, tuple[float, ...]] = {"sieve": (), "fib": (24,), "matrix": ()}


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def engines() -> dict[str, WasmEngine]:
    """Those that compile anew each time they are asked by a new one."""
    return {
        "wasmtime": WasmtimeEngine(WasmtimeSettings(cache_dir="off")),
        "wasm2c": Wasm2cEngine(Wasm2cSettings(trust_all=True, cache_dir="off")),
    }


@contextmanager
def unchecked() -> Iterator[None]:
    """What wasm2c would be if nothing could stop it."""
    kept = translation._BEGIN
    lines = kept.replace(translation.CHECK, "(void)0").replace(translation.ENTER, "(void)0")
    assert lines.count("(void)0") == 2
    translation._BEGIN = lines  # type: ignore[misc]
    try:
        yield
    finally:
        translation._BEGIN = kept  # type: ignore[misc]


def measure(
    contenders: Mapping[str, Callable[[], object]], rounds: int, operations: int = 1
) -> dict[str, float]:
    """Median microseconds of one operation, of which one call does so many."""
    calls: dict[str, int] = {}
    for name, function in contenders.items():
        function()
        begin = time.perf_counter()
        function()
        calls[name] = max(1, int(0.02 / max(time.perf_counter() - begin, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    gc.disable()
    try:
        for _ in range(rounds):
            for name, function in contenders.items():
                count = range(calls[name])
                begin = time.perf_counter()
                for _ in count:
                    function()
                times[name].append((time.perf_counter() - begin) / (calls[name] * operations))
    finally:
        gc.enable()
    return {name: statistics.median(values) * 1e6 for name, values in times.items()}


def compute(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    code = wat(COMPUTE)
    instances: dict[str, Instance] = {}
    for name, engine in engines().items():
        instances[name] = engine.instantiate(engine.compile(code), Limits(), {})
    with unchecked():
        engine = engines()["wasm2c"]
        instances["wasm2c, nothing stops it"] = engine.instantiate(engine.compile(code), Limits(), {})
    for function, args in SERIES.items():
        answers = {instance.call(function, *args) for instance in instances.values()}
        assert len(answers) == 1, answers
        contenders = {
            name: functools.partial(instance.call, function, *args) for name, instance in instances.items()
        }
        yield f"compute: {function}", measure(contenders, rounds)


def crossings(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    code, host = wat(ECHO), wat(HOST)
    imports = {("m", "f"): HostFunction(FuncType(("i32",), ("i32",)), lambda _, number: number)}
    calls, many, made, reset = {}, {}, {}, {}
    for name, engine in engines().items():
        module = engine.compile(code)
        instance = engine.instantiate(module, Limits(), {})
        assert instance.call_bytes("echo", DATA) == DATA
        calls[name] = lambda instance=instance: instance.call_bytes("echo", DATA)
        caller = engine.instantiate(engine.compile(host), Limits(), imports)
        many[name] = lambda caller=caller: caller.call("many", 1000)
        made[name] = lambda engine=engine, module=module: engine.instantiate(module, Limits(), {}).close()
        other = engine.instantiate(module, Limits(), {})
        other.write(0, bytes(range(256)) * 64)
        snapshot = other.freeze()
        reset[name] = lambda other=other, snapshot=snapshot: other.reset(snapshot)
    yield "entry call, 100 bytes in and out", measure(calls, rounds)
    yield "guest calls a host function", measure(many, rounds, 1000)
    yield "instance made and closed", measure(made, rounds)
    yield "instance reset, 16 KiB", measure(reset, rounds)


def compiling(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    def anew(name: str, code: bytes) -> Callable[[], object]:
        return lambda: engines()[name].compile(code)

    for label, code in {"the echo module": wat(ECHO), "a module of 400 functions": wat(_many(400))}.items():
        yield f"compile {label}", measure({name: anew(name, code) for name in engines()}, min(rounds, 3))


def _many(count: int) -> str:
    body = (
        "(loop (local.set 0 (i32.add (i32.load (local.get 0)) (i32.const {n})))"
        " (br_if 0 (i32.lt_s (local.get 0) (i32.const 9))))"
    )
    functions = "".join(
        f"(func (param i32) (result i32) {body.format(n=n)} (local.get 0))" for n in range(count)
    )
    return f"(module (memory 1) {functions})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for part in (compute, crossings, compiling):
        for label, found in part(options.rounds):
            for name, value in found.items():
                rows.append({"what": label, "who": name, "us": value, "ratio": found["wasmtime"] / value})
                if not options.json:
                    print(f"{label:36} {name:26} {value:12.2f} us {rows[-1]['ratio']:8.2f}", flush=True)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
