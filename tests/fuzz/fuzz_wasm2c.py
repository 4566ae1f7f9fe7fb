"""Generated modules on both engines: the same results, the same traps, the same memory.

    python tests/fuzz/fuzz_wasm2c.py [--seconds N] [--seed N] [--optimize]

A round is a module of many functions, since a C compiler takes a while for each module and little for a function.
Bits of NaNs are not compared: Wasmtime makes them canonical, and wasm2c leaves them to the processor.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable

import wasmtime
from mix_wasm2c.engine import Wasm2cEngine
from mix_wasm2c.settings import Wasm2cSettings
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.contracts import FuncType, HostFunction, Instance, WasmEngine
from mixkit.errors import GuestError, LimitExceeded
from mixkit.limits import Limits

KINDS = ("i32", "i64", "f32", "f64")
FUNCTIONS = 40
BINARY = {
    "i32": "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr",
    "f32": "add sub mul div min max",
}
BINARY |= {"i64": BINARY["i32"], "f64": BINARY["f32"]}
UNARY = {
    "i32": "clz ctz popcnt extend8_s extend16_s",
    "i64": "clz ctz popcnt extend8_s extend16_s extend32_s",
    "f32": "abs neg sqrt ceil floor trunc nearest",
}
UNARY["f64"] = UNARY["f32"]
COMPARE = {"i32": "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u", "f32": "eq ne lt gt le ge"}
COMPARE |= {"i64": COMPARE["i32"], "f64": COMPARE["f32"]}
CONVERT = {
    "i32": [
        ("wrap_i64", "i64"),
        *(
            (f"trunc_{sat}{kind}_{sign}", kind)
            for kind in ("f32", "f64")
            for sat in ("", "sat_")
            for sign in "su"
        ),
        ("reinterpret_f32", "f32"),
    ],
    "i64": [
        ("extend_i32_s", "i32"),
        ("extend_i32_u", "i32"),
        *(
            (f"trunc_{sat}{kind}_{sign}", kind)
            for kind in ("f32", "f64")
            for sat in ("", "sat_")
            for sign in "su"
        ),
        ("reinterpret_f64", "f64"),
    ],
    "f32": [
        *((f"convert_{kind}_{sign}", kind) for kind in ("i32", "i64") for sign in "su"),
        ("demote_f64", "f64"),
        ("reinterpret_i32", "i32"),
    ],
    "f64": [
        *((f"convert_{kind}_{sign}", kind) for kind in ("i32", "i64") for sign in "su"),
        ("promote_f32", "f32"),
        ("reinterpret_i64", "i64"),
    ],
}
LOADS = {
    "i32": "load load8_s load8_u load16_s load16_u",
    "i64": "load load8_s load8_u load16_s load16_u load32_s load32_u",
    "f32": "load",
    "f64": "load",
}
STORES = {
    "i32": "store store8 store16",
    "i64": "store store8 store16 store32",
    "f32": "store",
    "f64": "store",
}
INTEGERS = (0, 1, 2, 3, 7, 31, 32, 63, 64, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
FLOATS = (
    "0",
    "-0",
    "1",
    "-1.5",
    "0x1p-149",
    "0x1p31",
    "-0x1p31",
    "0x1p63",
    "inf",
    "-inf",
    "4294967295",
    "1e-10",
)
ARGUMENTS = (
    (0, 0, 0.0, 0.0),
    (1, -1, 1.5, -2.5),
    (-7, 1 << 40, -1e9, 1e300),
    (2**31 - 1, -(2**63), 0.1, -0.0),
)


class Text:
    """The text of one module: functions of four parameters and four more locals, one of each kind."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.index = 0
        self.results: list[str] = []

    def module(self) -> str:
        self.results = [self.rng.choice(KINDS) for _ in range(FUNCTIONS)]
        functions = "".join(self.function(index) for index in range(FUNCTIONS))
        elements = " ".join(f"$f{index}" for index in range(FUNCTIONS))
        return f"""(module (import "m" "f" (func $host (param i64) (result i64)))
          (memory (export "memory") 1 3) (memory $other 1)
          (table {FUNCTIONS + 3} funcref) (elem (i32.const 0) {elements})
          (type $pair (func (result i32 i64))) (func $pair (type $pair) (i32.const 5) (i64.const 6))
          (func $sum (result i32) (call $pair) (i32.wrap_i64) (i32.add))
          (global $gi (mut i32) (i32.const 3)) (global $gj (mut i64) (i64.const -4))
          (global $gf (mut f32) (f32.const 1.25)) (global $gd (mut f64) (f64.const -8.5))
          (data (i32.const 100) "some data to begin with") {functions})"""

    def function(self, index: int) -> str:
        self.index = index
        kind = self.results[index]
        body = " ".join(self.statement(3) for _ in range(self.rng.randint(1, 5)))
        value = self.clean(kind, self.value(kind, 4))
        return (
            f'(func $f{index} (export "f{index}") (param i32 i64 f32 f64) (result {kind})'
            f" (local i32 i64 f32 f64) (local $n i32) (local $tf f32) (local $td f64) {body} {value})"
        )

    def local(self, kind: str) -> int:
        return KINDS.index(kind) + self.rng.choice((0, 4))

    def clean(self, kind: str, value: str) -> str:
        """The value, or 0 in the place of a NaN."""
        if kind[0] == "i":
            return value
        name = "$tf" if kind == "f32" else "$td"
        return (
            f"(select (local.tee {name} {value}) ({kind}.const 0)"
            f" ({kind}.eq (local.get {name}) (local.get {name})))"
        )

    def constant(self, kind: str) -> str:
        if kind[0] == "i":
            bits = int(kind[1:])
            return f"({kind}.const {self.rng.choice(INTEGERS) % (1 << bits)})"
        return f"({kind}.const {self.rng.choice(FLOATS)})"

    def address(self, depth: int) -> str:
        """Mostly inside the memory."""
        if self.rng.random() < 0.03:
            return self.value("i32", depth)
        return f"(i32.and {self.value('i32', depth)} (i32.const 0xfff0))"

    def value(self, kind: str, depth: int) -> str:
        rng, index = self.rng, self.index
        if depth <= 0 or rng.random() < 0.1:
            return rng.choice((self.constant(kind), f"(local.get {self.local(kind)})"))
        deeper = depth - 1
        what = rng.random()
        if what < 0.35:
            operator = rng.choice(BINARY[kind].split())
            return f"({kind}.{operator} {self.value(kind, deeper)} {self.value(kind, deeper)})"
        if what < 0.45:
            return f"({kind}.{rng.choice(UNARY[kind].split())} {self.value(kind, deeper)})"
        if what < 0.57:
            operator, other = rng.choice(CONVERT[kind])
            return f"({kind}.{operator} {self.clean(other, self.value(other, deeper))})"
        if what < 0.65:
            memory = rng.choice(("", "", "$other "))
            offset = rng.choice(("", "offset=1 ", "offset=8 "))
            load = f"({kind}.{rng.choice(LOADS[kind].split())} {memory}{offset}{self.address(deeper)})"
            return self.clean(kind, load)
        if what < 0.70 and kind == "i32":
            other = rng.choice(KINDS)
            operator = rng.choice(COMPARE[other].split())
            return f"({other}.{operator} {self.value(other, deeper)} {self.value(other, deeper)})"
        if what < 0.76:
            return (
                f"(select {self.value(kind, deeper)} {self.value(kind, deeper)} {self.value('i32', deeper)})"
            )
        if what < 0.82:
            return (
                f"(if (result {kind}) {self.value('i32', deeper)} (then {self.value(kind, deeper)})"
                f" (else {self.value(kind, deeper)}))"
            )
        if what < 0.86:
            return f"(global.get ${'g' + 'ijfd'[KINDS.index(kind)]})"
        if what < 0.90 and kind == "i64":
            return f"(call $host {self.value('i64', deeper)})"
        callees = [other for other in range(index) if self.results[other] == kind and other > index - 4]
        if what < 0.93 and callees:
            return f"(call $f{rng.choice(callees)} {self.arguments(deeper)})"
        if what < 0.96 and index:
            # Up to now those before this one, so that nothing runs for ever; the type may be another, which traps.
            number = f"(i32.rem_u {self.value('i32', deeper)} (i32.const {index}))"
            if rng.random() < 0.05:
                number = f"(i32.const {rng.choice((FUNCTIONS, FUNCTIONS + 3))})"
            return self.clean(
                kind,
                f"(call_indirect (param i32 i64 f32 f64) (result {kind}) {self.arguments(deeper)} {number})",
            )
        if what < 0.98 and kind == "i32":
            return rng.choice(("(memory.size)", "(memory.grow (i32.const 1))", "(call $sum)"))
        return f"(local.tee {self.local(kind)} {self.value(kind, deeper)})"

    def arguments(self, depth: int) -> str:
        return " ".join(self.clean(kind, self.value(kind, min(depth, 1))) for kind in KINDS)

    def statement(self, depth: int) -> str:
        rng = self.rng
        kind = rng.choice(KINDS)
        what = rng.random()
        if what < 0.35 or depth <= 0:
            return f"(local.set {self.local(kind)} {self.value(kind, depth)})"
        if what < 0.55:
            memory = rng.choice(("", "", "$other "))
            value = self.clean(kind, self.value(kind, depth - 1))
            return f"({kind}.{rng.choice(STORES[kind].split())} {memory}{self.address(1)} {value})"
        if what < 0.65:
            return (
                f"(global.set $g{'ijfd'[KINDS.index(kind)]} {self.clean(kind, self.value(kind, depth - 1))})"
            )
        if what < 0.72:
            return (
                f"(block $a (block $b (block $c (br_table $a $b $c {self.value('i32', depth - 1)}))"
                f" {self.statement(depth - 1)}) {self.statement(depth - 1)})"
            )
        if what < 0.82:
            return f"(if {self.value('i32', depth - 1)} (then {self.statement(depth - 1)}))"
        if what < 0.90:
            # Loops do not nest, having one counter.
            inner = f"(local.set {self.local(kind)} {self.value(kind, 2)})"
            return (
                f"(local.set $n (i32.const {rng.randint(1, 9)})) (loop $l {inner}"
                " (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
            )
        if what < 0.94:
            size = f"(i32.and {self.value('i32', 1)} (i32.const 0xff))"
            return rng.choice((
                f"(memory.fill {self.address(1)} {self.value('i32', 1)} {size})",
                f"(memory.copy {self.address(1)} {self.address(1)} {size})",
                f"(memory.copy $other 0 {self.address(1)} {self.address(1)} {size})",
            ))  # fmt: skip
        return f"(drop {self.value(kind, depth)})"


def outcome(call: Callable[[], float | None]) -> object:
    """What a call comes to, in a form that can be compared."""
    try:
        answer = call()
    except GuestError as exc:
        return ("trap", exc.trap)
    except LimitExceeded as exc:
        return ("limit", exc.limit)
    return answer.hex() if isinstance(answer, float) else answer


def behaviour(engine: WasmEngine, code: bytes) -> list[object]:
    """All that can be seen of a module, function by function."""
    imports = {("m", "f"): HostFunction(FuncType(("i64",), ("i64",)), lambda _, number: number * 3 + 1)}
    module = engine.compile(code)
    limits = Limits(stack=256 * 1024)
    instance: Instance = engine.instantiate(module, limits, imports)
    found: list[object] = []
    for index in range(FUNCTIONS):
        for arguments in ARGUMENTS:
            result = outcome(lambda: instance.call(f"f{index}", *arguments))  # noqa: B023
            snapshot = None
            if isinstance(result, tuple):
                instance.close()
                instance = engine.instantiate(module, limits, imports)
            else:
                snapshot = instance.freeze()
            found.append((index, arguments, result))
            if snapshot is not None:
                memories, variables = snapshot.state  # type: ignore[attr-defined]
                # A global has the first bytes of sixteen: an i32, an i64, an f32 and an f64.
                sizes = zip(range(0, len(variables), 16), (4, 8, 4, 8), strict=True)
                found += [[variables[at : at + size].hex() for at, size in sizes], memories]
    instance.close()
    return found


def assembled(seed: int) -> bytes:
    """The module of a seed."""
    return bytes(wasmtime.wat2wasm(Text(random.Random(seed)).module()))


def compare(engines: tuple[WasmEngine, WasmEngine], seed: int) -> int:
    """One module on both; the number of calls that were compared."""
    code = assembled(seed)
    for expected, found in zip(*(behaviour(engine, code) for engine in engines), strict=True):
        assert expected == found, f"seed {seed}: Wasmtime {expected!r:.800}, wasm2c {found!r:.800}"
    return FUNCTIONS * len(ARGUMENTS)


def pair(optimize: bool = True) -> tuple[WasmEngine, WasmEngine]:
    """Wasmtime, and wasm2c."""
    return (
        WasmtimeEngine(WasmtimeSettings(cache_dir="off", modules=1)),
        Wasm2cEngine(Wasm2cSettings(trust_all=True, cache_dir="off", modules=1, optimize=optimize)),
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(40))
    parser.add_argument("--optimize", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    engines = pair(options.optimize)
    end = time.monotonic() + options.seconds
    seed, calls = options.seed, 0
    while calls == 0 or time.monotonic() < end:
        calls += compare(engines, seed)
        seed += 1
    print(f"{seed - options.seed} modules, {calls} calls, both engines alike")
    return 0


if __name__ == "__main__":
    sys.exit(main())
