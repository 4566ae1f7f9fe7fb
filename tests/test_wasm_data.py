"""Joined data segments: fewer of them, the same memory."""

from __future__ import annotations

import random

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from mixkit.errors import EngineError
from mixkit.vm import wasm
from mixkit.vm.wasm_data import joined
from mixkit.vm.wasm_reader import MOST, Reader, leb


def compile_wat(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat))


def rewritten(code: bytes) -> tuple[bytes, int]:
    """The module with its segments joined, and their number."""
    module = wasm.read(code)
    new = wasm.expose(module, joined(module)).code
    sections = [(begin, end) for number, _, begin, end in wasm._sections(new) if number == 11]
    return new, Reader(new, *sections[0]).u32() if sections else 0


def start_of(code: bytes) -> list[bytes] | None:
    """What the two memories start with, or None if the start traps."""
    store = wasmtime.Store()
    try:
        exports = wasmtime.Instance(store, wasmtime.Module(store.engine, code), []).exports(store)
    except wasmtime.Trap:
        return None
    found = []
    for name in ("first", "second"):
        memory = exports[name]
        assert isinstance(memory, wasmtime.Memory)
        found.append(bytes(memory.read(store)))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.one_of(st.integers(0, 300), st.integers(65500, 65540)),
            st.binary(max_size=90),
        ),
        max_size=30,
    )
)
def test_any_segments_leave_the_same_memory(segments: list[tuple[int, int, bytes]]) -> None:
    data = "".join(
        f'(data (memory {memory}) (i32.const {offset}) "{"".join(f"{chr(92)}{byte:02x}" for byte in content)}")'
        for memory, offset, content in segments
    )
    code = compile_wat(f'(module (memory (export "first") 1) (memory (export "second") 1) {data})')
    new, count = rewritten(code)
    assert count <= len(segments)
    assert start_of(new) == start_of(code)


def test_many_segments_become_few_and_code_keeps_its_offsets() -> None:
    data = "".join(f'(data (i32.const {number * 40}) "{number}")' for number in range(1000))
    code = compile_wat(
        f'(module (memory (export "first") 1) (memory (export "second") 1) {data} (func (export "f") unreachable))'
    )
    counted = next(header for number, header, *_ in wasm._sections(code) if number == 10)
    # As compilers write it that know the bulk instructions.
    with_count = code[:counted] + bytes([12, 2]) + leb(1000) + code[counted:]
    for module in (code, with_count):
        new, count = rewritten(module)
        assert count == 1
        assert start_of(new) == start_of(module)
        moved = {number: header for number, header, *_ in wasm._sections(new)}
        plain = {number: header for number, header, *_ in wasm._sections(wasm.expose(wasm.read(module)).code)}
        assert moved[10] == plain[10]


@pytest.mark.parametrize(
    "wat",
    [
        '(module (memory 1) (data (i32.const 0) "a") (data "passive") (data (i32.const 1) "b"))',
        '(module (memory 1) (data (i32.const 0) "a") (data (i32.const 1) "b") (func (data.drop 0)))',
        '(module (memory 1) (data (i32.const 0) "a") (data (i32.const 1) "b")'
        " (func (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 0))))",
        '(module (global i32 (i32.const 1)) (memory 1) (data (i32.const 0) "a") (data (global.get 0) "b"))',
        '(module (memory 1) (data (i32.const 0) "a") (data (i32.add (i32.const 0) (i32.const 1)) "b"))',
        '(module (import "m" "m" (memory 1)) (data (i32.const 0) "a") (data (i32.const 1) "b"))',
        '(module (memory 1) (data (i32.const 0) "a") (data (i32.const 65536) "b") (data (i32.const 1) "c"))',
        '(module (memory 1) (data (i32.const 0) "a") (data (i32.const 500) "b"))',
        "(module (memory 1))",
    ],
)
def test_what_cannot_be_joined_stays_as_it_is(wat: str) -> None:
    module = wasm.read(compile_wat(wat))
    assert joined(module) == {}


def test_memories_of_4_gib_have_offsets_of_32_bits() -> None:
    module = wasm.read(
        compile_wat(
            "(module (memory 65536)"
            ' (data (i32.const -2) "a") (data (i32.const 0x7fffffff) "bc") (data (i32.const -1) "d"))'
        )
    )
    assert _segments(joined(module)[11]) == [(0x7FFFFFFF, b"bc"), (-2, b"ad")]


def _segments(body: bytes) -> list[tuple[int, bytes]]:
    reader = Reader(body, 0, len(body))
    found = []
    for _ in range(reader.u32()):
        assert (reader.byte(), reader.byte()) == (0, 0x41)
        offset = reader.s32()
        assert reader.byte() == 0x0B
        size = reader.u32()
        begin = reader.at
        reader.take(size)
        found.append((offset, body[begin : reader.at]))
    reader.finish()
    return found


def test_too_many_separate_segments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixkit.vm.wasm_reader.MOST", {**MOST, "separate data segments": 3})
    monkeypatch.setattr("mixkit.vm.wasm_data.MOST", {**MOST, "separate data segments": 3})

    def module(distance: int, more: str = "") -> bytes:
        data = "".join(f'(data (i32.const {number * distance}) "x")' for number in range(5))
        return compile_wat(f'(module (memory (export "first") 1) (memory (export "second") 1) {data} {more})')

    assert rewritten(module(400))[1] == 1, "larger gaps are filled when there are too many"
    for code in (module(2000), module(1, '(data "passive")')):
        with pytest.raises(EngineError, match=r"separate data segments, expected at most 3"):
            rewritten(code)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_damaged_module_is_never_joined_to_a_valid_one(rng: random.Random) -> None:
    """If Wasmtime takes what was written, it also takes the original."""
    code = bytearray(
        compile_wat(
            '(module (memory 1) (data (i32.const 1) "abc") (data (i32.const 70) "de") (data (i32.const 0) "f"))'
        )
    )
    begin = next(begin for number, _, begin, _ in wasm._sections(bytes(code)) if number == 11)
    for _ in range(rng.randint(1, 3)):
        code[rng.randrange(begin, len(code))] = rng.choice(
            [0, 1, 2, 0x41, 0x0B, 0x7F, 0x80, 0xFF, rng.randrange(256)]
        )
    try:
        new, _ = rewritten(bytes(code))
        wasmtime.Module.validate(wasmtime.Engine(), new)
    except (EngineError, wasmtime.WasmtimeError):
        return
    wasmtime.Module.validate(wasmtime.Engine(), bytes(code))
