"""The reader and rewriter of the Wasm format, judged by Wasmtime's validator."""

from __future__ import annotations

import random

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from mixkit.contracts import FuncType
from mixkit.errors import EngineError
from mixkit.vm import wasm
from mixkit.vm.wasm_reader import MOST, Size, leb

RICH = """(module
  (import "m" "f" (func $f (param i32 i64) (result f32)))
  (import "m" "g" (global $g i32))
  (type $t (func (param f64)))
  (memory (export "memory") 1 9) (memory 2)
  (table 3 4 funcref) (table 5 funcref)
  (global (mut i32) (i32.add (i32.const 1) (i32.mul (i32.const 2) (i32.const 3))))
  (global (export "shown") (mut i64) (i64.const -1))
  (global f32 (f32.const 1)) (global (mut f64) (f64.const 2))
  (global (mut v128) (v128.const i64x2 0x0b0b0b0b0b0b0b0b 2)) (global (mut funcref) (ref.func $s))
  (global i32 (global.get $g))
  (func $s) (start $s) (export "again" (func $f)) (elem (i32.const 0) $s $f)
  (data (i32.const 8) "data") (data "passive")
  (func (export "last") (drop (i32.const 1)))
  (@custom "note" "text"))"""


def compile_wat(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat))


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return wasmtime.Engine()


def is_valid(engine: wasmtime.Engine, code: bytes) -> bool:
    try:
        wasmtime.Module.validate(engine, code)
    except wasmtime.WasmtimeError:
        return False
    return True


def test_everything_that_a_module_declares_is_read() -> None:
    module = wasm.read(compile_wat(RICH))
    f = FuncType(("i32", "i64"), ("f32",))
    assert module.imports == {("m", "f"): f, ("m", "g"): "global"}
    assert module.exports == {"memory": "memory", "shown": "global", "again": f, "last": FuncType((), ())}
    assert module.memories == (Size(1, 9), Size(2, None))
    assert module.tables == (Size(3, 4), Size(5, None))
    assert [(g.type, g.mutable) for g in module.globals] == [
        ("i32", True),
        ("i64", True),
        ("f32", False),
        ("f64", True),
        ("v128", True),
        ("funcref", True),
        ("i32", False),
    ]
    assert module.imported_globals == 1
    assert module.start == 1
    assert module.custom_sections("note") == (b"text",)
    assert wasm.custom_sections(module.code, "note") == (b"text",)
    assert wasm.custom_sections(module.code, "other") == ()


def test_exposing_adds_memories_mutable_globals_and_the_start_function(engine: wasmtime.Engine) -> None:
    module = wasm.read(compile_wat(RICH))
    exposed = wasm.expose(module)
    found = {export.name: export.type for export in wasmtime.Module(engine, exposed.code).exports}
    names = list(found)
    assert names[:4] == list(module.exports)
    assert all(name.startswith(wasm.RESERVED) for name in names[4:])
    assert [kind for _, kind in exposed.globals] == ["i32", "i64", "f64", "v128", "funcref"]
    for name, kind in exposed.globals:
        variable = found[name]
        assert isinstance(variable, wasmtime.GlobalType)
        assert variable.mutable
        # wasmtime-py aborts the process when it is asked for a v128's name.
        assert kind == "v128" or str(variable.content) == kind
    assert exposed.globals[1] == ("shown", "i64"), "the module's own export is used"
    assert exposed.memories[0] == "memory"
    for name, minimum in zip(exposed.memories, (1, 2), strict=True):
        memory = found[name]
        assert isinstance(memory, wasmtime.MemoryType)
        assert memory.limits.min == minimum
    assert exposed.start is not None
    assert isinstance(found[exposed.start], wasmtime.FuncType)
    with pytest.raises(EngineError, match="reserved"):
        wasm.read(exposed.code)


@pytest.mark.parametrize(
    "wat",
    [
        "(module)",
        "(module (func $s) (start $s))",
        "(module (global (mut i32) (i32.const 0)))",
        '(module (global (mut i32) (i32.const 0)) (func (export "f")) (data "x") (@custom "c" "d"))',
        '(module (memory 1) (global (mut i64) (i64.const 0)) (data (i32.const 0) "x"))',
        '(module (export "f" (func 0)) (func))',
    ],
)
def test_what_is_exposed_stays_valid_and_runs_nothing(engine: wasmtime.Engine, wat: str) -> None:
    module = wasm.read(compile_wat(wat))
    exposed = wasm.expose(module)
    wasmtime.Module.validate(engine, exposed.code)
    assert b"".join(content for _, content in module.customs) in exposed.code
    assert all(number != 8 for number, *_ in wasm._sections(exposed.code))


@pytest.mark.parametrize(
    ("wat", "message"),
    [
        ("(module (memory 1 1 shared))", "memory flags"),
        ("(module (memory i64 1))", "memory flags"),
        ("(module (table i64 1 funcref))", "table flags"),
        ("(module (global (mut exnref) (ref.null exn)))", "exnref"),
        ("(module (table 1 exnref))", "a table holds references to functions"),
        ("(module (type (struct)))", "type form"),
        ("(module (func (param (ref func))))", "value type"),
        ("(component)", "component"),
        ("(module (type (func (param externref))))", "externref.* at byte 14"),
        ("(module (type (func (result i32 externref))))", "externref.* at byte 16"),
        ('(module (import "a" "b" (global externref)))', "externref.* at byte"),
        ('(module (import "a" "b" (table 1 externref)))', "externref.* at byte"),
        ("(module (table 0 externref))", "externref.* at byte"),
        ("(module (global externref (ref.null extern)))", "externref.* at byte"),
        ("(module (global (mut externref) (ref.null extern)))", "externref.* at byte"),
    ],
)
def test_switched_off_proposals_are_named(wat: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        wasm.read(compile_wat(wat))


SECTIONS = {
    "types": (1, b""),
    "functions": (3, b""),
    "imports": (2, b""),
    "exports": (7, b""),
    "globals": (6, b""),
    "tables": (4, b""),
    "memories": (5, b""),
    "exception tags": (13, b""),
    "element segments": (9, b""),
    "data segments": (11, b""),
    "parameters of a function": (1, b"\x01\x60"),
    "results of a function": (1, b"\x01\x60\x00"),
}
"""Number of the section, and what stands in it before the count."""


@pytest.mark.parametrize("what", [what for what in MOST if not what.startswith("separate")])
def test_the_number_of_everything_is_bounded(what: str) -> None:
    def module(count: int) -> bytes:
        if what == "custom sections":
            return b"\0asm\x01\0\0\0" + b"\x00\x02\x01n" * count
        number, before = SECTIONS[what]
        body = before + leb(count)
        return b"\0asm\x01\0\0\0" + bytes([number]) + leb(len(body)) + body

    with pytest.raises(EngineError, match=f"has {MOST[what] + 1} {what}, expected at most {MOST[what]}"):
        wasm.read(module(MOST[what] + 1))
    try:
        wasm.read(module(MOST[what]))
    except EngineError as exc:
        assert "at most" not in str(exc), "so many are allowed, they are only missing"


def test_imported_functions_count_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixkit.vm.wasm_reader.MOST", {**MOST, "functions": 2})
    wasm.read(compile_wat('(module (import "m" "f" (func)) (func))'))
    with pytest.raises(EngineError, match="has 3 functions, expected at most 2"):
        wasm.read(compile_wat('(module (import "m" "f" (func)) (func) (func))'))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_module_or_an_error(data: bytes) -> None:
    for candidate in (data, b"\0asm\x01\0\0\0" + data):
        try:
            wasm.read(candidate)
        except EngineError:
            continue


@settings(max_examples=400)
@given(st.randoms(use_true_random=False))
def test_a_damaged_module_is_never_exposed_as_another_one(rng: random.Random) -> None:
    """If the reader takes it and Wasmtime takes what was written, Wasmtime also takes the original."""
    code = bytearray(compile_wat(RICH))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(code))
        match rng.randrange(3):
            case 0:
                code[at] = rng.randrange(256)
            case 1:
                code.insert(at, rng.randrange(256))
            case _:
                del code[at]
    try:
        exposed = wasm.expose(wasm.read(bytes(code)))
    except EngineError:
        return
    engine = wasmtime.Engine()
    if is_valid(engine, exposed.code):
        assert is_valid(engine, bytes(code))


def test_lying_counts_cost_nothing() -> None:
    for section in (1, 2, 3, 4, 5, 6, 7):
        body = b"\xff\xff\xff\xff\x0f"
        with pytest.raises(EngineError):
            wasm.read(b"\0asm\x01\0\0\0" + bytes([section, len(body)]) + body)
