"""External references, which are switched off: wasm2c knows them, so code is looked through before it gets some.

`mixkit.vm.wasm` refuses them in what a module declares; they may also stand in its code (locals, blocks, choices,
nulls) and in its element segments. An instruction that is not known here is refused as well.
"""

from __future__ import annotations

import re
from typing import Final

from mixkit.vm.wasm import WasmModule
from mixkit.vm.wasm_reader import Reader

__all__ = ["refuse_external"]

_ELEMENT, _CODE = 9, 10
_EXTERNREF: Final = 0x6F
_LEB: Final = rb"[\x80-\xff]*+[\x00-\x7f]"
# Alignment and offset; bit 6 of the alignment says that a memory's index stands between them.
_MEMARG: Final = rb"(?:[\x00-\x3f]%b|[\x40-\x7f]%b%b)" % (_LEB, _LEB, _LEB)

# A run of instructions, each with its immediates, without a type of external references. br_table is missing, because
# its length is data.
_RUN: Final = re.compile(
    rb"(?>"
    rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]"
    rb"|[\x02-\x04\xd0](?!\x6f)%(leb)b"
    rb"|[\x0c\x0d\x10\x12\x20-\x26\x3f-\x42\xd2]%(leb)b"
    rb"|[\x28-\x3e]%(memarg)b"
    rb"|[\x11\x13]%(leb)b%(leb)b"
    rb"|\x1c\x01[^\x6f]"
    rb"|\x43.{4}|\x44.{8}"
    rb"|\xfc(?:[\x00-\x07]|[\x08\x0a\x0c\x0e]%(leb)b%(leb)b|[\x09\x0b\x0d\x0f-\x11]%(leb)b)"
    rb"|\xfd(?:[\x00-\x0b\x5c\x5d]%(memarg)b|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]%(memarg)b."
    rb"|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)"
    rb")*+" % {b"leb": _LEB, b"memarg": _MEMARG},
    re.DOTALL,
)
_BR_TABLE: Final = 0x0E
_TYPED: Final = frozenset({0x02, 0x03, 0x04, 0xD0})
_SELECT: Final = 0x1C


def refuse_external(module: WasmModule) -> None:
    """Raise `EngineError`, with the place, if code or element segments have external references."""
    reader = module.reader(_ELEMENT)
    if reader is not None:
        for _ in range(reader.count("element segments")):
            _segment(reader)
    reader = module.reader(_CODE)
    if reader is not None:
        for _ in range(reader.count("functions")):
            size = reader.u32()
            _function(Reader(module.code, reader.at, min(reader.at + size, reader.end)))
            reader.take(size)


def _segment(reader: Reader) -> None:
    flags = reader.u32()
    if flags > 7:
        raise reader.error(f"element segment flags {flags:#04x} are unknown")
    active, expressions = not flags & 1, bool(flags & 4)
    if active:
        if flags & 2:
            reader.u32()
        _constant(reader)
    if flags & 3:
        # The kind of an element, or its type.
        if expressions:
            reader.valtype()
        else:
            reader.byte()
    for _ in range(reader.u32()):
        if expressions:
            _constant(reader)
        else:
            reader.u32()


def _constant(reader: Reader) -> None:
    while (opcode := reader.byte()) != 0x0B:
        if opcode == 0xD0 and reader.code[reader.at : reader.at + 1] == bytes([_EXTERNREF]):
            raise _external(reader)
        if opcode in (0x41, 0x42, 0x23, 0xD0, 0xD2):
            reader.skip()
        elif opcode not in (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E):
            raise reader.error(f"opcode {opcode:#04x} is not constant")


def _function(reader: Reader) -> None:
    for _ in range(reader.u32()):
        reader.u32()
        reader.valtype()
    while reader.at < reader.end:
        run = _RUN.match(reader.code, reader.at, reader.end)
        assert run is not None, "the pattern also matches nothing"
        reader.at = run.end()
        if reader.at == reader.end:
            return
        opcode = reader.byte()
        if opcode == _BR_TABLE:
            for _ in range(reader.u32() + 1):
                reader.skip()
        elif opcode in _TYPED or opcode == _SELECT:
            raise _external(reader)
        else:
            reader.at -= 1
            raise reader.error(f"the instruction {opcode:#04x} is not known to this engine, or not in full")


def _external(reader: Reader) -> Exception:
    return reader.error("external references (externref) are switched off here")
