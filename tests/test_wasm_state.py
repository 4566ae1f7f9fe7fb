"""Which code can change state that nobody restores: every opcode, judged by Wasmtime's validator."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest
import wasmtime

from mixkit.vm import wasm
from mixkit.vm.wasm_reader import leb as unsigned
from mixkit.vm.wasm_state import is_restorable

# What may follow an opcode: nothing, indices, memory arguments, lanes, constants, block types, labels.
IMMEDIATES = [
    b"",
    b"\x00",
    b"\x01",
    b"\x40\x0b",
    b"\x7f\x0b",
    b"\x00\x00",
    b"\x00\x01",
    b"\x80\x00\x80\x00",
    b"\x40\x01\x00",
    b"\x00\x80\x80\x80\x80\x00",
    b"\x00\x00\x00",
    b"\x40\x01\x00\x03",
    b"\x00\x00\x05",
    b"\x40\x00\x0b",
    b"\x40\x01\x00\x00\x00\x0b",
    b"\x40\x02\x02\x00\x00\x00\x00\x0b",
    b"\x01\x7f",
    b"\x02\x00\x00\x00",
    b"\x70",
    b"\x26\x26\x26\x26",
    b"\x26\x00" * 4,
    b"\x26\x00" * 8,
    bytes(range(16)),
]
DROPS = {b"\xfc\x09", b"\xfc\x0d"}
ACCESSES = {bytes([byte]) for byte in range(0x28, 0x3F)} | {
    b"\xfd" + bytes([byte]) for byte in (*range(12), *range(0x54, 0x5E))
}
TABLE_READS = {b"\x25", b"\xfc\x10", b"\x11", b"\x13"}


def leb(value: int) -> bytes:
    return unsigned(value)


def section(number: int, body: bytes) -> bytes:
    return bytes([number]) + leb(len(body)) + body


def module(body: bytes, *, table: bool) -> bytes:
    """Two functions, of which the second has `body`; two memories, a tag, a local, a mutable global, segments."""
    first = b"\x00\x0b"
    second = b"\x01\x02\x7f" + body
    parts = [
        b"\0asm\x01\0\0\0",
        section(1, b"\x01\x60\x00\x00"),
        section(3, b"\x02\x00\x00"),
        section(4, b"\x02\x70\x00\x05\x70\x00\x05") if table else b"",
        section(5, b"\x02\x00\x01\x00\x01"),
        section(13, b"\x01\x00\x00"),
        section(6, b"\x01\x7f\x01\x41\x00\x0b"),
        section(7, b"\x01\x01f\x00\x00"),
        section(9, b"\x01\x01\x00\x01\x00"),
        section(12, b"\x01"),
        section(10, b"\x02" + leb(len(first)) + first + leb(len(second)) + second),
        section(11, b"\x01\x01\x01x"),
    ]
    return b"".join(parts)


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    for proposal in ("relaxed_simd", "gc", "function_references", "threads", "wide_arithmetic"):
        setattr(config, f"wasm_{proposal}", False)
    config.wasm_exceptions = True
    return wasmtime.Engine(config)


def valid(engine: wasmtime.Engine, code: bytes) -> bool:
    try:
        wasmtime.Module.validate(engine, code)
    except wasmtime.WasmtimeError:
        return False
    return True


def opcodes() -> Iterator[bytes]:
    for byte in range(256):
        if byte not in (0xFC, 0xFD):
            yield bytes([byte])
    for number in chain(range(64), (0x80, 0x100)):
        yield b"\xfc" + leb(number)
    for number in range(0x140):
        yield b"\xfd" + leb(number)


def test_every_instruction_is_judged_as_wasmtime_reads_it(engine: wasmtime.Engine) -> None:
    """An instruction that names a table makes the code invalid without one: so Wasmtime itself says which do.

    The instruction stands between `unreachable`, after which every operand type is there.
    """
    harmless: set[bytes] = set()
    harmful: set[bytes] = set()
    for opcode in opcodes():
        for immediate in IMMEDIATES:
            for rest in (b"\x00\x0b", b"\x00\x26\x00\x00\x0b", b"\x00\x26\x01\x00\x0b"):
                body = b"\x00" + opcode + immediate + rest
                code = module(body, table=True)
                if not valid(engine, code):
                    continue
                names_table = not valid(engine, module(body, table=False))
                judged = is_restorable(wasm.read(code))
                if opcode in DROPS or (names_table and opcode not in TABLE_READS):
                    assert not judged, f"{body.hex(' ')} hides state"
                    harmful.add(opcode)
                elif opcode in ACCESSES and immediate[:1] == b"\x80":
                    # An alignment in more bytes than it needs, which no toolchain writes: unknown, so not reused.
                    assert not judged
                elif not names_table:
                    assert judged, f"{body.hex(' ')} is harmless"
                    harmless.add(opcode)
                elif rest == b"\x00\x0b":
                    assert judged, f"{body.hex(' ')} only reads tables"
                    harmless.add(opcode)
    assert len(harmless) >= 433, "the forms of immediates above have missed instructions"
    assert {b"\x26", b"\xfc\x0c", b"\xfc\x0e", b"\xfc\x0f", b"\xfc\x11", *DROPS} <= harmful


@pytest.mark.parametrize("labels", [0, 1, 5, 38, 300])
def test_jump_tables_of_any_length_hide_nothing(engine: wasmtime.Engine, labels: int) -> None:
    jump = b"\x00\x0e" + leb(labels) + bytes(labels + 1)
    plain = module(jump + b"\x00\x0b", table=True)
    assert valid(engine, plain)
    assert is_restorable(wasm.read(plain))
    hiding = module(jump + b"\x00\x26\x00\x0b", table=True)
    assert valid(engine, hiding)
    assert not is_restorable(wasm.read(hiding))


@pytest.mark.parametrize("catches", [b"", b"\x00\x00\x00", b"\x02\x00", b"\x02\x00\x00\x00\x00" * 20])
def test_catches_of_any_number_hide_nothing(engine: wasmtime.Engine, catches: bytes) -> None:
    count = {0: 0, 3: 1, 2: 1, 100: 40}[len(catches)]
    block = b"\x1f\x40" + leb(count) + catches + b"\x08\x00\x0b"
    plain = module(block + b"\x0b", table=True)
    assert valid(engine, plain)
    assert is_restorable(wasm.read(plain))
    hiding = module(block + b"\x00\x26\x00\x0b", table=True)
    assert valid(engine, hiding)
    assert not is_restorable(wasm.read(hiding))


def test_references_in_mutable_globals_are_not_restored() -> None:
    for kind, expected in [("(mut funcref)", False), ("funcref", True)]:
        code = bytes(wasmtime.wat2wasm(f"(module (global {kind} (ref.null func)))"))
        assert is_restorable(wasm.read(code)) is expected


def test_long_functions_are_read_in_one_go() -> None:
    body = b"\x41\x01\x1a" * 300_000 + b"\x0b"
    assert is_restorable(wasm.read(module(body, table=False)))
    assert not is_restorable(wasm.read(module(body[:-1] + b"\xfc\x09\x00\x0b", table=False)))
