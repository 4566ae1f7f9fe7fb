"""Bulk instructions that can be stopped: one that fills or copies much memory becomes a loop of smaller ones.

An engine looks at the head of a loop whether the guest is to stop or to give way, and never inside an instruction,
which may fill all of a memory, page by page. So each of them is replaced by a call of a function that is added at the
end of the module. That does at once what is little, or traps, and the rest in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from mixkit.vm.wasm import WasmModule
from mixkit.vm.wasm_code import CODE, bodies, notable, number
from mixkit.vm.wasm_reader import leb

__all__ = ["PIECE", "split"]

PIECE: Final = 1 << 20
"""Bytes that one instruction moves: some 0.1 ms where the pages are there, and 1 ms where they are not."""

_TYPES, _FUNCTIONS, _DATA = 1, 3, 11
_INIT, _COPY, _FILL = 0xFC08, 0xFC0A, 0xFC0B
_ANY: Final = re.compile(rb"\xfc[\x08\x0a\x0b\x88\x8a\x8b]")
_TYPE: Final = b"\x60\x03\x7f\x7f\x7f\0"
"""Three i32, and no result: where to, what or where from, how much."""
_NOP, _CALL = b"\x01", b"\x10"

# -- the functions that are added: their parameters are locals 0, 1 and 2 ------------------------------------

_GET: Final = (b"\x20\0", b"\x20\x01", b"\x20\x02")
_SET: Final = (b"\x21\0", b"\x21\x01", b"\x21\x02")
_TEE_SIZE: Final = b"\x22\x02"
_IF, _ELSE, _LOOP, _END, _AGAIN = b"\x04\x40", b"\x05", b"\x03\x40", b"\x0b", b"\x0d\0"
_ADD, _SUB, _GREATER, _NOT_GREATER, _AND = b"\x6a", b"\x6b", b"\x4b", b"\x4d", b"\x71"
_WIDE, _WIDE_ADD, _WIDE_NOT_GREATER = b"\xad", b"\x7c", b"\x58"
_SHIFT_PAGES: Final = b"\x42\x10\x86"
_PIECE: Final = b"\x41\x80\x80\xc0\0"
"""i32.const PIECE"""


def _within(which: int, memory: int) -> bytes:
    """Whether all of it lies in a memory, from where a local says."""
    size = b"\x3f" + leb(memory) + _WIDE + _SHIFT_PAGES
    return _GET[which] + _WIDE + _GET[2] + _WIDE + _WIDE_ADD + size + _WIDE_NOT_GREATER


def _moved(which: int) -> bytes:
    """A local a piece further."""
    return _GET[which] + _PIECE + _ADD + _SET[which]


_LESS: Final = _GET[2] + _PIECE + _SUB
_WHILE_MUCH: Final = _PIECE + _GREATER + _AGAIN


def _fill(one: bytes, memory: int) -> bytes:
    piece = _GET[0] + _GET[1] + _PIECE + one
    loop = _LOOP + piece + _moved(0) + _LESS + _TEE_SIZE + _WHILE_MUCH + _END
    return _pieces(one, _within(0, memory), loop)


def _init(one: bytes, segment: int, memory: int) -> bytes:
    piece = _GET[0] + _GET[1] + _PIECE + one
    loop = _LOOP + piece + _moved(0) + _moved(1) + _LESS + _TEE_SIZE + _WHILE_MUCH + _END
    return _pieces(one, _within(0, memory), loop)


def _copy(one: bytes, to: int, source: int) -> bytes:
    """Where both overlap, what lies in the other's way goes first."""
    piece = _GET[0] + _GET[1] + _PIECE + one
    up = _LOOP + piece + _moved(0) + _moved(1) + _LESS + _TEE_SIZE + _WHILE_MUCH + _END
    last = _GET[0] + _GET[2] + _ADD + _GET[1] + _GET[2] + _ADD + _PIECE + one
    down = _LOOP + _LESS + _SET[2] + last + _GET[2] + _WHILE_MUCH + _END
    either = _GET[0] + _GET[1] + _NOT_GREATER + _IF + up + _ELSE + down + _END
    return _pieces(one, _within(0, to) + _within(1, source) + _AND, either)


def _pieces(one: bytes, fits: bytes, loop: bytes) -> bytes:
    """A function's body: pieces, if it is much and lies where it may; then the rest, or what traps."""
    much = _GET[2] + _PIECE + _GREATER + _IF + fits + _IF + loop + _END + _END
    body = b"\0" + much + b"".join(_GET) + one + _END
    return leb(len(body)) + body


_BODIES: Final[Mapping[int, Callable[..., bytes]]] = {_INIT: _init, _COPY: _copy, _FILL: _fill}

# -- the module -----------------------------------------------------------------------------------------


def split(module: WasmModule) -> Mapping[int, bytes]:
    """New contents of the sections that change, by number; empty where no instruction moves much memory.

    Functions, and what stands in them, keep their places. Only where there are more functions than two bytes can
    name (16,384), those behind a `memory.fill` stand some bytes further back.

    Raises:
        EngineError: the code is malformed.
    """
    code = module.section(CODE)
    if not _ANY.search(code):
        return {}
    # A segment is as small as the section that it stands in.
    wanted = _BODIES.keys() if len(module.section(_DATA)) > PIECE else (_COPY, _FILL)
    added: dict[tuple[int, ...], int] = {}
    start = before = number(code, 0)[1]
    out = []
    for begin, at, end in bodies(code):
        parts, done = [], begin
        for which, first, last in notable(code, at, end):
            if which in wanted:
                key = (which, *_immediates(code, first, last))
                index = added.setdefault(key, module.function_count + len(added))
                call = _CALL + leb(index)
                parts += [code[done:first], _NOP * (last - first - len(call)), call]
                done = last
        parts.append(code[done:end])
        body = b"".join(parts)
        out += [leb(len(body), begin - before), body]
        before = end
    if not added:
        return {}
    out += [_BODIES[which](_instruction(which, *where), *where) for which, *where in added]
    types, functions = module.section(_TYPES), module.section(_FUNCTIONS)
    kind = number(types, 0)[0]
    return {
        _TYPES: _longer(types, 1, _TYPE),
        _FUNCTIONS: _longer(functions, len(added), leb(kind) * len(added)),
        CODE: _longer(code[:start], len(added), b"".join(out)),
    }


def _immediates(code: bytes, first: int, last: int) -> Iterator[int]:
    _, at = number(code, first + 1)
    while at < last:
        value, at = number(code, at)
        yield value


def _instruction(which: int, *immediates: int) -> bytes:
    return b"\xfc" + leb(which & 0xFF) + b"".join(map(leb, immediates))


def _longer(vector: bytes, more: int, items: bytes) -> bytes:
    """A vector with so many items more."""
    count, at = number(vector, 0)
    return leb(count + more, at) + vector[at:] + items
