"""Several segments that follow each other become one, column by column, and the choice of those that should."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.blocks import Buffer, seal
from mix_db.index.pack import STEP, Packed, Source, unite
from mix_db.index.segment import LARGE, SHORTS, TEXT, Segment, SegmentColumn
from mix_db.index.write import Content

__all__ = ["merge", "pick", "settle"]

_MOST: Final = 6
_LARGEST: Final = 1 << 32

_Nodes = list[tuple[Segment, int]]


def merge(segments: Sequence[Segment]) -> Iterator[bytes]:
    """The file of one segment for the rows of all, in pieces to be written one behind the other.

    Equal to what would have been written at once. It needs memory for the largest column and for the names.

    Args:
        segments: in the order of their rows, without gaps.

    Raises:
        DamagedFile: one of them is damaged; what was written so far is of no use.
    """
    for before, behind in pairwise(segments):
        if before.stop != behind.start:
            raise ValueError(f"expected a segment that begins at row {before.stop}, found {behind.start}")
    return seal(_content(segments))


def pick(sizes: Sequence[int]) -> slice | None:
    """Which of the segments of a database should become one, so that there are at most 6.

    It is the newest ones, up to one before which stands a segment as large as they are together; so a row is written
    about twice until there are 50 flushes, and five times until there are 500. A segment has at most 4 GiB, which
    keeps its places within 32 bits; databases beyond that have more segments.

    Args:
        sizes: of the segments in bytes, in the order of their rows.
    """
    # Those that are too large for any merge, and those before them, stay as they are.
    first = max((place + 1 for place, size in enumerate(sizes) if 2 * size > _LARGEST), default=0)
    if len(sizes) - first <= _MOST:
        return None
    total = sizes[-1]
    for start in range(len(sizes) - 2, first - 1, -1):
        total += sizes[start]
        if total > _LARGEST:
            return slice(start + 1, len(sizes)) if start < len(sizes) - 2 else None
        if start == first or sizes[start - 1] >= total:
            return slice(start, len(sizes))
    return None


def settle(sizes: Sequence[int]) -> slice | None:
    """As `pick`, of a database that nobody is writing to: each query looks at each segment, so there should be few.

    Each is left as large as all behind it together. So a row is written once, and again whenever what it is in has
    doubled; a database has two or three segments, mostly.
    """
    total = sum(sizes)
    for start, size in enumerate(sizes[:-1]):
        if size < total - size and total <= _LARGEST:
            return slice(start, len(sizes))
        total -= size
    return None


def _content(segments: Sequence[Segment]) -> Iterator[Buffer]:
    content = Content(segments[0].start, segments[-1].stop)
    nodes: deque[tuple[bytes, _Nodes]] = deque([(b"", [(segment, 0) for segment in segments])])
    while nodes:
        name, places = nodes.popleft()
        children = _children(places)
        content.node(name, len(children))
        yield from _columns(content, places)
        nodes += children
    # Rows are superseded in any order, so that the links of segments interleave.
    old, new = bytearray(), bytearray()
    for before, behind in heapq.merge(
        *[zip(segment.links.old, segment.links.new, strict=True) for segment in segments]
    ):
        old += before.to_bytes(4, "little")
        new += behind.to_bytes(4, "little")
    yield from content.end(old, new, BitMap().union(*[segment.deleted() for segment in segments]))


def _children(places: _Nodes) -> list[tuple[bytes, _Nodes]]:
    """What leads on from a path in any of the segments, in order."""

    def read(number: int, segment: Segment, node: int) -> Iterator[tuple[bytes, int, int]]:
        children = segment.children(node)
        for child, name in zip(children, segment.node_names(children), strict=True):
            yield name, number, child

    merged = heapq.merge(*[read(number, *place) for number, place in enumerate(places)])
    return [
        (name, [(places[number][0], child) for _, number, child in group])
        for name, group in groupby(merged, key=itemgetter(0))
    ]


def _columns(content: Content, places: _Nodes) -> Iterator[Buffer]:
    found: dict[Any, list[SegmentColumn]] = {}
    for segment, node in places:
        for number in segment.node_columns(node):
            found.setdefault(segment.column_kind(number), []).append(segment.read_column(number))
    for kind in sorted(found):
        columns = found[kind]
        if len(columns) == 1:
            yield from content.copy(columns[0])
            continue
        packed = Packed(text=kind in TEXT)
        sources = [Source(column, number) for number, column in enumerate(columns)]
        while unite(packed, sources, STEP):
            pass
        packed.larges = [_union(columns, pieces) for pieces in packed.larges]
        yield from content.column(kind, packed, BitMap().union(*[column.rows() for column in columns]))


def _union(columns: list[SegmentColumn], pieces: list[tuple[int, int]]) -> AbstractBitMap:
    rows: list[int] = []
    larges = []
    for number, word in pieces:
        if word < SHORTS:
            rows.append(word)
        elif word < LARGE:
            rows += columns[number].short(word - SHORTS)
        else:
            larges.append(columns[number].large(word - LARGE))
    return BitMap(rows).union(*larges)
