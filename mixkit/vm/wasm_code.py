"""Stepping over the instructions of function bodies, many at a time: which ones stand there that are of interest.

Of a module that is not valid, some answer comes, or an `EngineError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mixkit.errors import EngineError

__all__ = ["CODE", "UNKNOWN", "bodies", "notable", "number"]

CODE: Final = 10
"""The section that has the function bodies."""
UNKNOWN: Final = -1
"""What is switched off here, or not known: nothing is said about what comes after it."""

_LEB: Final = rb"[\x80-\xff]*+[\x00-\x7f]"
# Alignment and offset; bit 6 of the alignment says that a memory's index stands between them.
_MEMARG: Final = rb"(?:[\x00-\x3f]%b|[\x40-\x7f]%b%b)" % (_LEB, _LEB, _LEB)

# A run of instructions, each with its immediates, that change nothing but the stack, locals, globals and little of a
# memory: a bulk instruction whose size is a constant below 1 MiB is one of them, with that constant. br_table and
# try_table are missing because their length is data; `notable` steps over them.
_RUN: Final = re.compile(
    rb"(?>"
    rb"\x41[\x80-\xff]{0,2}[\x00-\x3f]\xfc(?:[\x08\x0a]%(leb)b%(leb)b|\x0b%(leb)b)"
    rb"|[\x00\x01\x05\x0a\x0b\x0f\x1a\x1b\x45-\xc4\xd1]"
    rb"|[\x02-\x04\x08\x0c\x0d\x10\x12\x20-\x25\x3f-\x42\xd0\xd2]%(leb)b"
    rb"|[\x28-\x3e]%(memarg)b"
    rb"|[\x11\x13]%(leb)b%(leb)b"
    rb"|\x1c\x01[\x69\x6f-\x7f]"
    rb"|\x43.{4}|\x44.{8}"
    rb"|\xfc(?:[\x00-\x07]|\x10%(leb)b)"
    rb"|\xfd(?:[\x00-\x0b\x5c\x5d]%(memarg)b|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]%(memarg)b."
    rb"|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)"
    rb")*+" % {b"leb": _LEB, b"memarg": _MEMARG},
    re.DOTALL,
)
_ONE: Final = re.compile(rb"[\x80-\xff]{0,4}+[\x00-\x7f]")
_BR_TABLE, _TRY_TABLE, _TABLE_SET, _PREFIX = 0x0E, 0x1F, 0x26, 0xFC
_IMMEDIATES: Final = {
    0x08: 2,
    0x09: 1,
    0x0A: 2,
    0x0B: 1,
    0x0C: 2,
    0x0D: 1,
    0x0E: 2,
    0x0F: 1,
    0x10: 1,
    0x11: 1,
}
"""Of instructions behind the prefix, by what stands there."""
_WITH_TAG: Final = (0, 1)
"""Kinds of catch that name a tag before the label."""
_LONG_TYPES: Final = (0x63, 0x64)
"""Types of references that are written in more than one byte."""


def bodies(code: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each function body of a code section begins, with its locals, where its instructions begin, and its end.

    Where its locals have types that are not known here, the instructions are said to begin at the end.
    """
    if not code:
        return
    count, at = number(code, 0)
    for _ in range(count):
        size, at = number(code, at)
        begin, end = at, at + size
        if end > len(code):
            raise EngineError(f"malformed Wasm module: a function ends beyond the code section, at {end}")
        groups, at = number(code, at)
        for _ in range(groups):
            _, at = number(code, at)
            if at >= end or code[at] in _LONG_TYPES:
                at = end
                break
            at += 1
        yield begin, at, end
        at = end


def notable(code: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The instructions of a body that do more than a run of plain ones: which, where it begins and where it ends.

    Those are `table.set` (0x26), and the bulk instructions, by the number behind their prefix 0xFC plus 0xFC00;
    `UNKNOWN` is the last one.
    """
    while True:
        run = _RUN.match(code, at, end)
        assert run is not None, "the pattern also matches nothing"
        at = run.end()
        if at == end:
            return
        begin, opcode = at, code[at]
        at += 1
        if opcode == _BR_TABLE:
            labels, at = number(code, at)
            at = _after(code, at, labels + 1)
        elif opcode == _TRY_TABLE:
            at = _after(code, at, 1)
            catches, at = number(code, at)
            for _ in range(catches):
                at = _after(code, at + 1, 2 if code[at] in _WITH_TAG else 1)
        elif opcode == _TABLE_SET:
            at = _after(code, at, 1)
            yield opcode, begin, at
        elif opcode == _PREFIX:
            which, at = number(code, at)
            if which not in _IMMEDIATES:
                yield UNKNOWN, begin, end
                return
            at = _after(code, at, _IMMEDIATES[which])
            yield opcode << 8 | which, begin, at
        else:
            yield UNKNOWN, begin, end
            return
        if at > end:
            yield UNKNOWN, begin, end
            return


def _after(code: bytes, at: int, numbers: int) -> int:
    for _ in range(numbers):
        _, at = number(code, at)
    return at


def number(code: bytes, at: int) -> tuple[int, int]:
    """The unsigned LEB128 number there, and where it ends."""
    found = _ONE.match(code, at)
    if found is None:
        raise EngineError(f"malformed Wasm module: the code section ends in the middle of a number, at {at}")
    value = 0
    for byte in reversed(found.group()):
        value = value << 7 | byte & 0x7F
    return value, found.end()
