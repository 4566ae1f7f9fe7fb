"""Bulk instructions as loops: the same effect and the same traps, and everything else where it was."""

from __future__ import annotations

import random

import pytest
import wasmtime
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings
from wasmtime import wat2wasm

from mixkit.errors import EngineError, GuestError
from mixkit.limits import Limits
from mixkit.vm import wasm
from mixkit.vm.wasm_bulk import PIECE, split

PAGES = 40
SIZE = PAGES * wasm.PAGE
SEGMENT = '(data $d "%s")' % ("abcdefgh" * (3 * PIECE // 16))
MOVES = f"""(memory (export "memory") {PAGES}) (memory (export "other") {PAGES}) {SEGMENT}
  (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "across") (param i32 i32 i32) (memory.copy 1 0 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init") (param i32 i32 i32) (memory.init $d (local.get 0) (local.get 1) (local.get 2)))"""


def module(text: str) -> wasm.WasmModule:
    return wasm.read(bytes(wat2wasm(f"(module {text})")))


def rewritten(text: str) -> wasm.Exposed:
    found = module(text)
    return wasm.expose(found, split(found))


class Plain:
    """A module on Wasmtime, without anything of ours."""

    def __init__(self, code: bytes) -> None:
        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        self._exports = wasmtime.Instance(self._store, wasmtime.Module(engine, code), []).exports(self._store)

    def call(self, name: str, *args: int) -> object:
        """What came of it."""
        try:
            return self._exports[name](self._store, *map(signed, args))  # type: ignore[operator]
        except wasmtime.Trap as trap:
            return trap.trap_code

    def memories(self) -> list[bytes]:
        return [bytes(self._exports[name].read(self._store, 0, SIZE)) for name in ("memory", "other")]  # type: ignore[union-attr]


def signed(number: int) -> int:
    number &= 0xFFFF_FFFF
    return number - (1 << 32) if number >> 31 else number


def test_the_same_bytes_move_and_the_same_traps_come() -> None:
    seed = random.randrange(1 << 30)
    order = random.Random(seed)
    whole, pieces = Plain(module(MOVES).code), Plain(rewritten(MOVES).code)
    sizes = (0, 5, PIECE, PIECE + 1, 2 * PIECE, SIZE, -5)
    for _ in range(60):
        size = order.choice((*sizes, order.randrange(SIZE)))
        to = order.choice((0, 10, PIECE, order.randrange(SIZE), SIZE - size, -1))
        source = order.choice((0, to + 7, to - 7, order.randrange(SIZE)))
        name = order.choice(("fill", "copy", "across", "init"))
        what = (seed, name, to, source, size)
        ended = whole.call(name, to, source, size)
        assert pieces.call(name, to, source, size) == ended, what
        # What has been written before `init` traps, nobody sees: the guest is not used again.
        if name == "init" and ended is not None:
            whole, pieces = Plain(module(MOVES).code), Plain(rewritten(MOVES).code)
        assert pieces.memories() == whole.memories(), what


@pytest.mark.parametrize(
    "body",
    [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1048575))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 16))",
        "(memory.init $d (i32.const 0) (i32.const 0) (local.get 0))",
        "(drop (i32.const 0xa0bfc))",
    ],
)
def test_what_moves_little_stays(body: str) -> None:
    assert split(module(f'(memory 1) (data $d "abc") (func (param i32) {body})')) == {}


@pytest.mark.parametrize("size", ["-1", "1048576", "0x7fffffff", "(local.get 0)"])
def test_what_may_move_much_does_not(size: str) -> None:
    size = size if size.startswith("(") else f"(i32.const {size})"
    assert split(module(f"(memory 1) (func (param i32) (memory.fill (i32.const 0) (i32.const 1) {size}))"))


@pytest.mark.parametrize("others", [0, 126, 127, 128, 16_400])
def test_functions_keep_their_places(others: int) -> None:
    """With counts and indexes of one byte and of more."""
    text = f"""(memory 1) {"(func)" * others}
      (func (export "f") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)) (call $last))
      (func $last (unreachable))"""
    backtraces = []
    for size in ("(local.get 0)", "(i32.const 8)"):
        engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
        code = bytes(wat2wasm(f"(module {text.replace('(local.get 0)', size)})"))
        with pytest.raises(GuestError) as caught:
            engine.instantiate(engine.compile(code), Limits(), {}).call("f", 8)
        backtraces.append([line.partition(" at ") for line in caught.value.backtrace or ()])
    names = [[name for name, *_ in backtrace] for backtrace in backtraces]
    assert names[0] == names[1] == ["last", f"function {others}"]
    places = [int(backtrace[0][2], 16) for backtrace in backtraces]
    # An index that takes three bytes is one more than `memory.fill` has room for.
    assert places[0] - places[1] == (others > 16_384)


def test_a_trap_inside_is_told_of_the_function_that_called() -> None:
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    text = '(memory 1) (func $mine (export "f") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))'
    code = bytes(wat2wasm(f"(module {text})"))
    with pytest.raises(GuestError, match=r"in mine at 0x\w+$") as caught:
        engine.instantiate(engine.compile(code), Limits(), {}).call("f", 65537)
    assert caught.value.trap == "memory_out_of_bounds"
    assert len(caught.value.backtrace or ()) == 1


def test_damaged_code_is_refused_or_left_to_the_engine() -> None:
    order = random.Random(11)
    code = module(MOVES.replace(SEGMENT, '(data $d "abc")')).code
    for _ in range(500):
        damaged = bytearray(code)
        damaged[order.randrange(8, len(code))] = order.randrange(256)
        try:
            read = wasm.read(bytes(damaged))
            changed = split(read)
        except EngineError:
            continue
        assert isinstance(wasm.expose(read, changed).code, bytes)
