"""Where the code of a module can leave traces that no engine can read back or restore.

Memories and mutable globals of numbers can be saved and restored. Tables, dropped segments and globals that
hold references cannot, in full, through any engine's interface. So it is decided once, from the code, whether
a module can ever change such state; one that can gets a fresh instance for every run. Exceptions leave no traces:
the reader refuses globals and tables that hold them.
"""

from __future__ import annotations

import re
from typing import Final

from mixkit.errors import EngineError
from mixkit.vm.wasm import WasmModule

__all__ = ["is_restorable"]

_LEB: Final = rb"[\x80-\xff]*+[\x00-\x7f]"
# Alignment and offset; bit 6 of the alignment says that a memory's index stands between them.
_MEMARG: Final = rb"(?:[\x00-\x3f]%b|[\x40-\x7f]%b%b)" % (_LEB, _LEB, _LEB)

# A run of instructions, each with its immediates, that change nothing but the stack, locals, globals and
# memories. Missing on purpose: table.set/init/copy/grow/fill, elem.drop, data.drop, and everything that is
# switched off or not known. br_table and try_table are missing too, because their length is data; `_harmless` steps
# over them.
_RUN: Final = re.compile(
    rb"(?>"
    rb"[\x00\x01\x05\x0a\x0b\x0f\x1a\x1b\x45-\xc4\xd1]"
    rb"|[\x02-\x04\x08\x0c\x0d\x10\x12\x20-\x25\x3f-\x42\xd0\xd2]%(leb)b"
    rb"|[\x28-\x3e]%(memarg)b"
    rb"|[\x11\x13]%(leb)b%(leb)b"
    rb"|\x1c\x01[\x69\x6f-\x7f]"
    rb"|\x43.{4}|\x44.{8}"
    rb"|\xfc(?:[\x00-\x07]|[\x08\x0a]%(leb)b%(leb)b|[\x0b\x10]%(leb)b)"
    rb"|\xfd(?:[\x00-\x0b\x5c\x5d]%(memarg)b|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]%(memarg)b."
    rb"|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)"
    rb")*+" % {b"leb": _LEB, b"memarg": _MEMARG},
    re.DOTALL,
)
_ONE: Final = re.compile(_LEB)
_CODE: Final = 10
_BR_TABLE: Final = 0x0E
_TRY_TABLE: Final = 0x1F
_WITH_TAG: Final = (0, 1)
"""Kinds of catch that name a tag before the label."""
_LONG_TYPES: Final = (0x63, 0x64)
"""Types of references that are written in more than one byte."""


def is_restorable(module: WasmModule) -> bool:
    """Whether memories and numeric globals are all the state that the module's code can change.

    The module must be valid. What is not known for certain answers False.
    """
    if any(variable.mutable and variable.type == "funcref" for variable in module.globals):
        return False
    code = module.section(_CODE)
    if not code:
        return True
    count, at = _number(code, 0)
    for _ in range(count):
        size, at = _number(code, at)
        end = at + size
        groups, at = _number(code, at)
        for _ in range(groups):
            _, at = _number(code, at)
            if at >= end or code[at] in _LONG_TYPES:
                return False
            at += 1
        if end > len(code) or not _harmless(code, at, end):
            return False
        at = end
    return True


def _harmless(code: bytes, at: int, end: int) -> bool:
    while True:
        run = _RUN.match(code, at, end)
        assert run is not None, "the pattern also matches nothing"
        at = run.end()
        if at == end:
            return True
        if code[at] == _BR_TABLE:
            labels, at = _number(code, at + 1)
            for _ in range(labels + 1):
                _, at = _number(code, at)
        elif code[at] == _TRY_TABLE:
            _, at = _number(code, at + 1)
            catches, at = _number(code, at)
            for _ in range(catches):
                kind, at = code[at], at + 1
                for _ in range(2 if kind in _WITH_TAG else 1):
                    _, at = _number(code, at)
        else:
            return False
        if at > end:
            return False


def _number(code: bytes, at: int) -> tuple[int, int]:
    found = _ONE.match(code, at)
    if found is None:
        raise EngineError(f"malformed Wasm module: the code section ends in the middle of a number, at {at}")
    value = 0
    for byte in reversed(found.group()):
        value = value << 7 | byte & 0x7F
    return value, found.end()
