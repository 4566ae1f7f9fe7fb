"""Which modules the engine takes, and what it says of the others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from mix_wasm2c import toolchain, translation
from mix_wasm2c.engine import Wasm2cEngine
from mix_wasm2c.settings import Wasm2cSettings

from mixkit.contracts import FuncType, HostFunction
from mixkit.errors import EngineError, GuestError
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.vm.wasm import read

LEFT = {
    "exceptions": "(tag $t) (func (throw $t))",
    "exceptions that are only caught": "(func (block $b (try_table (catch_all $b))))",
    "relaxed SIMD": "(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
    "atomics": "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
    "typed references": "(type $f (func)) (func (param (ref $f)))",
    "collected objects": "(type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))",
    "wide arithmetic": "(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))",
    "a 64-bit memory": "(memory i64 1)",
    "a shared memory": "(memory 1 1 shared)",
    "too many memories": "(memory 1)" * 17,
    "tail calls with many parameters": (
        f"(func $f (param {'i64 ' * 65}) (return_call $f {''.join(f'(local.get {i})' for i in range(65))}))"
    ),
    "an imported memory": '(import "m" "f" (memory 1))',
    "an import that takes vectors": '(import "m" "f" (func (param v128)))',
    "an export of what is not there": "",
}
"""Each is refused with an `EngineError`, so that the next engine of the profile gets it."""

TAKEN = {
    "SIMD": (
        '(func (export "f") (result i32) (i32x4.extract_lane 2 (i32x4.add (v128.const i32x4 1 2 3 4)'
        " (i32x4.splat (i32.const 4)))))"
    ),
    "SIMD lanes that would be zero as floating point": (
        '(func (export "f") (result i32) (i32.mul (i32.const 7)'
        " (i64x2.all_true (v128.const i64x2 0x8000000000000000 1))))"
    ),
    "multiple values": (
        "(func $two (result i32 i32) (i32.const 3) (i32.const 4))"
        ' (func (export "f") (result i32) (i32.add (call $two)))'
    ),
    "multiple memories": (
        "(memory 1) (memory $m 1)"
        ' (func (export "f") (result i32) (i32.store $m (i32.const 4) (i32.const 7)) (i32.load $m (i32.const 4)))'
    ),
    "bulk memory": (
        '(memory 1) (data $d "\\07\\08") (func (export "f") (result i32)'
        " (memory.init $d (i32.const 3) (i32.const 0) (i32.const 1)) (i32.load8_u (i32.const 3)))"
    ),
    "a tail call of a function that makes some": (
        "(func $down (param i32) (result i32) (if (result i32) (local.get 0)"
        " (then (return_call $down (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7))))"
        ' (func (export "f") (result i32) (return_call $down (i32.const 100000)))'
    ),
    "a tail call through a table": (
        "(table 1 funcref) (elem (i32.const 0) $seven) (func $seven (result i32) (i32.const 7))"
        ' (func (export "f") (result i32) (return_call_indirect (result i32) (i32.const 0)))'
    ),
    "a tail call of a host function": (
        '(import "m" "f" (func $f (result i32))) (func (export "f") (result i32) (return_call $f))'
    ),
    "an import that stands twice": (
        '(import "m" "f" (func $f (result i32))) (import "m" "f" (func (result i32)))'
        ' (func (export "f") (result i32) (call 1))'
    ),
    "an export of an import": '(import "m" "f" (func $f (result i32))) (export "f" (func $f))',
    "an import that starts": (
        '(import "m" "g" (func $g)) (start $g) (func (export "f") (result i32) (i32.const 7))'
    ),
    "a reference to what is only exported": (
        '(func $g (export "g")) (func (export "f") (result i32)'
        " (i32.add (ref.is_null (ref.func $g)) (i32.const 7)))"
    ),
    "constants that are computed": (
        '(global $g i32 (i32.add (i32.const 3) (i32.const 4))) (func (export "f") (result i32) (global.get $g))'
    ),
    "names that are no names in C": (
        '(func $"int main(){\\22*/" (export "\\22); #include <x>") (result i32) (i32.const 7))'
        ' (export "f" (func $"int main(){\\22*/"))'
    ),
    "a table of references in a global": (
        "(func $seven (result i32) (i32.const 7)) (global $g funcref (ref.func $seven)) (table 1 funcref)"
        ' (func (export "f") (result i32) (table.set (i32.const 0) (global.get $g))'
        " (call_indirect (result i32) (i32.const 0)))"
    ),
}


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def wrong_export() -> bytes:
    """(memory 1) (export "m" (memory 5)), which no assembler writes."""
    return b"\0asm\x01\0\0\0" + b"\x05\x03\x01\x00\x01" + b"\x07\x05\x01\x01m\x02\x05"


@pytest.mark.parametrize("what", LEFT)
def test_what_it_cannot_run_is_left_to_the_next_engine(engine: Wasm2cEngine, what: str) -> None:
    with pytest.raises(EngineError):
        engine.compile(wat(LEFT[what]) if LEFT[what] else wrong_export())


@pytest.mark.parametrize("what", TAKEN)
def test_what_it_takes_it_runs(engine: Wasm2cEngine, what: str) -> None:
    imports = {
        ("m", "f"): HostFunction(FuncType((), ("i32",)), lambda _: 7),
        ("m", "g"): HostFunction(FuncType((), ()), lambda _: None),
    }
    instance = engine.instantiate(engine.compile(wat(TAKEN[what])), Limits(), imports)
    assert instance.call("f") == 7
    instance.close()


@pytest.mark.parametrize(
    ("body", "trap"),
    [
        ("(table.set (i32.const 9) (ref.null func))", "table_out_of_bounds"),
        ("(drop (table.get (i32.const 9)))", "table_out_of_bounds"),
        ("(table.fill (i32.const 1) (ref.null func) (i32.const 9))", "table_out_of_bounds"),
        ("(memory.fill (i32.const 1) (i32.const 0) (i32.const 65536))", "memory_out_of_bounds"),
        ("(call_indirect (param i32) (i32.const 1) (i32.const 1))", "bad_signature"),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "integer_overflow"),
        ("(drop (i32.trunc_f64_s (f64.const 1e99)))", "integer_overflow"),
    ],
)
def test_traps_are_told_apart(engine: Wasm2cEngine, body: str, trap: str) -> None:
    text = f'(memory 1) (table 4 funcref) (func $f) (elem (i32.const 1) $f) (func (export "f") {body})'
    with pytest.raises(GuestError) as caught:
        engine.instantiate(engine.compile(wat(text)), Limits(), {}).call("f")
    assert caught.value.trap == trap


def test_only_what_the_profile_trusts_runs(kept: Path) -> None:
    code, other = wat('(func (export "f"))'), wat('(func (export "g"))')
    digest = hashlib.sha256(code).hexdigest()
    engine = Wasm2cEngine(Wasm2cSettings(trusted=(digest,), cache_dir=str(kept), optimize=False))
    engine.instantiate(engine.compile(code), Limits(), {}).call("f")
    with pytest.raises(EngineError, match=r"not in settings\.wasm2c\.trusted"):
        engine.compile(other)
    with pytest.raises(ValueError, match="64 hex digits"):
        Wasm2cSettings(trusted=(digest.upper(),))


def test_a_module_that_a_package_offers_is_trusted_by_its_name(
    kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = wat('(func (export "f") (result i32) (i32.const 6))')
    (tmp_path / "offering.py").write_text(f"def module(): return {code!r}\n")
    folder = tmp_path / "offering-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[mixkit.modules]\nsix = offering:module\n")
    monkeypatch.syspath_prepend(tmp_path)
    engine = Wasm2cEngine(Wasm2cSettings(trusted=("six",), cache_dir=str(kept), optimize=False))
    instance = engine.instantiate(engine.compile(code), Limits(), {})
    assert instance.call("f") == 6
    instance.close()
    with pytest.raises(
        EngineError, match=r"names 'seven', and no installed package offers .*; there are: .*six"
    ):
        Wasm2cEngine(Wasm2cSettings(trusted=("seven",))).compile(code)


def test_a_profile_gives_each_module_the_engine_it_needs(kept: Path, tmp_path: Path) -> None:
    plain, throws = wat('(func (export "f"))'), wat(LEFT["exceptions"])
    overrides = {
        "settings.wasm2c.trust_all": True,
        "settings.wasm2c.cache_dir": str(kept),
        "settings.wasm2c.optimize": False,
        "settings.wasmtime.cache_dir": "off",
    }
    path = tmp_path / "both.toml"
    path.write_text('plugins = ["wasmtime", "wasm2c"]\nengines = ["wasm2c", "wasmtime"]\n')
    with Kernel(path, environ={}, overrides=overrides) as kernel:
        for code, name in ((plain, "wasm2c"), (throws, "wasmtime")):
            engine, decision = kernel.engines.compile(code)
            assert engine.name == name
        assert decision.reason == "wasm2c: wasm2c cannot take the module: it has exceptions"
    with Kernel(path, environ={}, overrides=overrides | {"settings.wasm2c.trust_all": False}) as kernel:
        engine, decision = kernel.engines.compile(plain)
        assert engine.name == "wasmtime"
        assert "not in settings.wasm2c.trusted" in decision.reason


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"compile_time": 0.001}, "compile_time"),
        ({"compile_memory": 64 << 20}, "compile_memory"),
        ({"code_bytes": 1 << 20}, "code_bytes"),
        ({"compiler": "no-such-compiler"}, "no-such-compiler"),
    ],
)
def test_compiling_is_bounded_and_says_by_what(limit: dict[str, Any], words: str) -> None:
    code = wat(f'(memory 64) (data (i32.const 0) "{"abcdefgh" * 150_000}")')
    settings = Wasm2cSettings(trust_all=True, cache_dir="off", optimize=False, **limit)
    with pytest.raises(EngineError, match=words):
        Wasm2cEngine(settings).compile(code)


@pytest.mark.parametrize(("name", "most"), [("_MOST_C", 20_000), ("_MOST_LIBRARY", 4_000)])
def test_what_a_module_becomes_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    monkeypatch.setattr(toolchain, name, most)
    settings = Wasm2cSettings(trust_all=True, cache_dir="off", optimize=False)
    with pytest.raises(EngineError, match=f"more than {most} bytes"):
        Wasm2cEngine(settings).compile(wat('(func (export "f"))'))


def test_a_function_may_not_have_more_stack_than_there_is_left_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack is looked at when a function has its frame already."""
    flags = tuple(flag.replace(str(toolchain._FRAME), "1024") for flag in toolchain._FLAGS)
    monkeypatch.setattr(toolchain, "_FLAGS", flags)
    count = 400
    loads = "".join(f"(local.set {i} (i64.load (i32.const {8 * i})))" for i in range(count))
    stores = "".join(f"(i64.store (i32.const {16 * i}) (local.get {i}))" for i in range(count))
    text = (
        '(import "m" "f" (func $f)) (memory 1)'
        f' (func (export "f") (local {"i64 " * count}) {loads} (call $f) {stores})'
    )
    with pytest.raises(EngineError, match="frame"):
        Wasm2cEngine(Wasm2cSettings(trust_all=True, cache_dir="off", optimize=False)).compile(wat(text))


def test_text_that_is_not_what_it_was_made_for_is_not_compiled() -> None:
    module = read(wat("(func)"))
    with pytest.raises(EngineError, match="in what wasm2c wrote, found 0: install the version"):
        translation.translated("int main;", "", module, [])
