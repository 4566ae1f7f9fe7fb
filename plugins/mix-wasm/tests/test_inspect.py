"""What `inspect` finds wrong with modules, and that the kernel agrees about what is a guest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from mix_wasm.build import build
from mix_wasm.inspect import Report, inspect

from mixkit.errors import EngineError

GUESTS = Path(__file__).parent / "guests"
MEMORY = '(memory (export "memory") 1)'
ALLOC = '(func (export "mix_alloc") (param i32) (result i32) (i32.const 0))'
CALL = '(func (export "mix_call") (param i32 i32 i32 i32) (result i64) (i64.const 0))'
ENTRY = '(func (export "mix_entry_a") (param i32 i32) (result i64) (i64.const 0))'


def report(*parts: str, manifest: Any = None) -> Report:
    code = bytes(wasmtime.wat2wasm(f"(module {' '.join(parts)})"))
    if manifest is not None:
        text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        body = b"\x0cmix.manifest" + text
        code += b"\x00" + _leb(len(body)) + body
    return inspect(code)


def _leb(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + _leb(number >> 7) if number > 0x7F else bytes([number])


def test_plain_guest_fits() -> None:
    found = report(MEMORY, ALLOC, CALL)
    assert found.problems == ()
    assert found.memories == ((65536, None),)
    assert found.manifest is not None and not found.manifest.declared


def test_guest_by_the_naming_rule_fits() -> None:
    found = report(MEMORY, ALLOC, ENTRY)
    assert found.problems == ()
    assert found.manifest is not None and list(found.manifest.entries) == ["a"]


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([ALLOC, CALL], "export memory: expected a memory, found nothing"),
        ([MEMORY, CALL], "export mix_alloc: expected (i32) -> (i32), found nothing"),
        ([MEMORY, ALLOC], "export mix_call: expected (i32, i32, i32, i32) -> (i64), found nothing"),
        ([MEMORY, ALLOC, CALL.replace("i64", "i32")], "found (i32, i32, i32, i32) -> (i32)"),
        ([MEMORY, ALLOC, CALL, '(func (export "_start"))'], "export _start: a guest is a library"),
        ([MEMORY, ALLOC, CALL, '(func (export "mix_init"))'], "export mix_init: expected (i32, i32) -> ()"),
        ([MEMORY, ALLOC, CALL, '(func (export "mix_entry_b"))'], "export mix_entry_b: expected (i32, i32)"),
        (
            ['(import "mix" "now" (func (result i64)))', MEMORY, ALLOC, CALL],
            "import mix.now: expected () -> (f64), found () -> (i64)",
        ),
        (
            ['(import "mix" "fly" (func))', MEMORY, ALLOC, CALL],
            "import mix.fly: no host function",
        ),
        (['(import "host" "f" (func))', MEMORY, ALLOC, CALL], "guests import from mix, wasi_snapshot"),
        (
            ['(import "env" "m" (memory 1))', '(export "memory" (memory 0))', ALLOC, CALL],
            "import env.m: no host",
        ),
    ],
)
def test_misfit_is_named(parts: list[str], problem: str) -> None:
    found = report(*parts)
    assert any(problem in line for line in found.problems), found.problems


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (b"{", "expected JSON"),
        ('{"version": 1, "entries": {"a": {}}}'.encode("utf-16"), "expected UTF-8"),
        (b'{"version": 1, "entries": {"a": {}, "a": {}}}', "stands twice"),
        ({"version": 2, "entries": {"a": {}}}, "expected version 1"),
        ({"version": 1}, "at least one entry"),
        ({"version": 1, "entries": {"a": {}}, "colour": 1}, "unknown key 'colour'"),
        ({"version": 1, "entries": {"a": {"inParams": {"x": "arry(int)"}}}}, "unknown type 'arry'"),
        ({"version": 1, "entries": {"a": {}}, "grants": {"ffis": "$x"}}, "mix.manifest.grants"),
        ({"version": 1, "entries": {"a": {}, "b": {}}}, "entry b: stands in the manifest"),
        ({"version": 1, "entries": {"b": {}}}, "entry a: has code"),
    ],
)
def test_broken_manifest_is_named(manifest: Any, problem: str) -> None:
    found = report(MEMORY, ALLOC, CALL, ENTRY, manifest=manifest)
    assert any(problem in line for line in found.problems), found.problems


def test_all_problems_are_told_at_once() -> None:
    assert len(report('(import "env" "f" (func))', '(func (export "_start"))').problems) == 5


def test_report_is_plain_json(tmp_path: Path) -> None:
    found = inspect(build(GUESTS / "calls.c", tmp_path / "calls.wasm").read_bytes())
    read = json.loads(json.dumps(found.to_dict()))
    assert read["problems"] == []
    assert {"name": "mix_init", "type": "(i32, i32) -> ()"} in read["exports"]
    assert {"module": "mix", "name": "now", "type": "() -> (f64)"} in read["imports"]


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\0asm\1\0\0\0" + tail))
def test_arbitrary_bytes_are_refused_or_reported(data: bytes) -> None:
    try:
        found = inspect(data)
    except EngineError:
        return
    assert found.problems


@given(st.data())
def test_damaged_module_is_refused_or_reported(data: st.DataObject) -> None:
    code = bytearray(wasmtime.wat2wasm(f"(module {MEMORY} {ALLOC} {CALL} {ENTRY})"))
    at = data.draw(st.integers(0, len(code) - 1))
    code[at] = data.draw(st.integers(0, 255))
    try:
        inspect(bytes(code))
    except EngineError as exc:
        assert str(exc)
