"""Segments from what is in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.blocks import Buffer, padding, seal
from mix_db.index.memory import Growing, MemoryPart, Node
from mix_db.index.pack import STEP, Packed, pack
from mix_db.index.part import Kind
from mix_db.index.segment import COLUMN, HEAD, NODE, TEXT, SegmentColumn, label

__all__ = ["Content", "build", "ordered", "write_segment"]

_SORTED: Final = 1 << 14


class Content:
    """Puts the content of a segment together, in the order in which it is written.

    Args:
        start, stop: the rows.
    """

    def __init__(self, start: int, stop: int) -> None:
        self._rows = start, stop
        self._place = 0
        self._nodes = bytearray()
        self._names = bytearray()
        self._table = bytearray()
        self._counts = [0, 0, 1]

    def node(self, name: bytes, children: int) -> None:
        """The next node; its columns follow."""
        nodes, columns, known = self._counts
        self._nodes += NODE.pack(len(self._names), known, columns)
        self._names += name
        self._counts = [nodes + 1, columns, known + children]

    def column(self, kind: Kind, packed: Packed, rows: AbstractBitMap) -> Iterator[Buffer]:
        """The next column of the last node."""
        line, sections = packed.sections(self._place, kind, rows)
        self._table += line
        self._counts[1] += 1
        yield from self._counted(sections)

    def copy(self, column: SegmentColumn) -> Iterator[Buffer]:
        """The next column of the last node, as it is in another segment."""
        place, *rest = column.record
        self._table += COLUMN.pack(self._place, *rest)
        self._counts[1] += 1
        yield from self._counted([column.blocks.view(place, column.size)])

    def end(self, old: Buffer, new: Buffer, deleted: AbstractBitMap) -> Iterator[Buffer]:
        """All that follows the columns.

        Args:
            old, new: the links, u32 each.
            deleted: the tombstones.
        """
        nodes, columns, known = self._counts
        self._nodes += NODE.pack(len(self._names), known, columns)
        tombstones = BitMap(deleted)
        tombstones.run_optimize()
        last = tombstones.serialize()
        places = []
        for section in (self._nodes, self._names, self._table, bytes(old) + new, last):
            places.append(self._place)
            yield from self._counted([section, padding(len(section))])
        yield HEAD.pack(*self._rows, *places, nodes, columns, len(old) // 4, len(last))

    def _counted(self, sections: Iterable[Buffer]) -> Iterator[Buffer]:
        for section in sections:
            self._place += len(section)
            yield section


def write_segment(part: MemoryPart) -> Iterator[bytes]:
    """The file of a segment for the rows of a part, which must not grow meanwhile, in pieces to be written one
    behind the other. Other threads get their turn between pieces of work of a few milliseconds."""
    return seal(_content(part))


def build(start: int, records: Iterable[Mapping[str, Any]]) -> bytes:
    """The file of a segment for some records as they are stored, the first of which is row `start`."""
    part = MemoryPart(start)
    for row, record in enumerate(records, start):
        part.add(row, record)
    return b"".join(write_segment(part))


def _content(part: MemoryPart) -> Iterator[Buffer]:
    content = Content(part.start, part.stop)
    nodes: deque[tuple[bytes, Node]] = deque([(b"", part.root)])
    while nodes:
        name, node = nodes.popleft()
        children = [(label(field), node.fields[field]) for field in ordered(list(node.fields))]
        if node.items is not None:
            children.append((label(None), node.items))
        content.node(name, len(children))
        for kind, column in zip(Kind, node.columns, strict=True):
            if column is not None:
                yield from content.column(kind, *_packed(kind, column))
        nodes += children
    pairs = part.links.pairs()
    old, new = (b"".join(pair[side].to_bytes(4, "little") for pair in pairs) for side in (0, 1))
    yield from content.end(old, new, part.deleted())


def _packed(kind: Kind, column: Growing) -> tuple[Packed, AbstractBitMap]:
    packed = Packed(text=kind in TEXT)
    keys = ordered(column.keys)
    for start in range(0, len(keys), STEP):
        pack(packed, keys, column.postings, start, start + STEP)
    packed.larges = [rows if isinstance(rows, BitMap) else BitMap(rows) for rows in packed.larges]
    return packed, column.rows


def ordered(keys: list[Any]) -> list[Any]:
    """`sorted`, for many keys in steps between which other threads get their turn."""
    if len(keys) <= _SORTED:
        return sorted(keys)
    # Keys at even distances tell apart pieces that are small enough, unless most keys are the same, which they are not.
    borders = sorted(keys[:: len(keys) // 256])[::16]
    pieces: list[list[Any]] = [[] for _ in range(len(borders) + 1)]
    for key in keys:
        pieces[bisect_right(borders, key)].append(key)
    found: list[Any] = []
    for piece in pieces:
        found += ordered(piece) if len(piece) < len(keys) // 2 else sorted(piece)
    return found
