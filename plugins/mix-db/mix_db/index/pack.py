"""Columns on their way into a file: `pack` makes one from memory, `unite` one from those of several segments.

Both are called with the same arguments in two twins: these, which say what is to be done, and `mix_db._native`, which
does it faster and is taken when it is there. Each call works on a limited number of keys, so that a thread that
runs it can be interrupted between two of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.blocks import Buffer, padding
from mix_db.index.memory import SHORT, Posting
from mix_db.index.native import native
from mix_db.index.part import Key, Kind
from mix_db.index.segment import COLUMN, LARGE, SHORTS, STRIDE, VARIOUS, SegmentColumn, split

__all__ = ["STEP", "Packed", "Source", "pack", "pack_python", "unite", "unite_python"]

STEP: Final = 8192
"""Keys of one call."""

_JOINED: Final = 1 << 16
_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")


class Packed:
    """The sections of a column as they are made, see `mix_db.index.segment`.

    Attributes:
        keys, lengths, tails, postings, sums, shorts: the sections; `lengths` has one for each key.
        larges: for each key with more than `SHORT` rows what its rows are made of.
        state: number of keys; of all their rows; the lengths of the shortest and the longest tail.
    """

    __slots__ = ("keys", "larges", "lengths", "postings", "shorts", "state", "sums", "tails", "text")

    def __init__(self, *, text: bool) -> None:
        self.text = text
        self.keys = bytearray()
        self.lengths = bytearray()
        self.tails = bytearray()
        self.postings = bytearray()
        self.sums = bytearray()
        self.shorts = bytearray()
        self.larges: list[Any] = []
        self.state = [0, 0, VARIOUS, 0]

    def add(self, prefix: int, tail: bytes, count: int, rows: Any) -> None:
        """Append a key with `count` rows: its row, or a list in order, or if they are many whatever `larges` is to
        keep for it."""
        keys, total, shortest, longest = self.state
        if keys % STRIDE == 0:
            self.sums += _U64.pack(total)
        self.keys += _U64.pack(prefix)
        if self.text:
            self.lengths += _U16.pack(len(tail))
            self.tails += tail
        if count == 1:
            word = rows
        elif count <= SHORT:
            word = SHORTS + len(self.shorts) // 4
            self.shorts += _U32.pack(SHORTS + count)
            self.shorts += b"".join(map(_U32.pack, rows))
        else:
            word = LARGE + len(self.larges)
            self.larges.append(rows)
        self.postings += _U32.pack(word)
        self.state = [keys + 1, total + count, min(shortest, len(tail)), max(longest, len(tail))]

    def sections(self, place: int, kind: Kind, rows: AbstractBitMap) -> tuple[bytes, list[Buffer]]:
        """The column's line of the table, and its bytes.

        Args:
            place: where it will begin in the file.
            rows: all rows; `larges` are bitmaps by now.
        """
        keys, total, shortest, longest = self.state
        ends, bitmaps = bytearray(), bytearray()
        for bitmap in self.larges:
            bitmaps += _serialized(bitmap)
            ends += _U32.pack(len(bitmaps)) + _U32.pack(len(bitmap))
        every = _serialized(rows) if keys > 1 else b""
        width = shortest if shortest == longest else VARIOUS
        tails, places = len(self.tails), b""
        line = COLUMN.pack(
            place,
            tails,
            len(bitmaps),
            total,
            keys,
            len(rows),
            len(self.shorts) // 4,
            len(self.larges),
            len(every),
            width,
            kind,
        )
        if width == VARIOUS:
            lengths = memoryview(self.lengths).cast("H")
            place, found = 0, []
            for start in range(0, keys, STRIDE):
                found.append(_U64.pack(place))
                place += sum(lengths[start : start + STRIDE])
            places = b"".join(found)
        padded: list[Buffer] = [self.keys, places]
        padded += [self.lengths if width == VARIOUS else b"", self.tails, self.postings]
        padded += [self.sums if total != keys else b"", self.shorts]
        return line, _padded([*padded, ends + bitmaps + every])


def _padded(sections: Sequence[Buffer]) -> list[Buffer]:
    found = [part for section in sections if section for part in (section, padding(len(section)))]
    # Where there are many paths, each column has few bytes, and handing over its pieces would cost most.
    return [b"".join(found)] if sum(map(len, found)) < _JOINED else found


def _serialized(bitmap: AbstractBitMap) -> bytes:
    found = BitMap(bitmap)
    found.run_optimize()
    return found.serialize()


def pack_python(
    packed: Packed, keys: Sequence[Key], postings: Mapping[Key, Posting], start: int, stop: int
) -> None:
    """Append some of a column's keys, which are in order, with their rows."""
    for key in keys[start:stop]:
        posting = postings[key]
        prefix, tail = (key, b"") if isinstance(key, int) else split(key)
        packed.add(prefix, tail, 1 if isinstance(posting, int) else len(posting), posting)


class Source:
    """A column of a segment, read from its first key to its last.

    Attributes:
        state: number of the keys that were read; of the bytes of their tails.
        number: tells sources apart; those with lower numbers have lower rows.
    """

    __slots__ = (
        "column",
        "ends",
        "keys",
        "lengths",
        "number",
        "postings",
        "shorts",
        "state",
        "tails",
        "width",
    )

    def __init__(self, column: SegmentColumn, number: int) -> None:
        self.column = column
        self.number = number
        blocks = column.blocks
        words, place = column.shorts
        self.keys = column.keys
        self.width = column.width
        self.lengths = column.lengths() or memoryview(b"").cast("H")
        self.tails = blocks.view(column.tails, column.tails_size)
        self.postings = column.words(0, column.count)
        self.shorts = blocks.view(place, words.nbytes).cast("I")
        self.ends = column.ends
        self.state = [0, 0]

    def read(self) -> Iterator[tuple[int, bytes, int, int]]:
        """Prefix and tail of each key that is left, the number of the source, the posting."""
        place, at = self.state
        for index in range(place, len(self.keys)):
            size = self.lengths[index] if self.width == VARIOUS else self.width
            tail = bytes(self.tails[at : at + size])
            at += size
            self.state = [index + 1, at]
            yield self.keys[index], tail, self.number, self.postings[index]


def unite_python(packed: Packed, sources: Sequence[Source], limit: int) -> bool:
    """Append the next keys of all sources, in order, each with the rows of all.

    A key with more than `SHORT` rows puts a list of (number of the source, posting) in `larges`.

    Returns:
        whether there may be more.
    """
    # Reading ahead would leave the states behind the keys that were used, so this twin does all at once.
    del limit
    merged = heapq.merge(*[source.read() for source in sources])
    for (prefix, tail), group in groupby(merged, key=itemgetter(0, 1)):
        pieces = [(number, word) for _, _, number, word in group]
        count = sum(_count(sources[number], word) for number, word in pieces)
        rows: Any = pieces
        if count == 1:
            rows = pieces[0][1]
        elif count <= SHORT:
            rows = [row for number, word in pieces for row in _list(sources[number], word)]
        packed.add(prefix, tail, count, rows)
    return False


def _count(source: Source, word: int) -> int:
    if word < SHORTS:
        return 1
    return int(source.shorts[word - SHORTS] - SHORTS if word < LARGE else source.ends[2 * (word - LARGE) + 1])


def _list(source: Source, word: int) -> list[int]:
    if word < SHORTS:
        return [word]
    begin = word - SHORTS
    return source.shorts[begin + 1 : begin + 1 + source.shorts[begin] - SHORTS].tolist()


pack = pack_python if native is None else native.pack
unite = unite_python if native is None else native.unite
