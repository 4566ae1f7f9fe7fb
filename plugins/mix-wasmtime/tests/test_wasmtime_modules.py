"""Generated modules: whatever a module is made of, the engine does with it what plain Wasmtime does.

`MIXKIT_SOAK_SECONDS` says for how long new ones are made (3 by default).
"""

from __future__ import annotations

import os
import random
import time

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_wasmtime.engine import Module, WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.errors import EngineError, GuestError, LimitExceeded, MixError
from mixkit.limits import Limits

SECONDS = float(os.environ.get("MIXKIT_SOAK_SECONDS", "3"))
CONSTANTS = {
    "i32": ("i32.const 7", "i32.const -1"),
    "i64": ("i64.const 9", "i64.const -1"),
    "f32": ("f32.const 1.5", "f32.const -0"),
    "f64": ("f64.const 2.5", "f64.const nan"),
    "v128": ("v128.const i64x2 1 2", "v128.const i32x4 -1 0 0 -1"),
    "funcref": ("ref.null func", "ref.func $leaf"),
}


class Text:
    """The text of one module, and what stands in it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.memories = [
            (rng.choice([0, 1, 1, 2, 2, 2]), rng.choice(["", " 3", " 9"])) for _ in range(rng.randint(1, 3))
        ]
        self.tables = [rng.choice([0, 2, 3, 4, 5, 6]) for _ in range(rng.randint(0, 3))]
        self.globals = [
            (kind, rng.random() < 0.7) for kind in rng.choices(list(CONSTANTS), k=rng.randint(0, 6))
        ]
        self.elements = rng.randint(0, 4)
        self.data = rng.randint(0, 12)
        self.passive = rng.random() < 0.3
        self.external = rng.random() < 0.1
        self.throws = rng.random() < 0.3
        self.lasting = rng.random() < 0.3
        """Whether code changes what no engine restores."""

    def declarations(self) -> list[str]:
        rng = self.rng
        out = ["(func $leaf (result i32) (i32.const 11))", "(elem declare func $leaf)"]
        for index, (pages, most) in enumerate(self.memories):
            shown = '(export "memory")' if index == 0 else ""
            out.append(f"(memory {shown} {pages}{most})")
        out += [f"(table {size} {rng.choice(['', '9'])} funcref)" for size in self.tables]
        if self.external:
            out.append(rng.choice(["(table 1 externref)", "(global externref (ref.null extern))"]))
        for index, (kind, mutable) in enumerate(self.globals):
            typ = f"(mut {kind})" if mutable else kind
            shown = f'(export "g{index}")' if rng.random() < 0.3 else ""
            out.append(f"(global {shown} {typ} ({rng.choice(CONSTANTS[kind])}))")
        for _ in range(self.elements):
            if self.tables and rng.random() < 0.6:
                table = rng.randrange(len(self.tables))
                # Those that do not fit trap at the start, which shall not be most modules.
                at = max(self.tables[table] - rng.choice([0] + 19 * [1]), 0)
                what = rng.choice(["func $leaf", "funcref (ref.null func)", "func"])
                out.append(f"(elem (table {table}) (i32.const {at}) {what})")
            else:
                out.append(
                    rng.choice(["(elem func $leaf $leaf)", "(elem funcref (ref.null func) (ref.func $leaf))"])
                )
        for _ in range(self.data):
            memory = rng.randrange(len(self.memories))
            size = self.memories[memory][0] * 65536
            at = rng.choice(
                [rng.randint(0, 30), rng.randint(0, 300), rng.randint(0, 70_000), max(size - 3, 0)]
            )
            if rng.random() < 0.98:
                if size == 0:
                    continue
                at = min(at, size - 8)
            content = "".join(rng.choices("abcdefgh", k=rng.randint(0, 8)))
            out.append(f'(data (memory {memory}) (i32.const {at}) "{content}")')
        if self.throws:
            out.append("(tag $t (param i32)) (func $throws (param i32) (throw $t (local.get 0)))")
        if self.passive:
            out.append('(data $passive "passive")')
        return out

    def statement(self) -> str:
        rng = self.rng
        memory = rng.randrange(len(self.memories))
        at = rng.choice([0, 8, 300, 65_532, 65_532, 65_536])
        size = rng.choice(["(i32.const 0)", "(i32.const 100)", "(i32.mul (i32.const 4) (i32.const 25))"])
        choices = [
            f"(i32.store {memory} (i32.const {at}) (i32.add (local.get 0) (i32.const {rng.randint(0, 99)})))",
            f"(local.set 0 (i32.xor (local.get 0) (i32.load8_u {memory} (i32.const {at}))))",
            f"(local.set 0 (i32.add (local.get 0) (memory.grow {memory} (i32.const {rng.randint(0, 2)}))))",
            f"(memory.fill {memory} (i32.const {at}) (i32.const 5) {size})",
            f"(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 1)) (memory.size {memory})))",
            "(local.set 0 (i32.add (local.get 0) (call $leaf)))",
        ]
        for index, (kind, mutable) in enumerate(self.globals):
            if mutable:
                choices.append(f"(global.set {index} ({rng.choice(CONSTANTS[kind])}))")
            if kind == "i32":
                choices.append(f"(local.set 0 (i32.add (local.get 0) (global.get {index})))")
        if self.tables:
            table = rng.randrange(len(self.tables))
            choices += [
                f"(local.set 0 (i32.add (local.get 0) (table.size {table})))",
                f"(local.set 0 (i32.add (local.get 0) (call_indirect {table} (result i32) (i32.const 0))))",
            ]
        if self.tables and self.lasting:
            choices += [
                f"(drop (table.grow {table} (ref.func $leaf) (i32.const 1)))",
                f"(table.set {table} (i32.const 0) (ref.null func))",
            ]
        if self.throws:
            thrown = "(try_table (catch $t $caught) (call $throws (local.get 0)))"
            block = f"(block $caught (result i32) {thrown} (i32.const 1))"
            choices += [f"(local.set 0 (i32.add {block} (i32.const 3)))"] * 2
            if rng.random() < 0.1:
                choices.append("(call $throws (i32.const 2))")
        if self.passive:
            choices.append(f"(memory.init {memory} $passive (i32.const 4) (i32.const 1) (i32.const 3))")
        return rng.choice(choices)

    def function(self, name: str) -> str:
        body = " ".join(self.statement() for _ in range(self.rng.randint(0, 6)))
        return f'(func (export "{name}") (param i32) (result i32) {body} (local.get 0))'

    def module(self) -> str:
        out = [*self.declarations(), self.function("a"), self.function("b")]
        if self.rng.random() < 0.3:
            start = " ".join(self.statement() for _ in range(2))
            out.append(f"(func $start (local i32) {start}) (start $start)")
        return f"(module {' '.join(out)})"


class Plain:
    """The module in plain Wasmtime."""

    def __init__(self, code: bytes) -> None:
        config = wasmtime.Config()
        config.wasm_exceptions = True
        self.store = wasmtime.Store(wasmtime.Engine(config))
        self.exports = wasmtime.Instance(self.store, wasmtime.Module(self.store.engine, code), []).exports(
            self.store
        )

    def call(self, name: str, value: int) -> object:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        try:
            return function(self.store, value)
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            return "trap"

    def memory(self) -> bytes:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return bytes(memory.read(self.store))


@pytest.fixture(scope="module")
def engine() -> WasmtimeEngine:
    return WasmtimeEngine(WasmtimeSettings(cache_dir="off", compile_time=0, modules=1))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 48))
def test_a_generated_module_does_what_plain_wasmtime_does(engine: WasmtimeEngine, seed: int) -> None:
    does_what_plain_wasmtime_does(engine, seed)


def test_so_do_new_ones_for_as_long_as_is_asked(engine: WasmtimeEngine) -> None:
    seed = random.SystemRandom().getrandbits(48)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        seed += 1
        try:
            does_what_plain_wasmtime_does(engine, seed)
        except BaseException as exc:
            exc.add_note(f"the seed is {seed}")
            raise


def does_what_plain_wasmtime_does(engine: WasmtimeEngine, seed: int) -> None:
    text = Text(random.Random(seed))
    code = bytes(wasmtime.wat2wasm(text.module()))
    try:
        module = engine.compile(code)
    except EngineError as exc:
        assert text.external
        assert "externref" in str(exc)
        return
    assert not text.external
    try:
        plain = Plain(code)
    except (wasmtime.Trap, wasmtime.WasmtimeError):
        with pytest.raises(MixError):
            engine.instantiate(module, Limits(), {}).start()
        return
    instance = engine.instantiate(module, Limits(), {})
    instance.start()
    assert bytes(instance.memory()) == plain.memory()
    first = instance.freeze()
    assert (first is None) == (not module._traits.restorable)
    for name in "abab":
        answer = plain.call(name, 3)
        if answer == "trap":
            with pytest.raises(GuestError):
                instance.call(name, 3)
            break
        assert instance.call(name, 3) == answer
        assert bytes(instance.memory()) == plain.memory()
    else:
        _freeze_and_go_on(engine, module, instance.freeze(), plain)
    if first is not None:
        _starts_from(engine, module, first, code)


def _freeze_and_go_on(engine: WasmtimeEngine, module: Module, snapshot: object, plain: Plain) -> None:
    """A fresh instance continues where another one was frozen."""
    if snapshot is None:
        return
    other = engine.instantiate(module, Limits(), {})
    assert other.reset(engine.load_snapshot(snapshot.to_bytes()))  # type: ignore[attr-defined]
    assert bytes(other.memory()) == plain.memory()
    answer = plain.call("a", 5)
    if answer == "trap":
        with pytest.raises(GuestError):
            other.call("a", 5)
    else:
        assert other.call("a", 5) == answer
        assert bytes(other.memory()) == plain.memory()


def _starts_from(engine: WasmtimeEngine, module: Module, first: object, code: bytes) -> None:
    """The snapshot after the start equals a start, in an instance that has run something else, if it can be used."""
    plain, other = Plain(code), engine.instantiate(module, Limits(), {})
    try:
        other.call("b", 1)
    except (GuestError, LimitExceeded):
        other = engine.instantiate(module, Limits(), {})
    if not other.reset(first):  # type: ignore[arg-type]
        other = engine.instantiate(module, Limits(), {})
        assert other.reset(first)  # type: ignore[arg-type]
    assert bytes(other.memory()) == plain.memory()
    answer = plain.call("a", 3)
    if answer != "trap":
        assert other.call("a", 3) == answer
