"""Data segments joined: a memory that starts with the same contents from fewer pieces.

Toolchains write a segment for every piece between zeros, tens of thousands in a large program, and a compiler
takes time and memory for each of them, with the square of their number. What a memory starts with does not
depend on how it is cut.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from mixkit.vm.wasm import PAGE, WasmModule
from mixkit.vm.wasm_reader import MOST, Reader, check_count, leb

__all__ = ["joined"]

_GAPS: Final = (64, 512)
"""Zeros between two pieces that are written out rather than ending a segment; more when there are too many pieces."""

_CODE, _DATA, _DATA_COUNT = 10, 11, 12
_ACTIVE, _ACTIVE_ELSEWHERE = 0, 2
_I32_CONST, _END = 0x41, 0x0B

# memory.init and data.drop, however their numbers are written. Constants that look the same only cost the joining.
_BY_INDEX: Final = re.compile(rb"\xfc[\x08\x09\x88\x89]")

Segment = tuple[int, int, int, int]
"""Memory, offset in it, and where the contents begin and end in the module."""


def joined(module: WasmModule) -> Mapping[int, bytes]:
    """New contents of the sections that change, by number; empty where joining could change what the module does.

    Joined are active segments with constant offsets inside the memory that the module starts with. A segment
    outside of it has to trap, one at an offset from a global is known at its start only, and code may name the
    others by their index.

    Raises:
        EngineError: malformed, or more segments than a module may have.
    """
    reader = module.reader(_DATA)
    if reader is None:
        return {}
    count = reader.count("data segments")
    pieces = _pieces(module, reader, count)
    if pieces is None or not _is_free(module, count):
        check_count("separate data segments", count)
        return {}
    for gap in _GAPS:
        body, fewer = _write(module.code, pieces, gap)
        if fewer <= MOST["separate data segments"]:
            break
    check_count("separate data segments", fewer)
    if fewer == count:
        return {}
    changed = {_DATA: body}
    declared = module.section(_DATA_COUNT)
    if declared:
        # As long as before, so that the offsets of the code in backtraces stay those of the file.
        changed[_DATA_COUNT] = leb(fewer, len(declared))
    return changed


def _is_free(module: WasmModule, count: int) -> bool:
    """Whether no code names a segment. Without a count of the segments it cannot."""
    reader = module.reader(_DATA_COUNT)
    if reader is None:
        return True
    return reader.u32() == count and reader.at == reader.end and not _BY_INDEX.search(module.section(_CODE))


def _pieces(module: WasmModule, reader: Reader, count: int) -> list[Segment] | None:
    pieces = []
    for _ in range(count):
        flags = reader.u32()
        if flags not in (_ACTIVE, _ACTIVE_ELSEWHERE):
            return None
        memory = reader.u32() if flags == _ACTIVE_ELSEWHERE else 0
        own = memory - module.imported_memories
        if not 0 <= own < len(module.memories) or reader.byte() != _I32_CONST:
            return None
        offset = reader.s32() & 0xFFFF_FFFF
        if reader.byte() != _END:
            return None
        size = reader.u32()
        begin = reader.at
        reader.take(size)
        if offset + size > module.memories[own].minimum * PAGE:
            return None
        pieces.append((memory, offset, begin, reader.at))
    reader.finish()
    return pieces


def _write(code: bytes, pieces: list[Segment], gap: int) -> tuple[bytes, int]:
    """Contents of a data section with the same effect, and the number of its segments."""
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for memory, offset, begin, end in pieces:
        if end > begin:
            spans[memory].append((offset, offset + end - begin))
    starts: dict[int, list[int]] = {}
    runs: dict[int, list[bytearray]] = {}
    for memory, found in spans.items():
        found.sort()
        ranges: list[list[int]] = []
        for first, last in found:
            if ranges and first <= ranges[-1][1] + gap:
                ranges[-1][1] = max(ranges[-1][1], last)
            else:
                ranges.append([first, last])
        starts[memory] = [first for first, _ in ranges]
        runs[memory] = [bytearray(last - first) for first, last in ranges]
    # In the order of the file: of two that overlap, the later one stays.
    for memory, offset, begin, end in pieces:
        if end > begin:
            index = bisect_right(starts[memory], offset) - 1
            at = offset - starts[memory][index]
            runs[memory][index][at : at + end - begin] = code[begin:end]
    out: list[bytes | bytearray] = []
    for memory, contents in runs.items():
        where = bytes([_ACTIVE]) if memory == 0 else bytes([_ACTIVE_ELSEWHERE]) + leb(memory)
        for first, content in zip(starts[memory], contents, strict=True):
            out += [where, bytes([_I32_CONST]), _signed(first), bytes([_END]), leb(len(content)), content]
    count = sum(map(len, runs.values()))
    return leb(count) + b"".join(out), count


def _signed(offset: int) -> bytes:
    """Signed LEB128 of the i32 with those 32 bits, in five bytes at most."""
    value = offset - (1 << 32) if offset >> 31 else offset
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)
