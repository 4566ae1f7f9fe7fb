"""The exception-handling proposal: what setjmp, C++ and Lua stand on. Snapshots stay exact with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from mix_wasmtime.engine import Instance, WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.contracts import FuncType, HostFunction, HostImports
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits

CODE = """(module
  (import "m" "f" (func $f))
  (tag $e (param i32)) (tag $none)
  (tag $large (param LARGE))
  (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
  (func $throws (param i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (throw $e (local.get 0)))
  (func (export "caught") (param i32) (result i32)
    (i32.add (i32.const 1) (block $h (result i32)
      (try_table (catch $e $h) (call $throws (local.get 0))) (unreachable))))
  (func (export "uncaught") (throw $none))
  (func (export "count") (result i32) (global.get $n))
  (func (export "again") (param i32) (result i32)
    (block $outer (result i32) (try_table (catch $e $outer)
      (throw_ref (block $inner (result exnref)
        (try_table (catch_all_ref $inner) (call $throws (local.get 0))) (unreachable))))
      (unreachable)))
  (func (export "many") (param i32) (loop $more
    (drop (block $h (result i32) (try_table (catch $e $h) (call $throws (i32.const 1))) (unreachable)))
    (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func $holds (export "holds") (param i32) (local $kept exnref)
    (local.set $kept (block $h (result exnref) (try_table (catch_all_ref $h) (throw $large VALUES)) (unreachable)))
    (if (local.get 0) (then (call $holds (i32.sub (local.get 0) (i32.const 1)))))
    (drop (block $again (result exnref)
      (try_table (catch_all_ref $again) (throw_ref (local.get $kept))) (unreachable))))
  (func (export "host") (block $h (try_table (catch_all $h) (call $f)))))"""
CODE = CODE.replace("LARGE", "i64 " * 100).replace("VALUES", "(i64.const 7) " * 100)


@pytest.fixture(scope="module")
def engine() -> WasmtimeEngine:
    return WasmtimeEngine(WasmtimeSettings(cache_dir="off"))


def imports(call: object = lambda instance: None) -> HostImports:
    return {("m", "f"): HostFunction(FuncType((), ()), call)}  # type: ignore[arg-type]


def make(engine: WasmtimeEngine, limits: Limits | None = None, host: HostImports | None = None) -> Instance:
    module = engine.compile(bytes(wasmtime.wat2wasm(CODE)))
    return engine.instantiate(module, limits or Limits(), host or imports())


def test_exceptions_are_thrown_and_caught(engine: WasmtimeEngine) -> None:
    instance = make(engine)
    assert [instance.call("caught", 5), instance.call("again", 7), instance.call("count")] == [6, 7, 2]


def test_one_that_nothing_catches_is_named(engine: WasmtimeEngine) -> None:
    with pytest.raises(GuestError, match="an exception that nothing caught") as caught:
        make(engine).call("uncaught")
    assert caught.value.trap == "exception" and caught.value.backtrace


def test_guests_catch_their_own_only(engine: WasmtimeEngine) -> None:
    """What a host function raises, and an interruption, end the guest."""

    def refuses(instance: Instance) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        make(engine, host=imports(refuses)).call("host")
    with pytest.raises(GuestError) as caught:
        make(engine, host=imports(lambda instance: instance.interrupt())).call("host")
    assert caught.value.trap == "interrupt"


def test_one_thrown_in_a_nested_call_ends_there(engine: WasmtimeEngine) -> None:
    def enters(instance: Instance) -> None:
        with pytest.raises(GuestError, match="nothing caught"):
            make(engine).call("uncaught")
        instance.call("uncaught")

    with pytest.raises(GuestError, match="nothing caught"):
        make(engine, host=imports(enters)).call("host")


def test_snapshots_stay_exact(engine: WasmtimeEngine) -> None:
    instance = make(engine)
    instance.call("caught", 1)
    snapshot = instance.freeze()
    assert snapshot is not None
    for _ in range(3):
        instance.call("many", 20_000)
        assert instance.reset(snapshot)
        assert instance.call("count") == 1
    other = make(engine)
    assert other.reset(engine.load_snapshot(snapshot.to_bytes()))
    assert other.call("count") == 1


def test_exceptions_that_are_alive_count_as_memory(engine: WasmtimeEngine) -> None:
    make(engine).call("holds", 500)
    with pytest.raises(LimitExceeded) as caught:
        make(engine, Limits(memory=1 << 20, stack=4 << 20)).call("holds", 5_000)
    assert caught.value.limit == "memory"


def test_an_instance_with_a_large_heap_is_not_used_again(engine: WasmtimeEngine) -> None:
    instance = make(engine, Limits(stack=4 << 20))
    snapshot = instance.freeze()
    instance.call("holds", 5_000)
    assert not instance.reset(snapshot)


@pytest.mark.parametrize(
    "text",
    [
        '(tag) (func (export "f"))',
        '(tag (param i32 f64)) (memory 1) (memory 2) (func (export "f"))',
        '(type $t (func (param i32))) (tag $t (type $t)) (table 3 funcref) (func (export "f") (block (try_table)))',
        '(tag $t) (export "t" (tag $t)) (func (export "f"))',
    ],
)
def test_modules_with_tags_start_whatever_else_they_have(engine: WasmtimeEngine, text: str) -> None:
    module = engine.compile(bytes(wasmtime.wat2wasm(f"(module {text})")))
    for _ in range(2):
        instance = engine.instantiate(module, Limits(), {})
        instance.call("f")
        assert instance.reset(instance.freeze())
        instance.close()


def test_compiled_code_with_exceptions_is_kept_and_made_apart(tmp_path: Path) -> None:
    """A module that is large enough to be compiled in a process of its own; the next engine finds it on the disk."""
    settings = WasmtimeSettings(cache_dir=str(tmp_path / "cache"))
    filler = "".join(
        f"(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {n})))" for n in range(3_000)
    )
    code = bytes(wasmtime.wat2wasm(CODE.removesuffix(")") + filler + ")"))
    for _ in range(2):
        other = WasmtimeEngine(settings)
        instance = other.instantiate(other.compile(code), Limits(stack=1 << 18), imports())
        assert instance.call("caught", 5) == 6


def test_a_tag_from_outside_cannot_be_linked(engine: WasmtimeEngine) -> None:
    code = bytes(wasmtime.wat2wasm('(module (import "m" "t" (tag)))'))
    with pytest.raises(EngineError, match=r"m\.t is an exception tag; only functions can be imported"):
        engine.compile(code)
