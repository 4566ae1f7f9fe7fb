"""The index of a range of rows in a file: immutable, memory-mapped, read where a query asks and nowhere else.

The file is sealed in blocks with checksums, see `mix_db.index.blocks`. Numbers are little-endian, places are
offsets in the content, sections begin at multiples of 8 with zeros before them. Rows are those of the database,
below 2^31. The content is

    columns   one behind the other, as below
    nodes     for each path 16 bytes: u64 offset in `names`, u32 its first child, u32 its first column; one more
              closes the last. Node 0 is the record, the children of a node stand together, in the order of their
              names, behind all nodes before it; so the first child and the first column of the next node end a
              node's own
    names     UTF-8 of the nodes' names, one behind the other; the byte FF for "each element"
    table     for each column the 64 bytes of `COLUMN`, the columns of a node in the order of their kinds
    links     u32 rows that were superseded, ascending, then u32 the rows of this file that superseded them
    deleted   the tombstones, a bitmap
    head      the last 72 bytes, `HEAD`

A column has `count` keys in ascending order; its sections are

    keys      u64 each. Of numbers, bools and kinds without keys the key itself. Of text the first 8 bytes, as a
              big-endian number, zeros behind shorter ones: the byte 0 does not occur in text, which is escaped
              (00 as 01 01, 01 as 01 02, so that the order stays)
    tails     what is longer than 8 bytes of each text. If all tails have the same length, it is `width` and the
              tails follow each other; otherwise `width` is FFFF and before them stand u64 the offset of every
              16th tail, then u16 the length of each
    postings  u32 each: a row, if the key has one; 80000000 + index in `shorts`; C0000000 + index in `larges`
    sums      u64 for every 16th key: the rows of all keys before it. Left out if each key has one row
    shorts    u32: 80000000 + number, then as many rows, ascending; the lists in the order of their keys. So the
              rows of many keys are one piece of memory, in which all that is no row is above all rows
    larges    u32 end in `bitmaps`, u32 number of rows, for each key with more than 32 rows
    bitmaps   serialized roaring bitmaps, those of `larges` and behind them all rows of the column, which are left
              out if there is one key

A name or key has its place only once, whatever the shape of the records: what is stored grows with them and not
with the length of their paths.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from struct import Struct
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.files.errors import DamagedFile
from mix_db.index.blocks import Blocks
from mix_db.index.native import native
from mix_db.index.part import Key, Kind, Path

__all__ = [
    "COLUMN",
    "HEAD",
    "LARGE",
    "NODE",
    "SHORTS",
    "STRIDE",
    "TEXT",
    "VARIOUS",
    "Segment",
    "SegmentColumn",
    "SegmentLinks",
    "check",
    "escape",
    "label",
    "split",
    "unescape",
]

COLUMN: Final = Struct("<QQQQIIIIIHB9x")
"""Offset of `keys`; sizes of `tails` and of the bitmaps of `larges`; sum of all keys' rows; `count`; rows; u32 in
`shorts`; `larges`; size of the bitmap of all rows; `width`; kind."""

NODE: Final = Struct("<QII")

HEAD: Final = Struct("<QQQQQQQIIII")
"""Start and stop of the rows; offsets of `nodes`, `names`, `table`, `links`, `deleted`; number of nodes, of columns,
of links; size of `deleted`."""

STRIDE: Final = 16
VARIOUS: Final = 0xFFFF
SHORTS: Final = 1 << 31
LARGE: Final = 3 << 30
TEXT: Final = frozenset({Kind.STRING, Kind.REF})

_ROWS: Final = 1 << 31
_WORDS: Final = 1 << 32
_CACHED_COLUMNS: Final = 4096
_CACHED_BYTES: Final = 1 << 22
_DENSE: Final = 4
"""So many rows a key make it worth while to keep the rows of few keys together."""

_WIDEST: Final = STRIDE**3
"""Keys of the largest blocks: reading one takes a fraction of a millisecond."""

_FEW: Final = 2

_ABSENT: Final = -1
_find: Final = None if native is None else native.find
_seek: Final[Callable[[memoryview, int], int]] = bisect_left if native is None else native.seek


def escape(text: bytes) -> bytes:
    """The same without the byte 0, in the same order."""
    if b"\0" in text or b"\1" in text:
        return text.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")
    return text


def unescape(text: bytes) -> bytes:
    return text.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1") if b"\1" in text else text


# Each segment of a database is asked for the same key, one behind the other.
@lru_cache(maxsize=64)
def split(text: bytes) -> tuple[int, bytes]:
    """A text as it is stored: what stands in `keys`, and its tail."""
    text = escape(text)
    return int.from_bytes(text[:8].ljust(8, b"\0"), "big"), text[8:]


def label(name: str | None) -> bytes:
    """A name as it is stored; elements come behind all fields."""
    return b"\xff" if name is None else name.encode()


def check(name: str, data: memoryview) -> Iterator[DamagedFile]:
    """Read a whole segment; an error for each place that is damaged."""
    try:
        blocks = Blocks(name, data)
    except DamagedFile as exc:
        yield exc
    else:
        yield from blocks.damage()


class SegmentColumn:
    """A column in a file.

    Attributes:
        count: number of keys.
        keys: as they are stored; verified.
        tails, postings, shorts: where these begin in the content; verified where they are read.
        record: the line of the table.
        size: bytes of all sections.
    """

    __slots__ = (
        # For what is kept as long as the column is.
        "__weakref__",
        "_all",
        "_cache",
        "_kind",
        "_least",
        "_lengths",
        "_offsets",
        "_text",
        "bitmaps",
        "blocks",
        "count",
        "ends",
        "keys",
        "larges",
        "pairs",
        "postings",
        "record",
        "row_count",
        "shorts",
        "size",
        "sums",
        "tails",
        "tails_size",
        "width",
    )

    def __init__(self, blocks: Blocks, cache: Cache, record: tuple[int, ...]) -> None:
        (
            place,
            self.tails_size,
            bitmaps_size,
            self.pairs,
            self.count,
            self.row_count,
            shorts,
            self.larges,
            rows_size,
            self.width,
            kind,
        ) = record
        self.record = record
        self.blocks = blocks
        self._cache = cache
        self._kind = Kind(kind)
        self._text = self._kind in TEXT
        count = self.count
        # Keys of the smallest blocks. Where keys have few rows, it is quicker to read a few than to look for blocks.
        self._least = STRIDE if self.pairs >= _DENSE * count else STRIDE * STRIDE
        strides = (count + STRIDE - 1) // STRIDE
        self.keys = blocks.view(place, 8 * count).cast("Q")
        place += 8 * count
        if self.width == VARIOUS:
            self._offsets = blocks.view(place, 8 * strides).cast("Q")
            self._lengths = blocks.view(place + 8 * strides, 2 * count).cast("H")
            place = _aligned(place + 8 * strides + 2 * count)
        self.tails = place
        self.postings = place = _aligned(place + self.tails_size)
        place = _aligned(place + 4 * count)
        if self.pairs != count:
            self.sums = blocks.view(place, 8 * strides).cast("Q")
            place += 8 * strides
        self.shorts = blocks.data[place : place + 4 * shorts].cast("I"), place
        place = _aligned(place + 4 * shorts)
        self.ends = blocks.view(place, 8 * self.larges).cast("I")
        self.bitmaps = place + 8 * self.larges
        self._all = self.bitmaps + bitmaps_size, rows_size
        self.size = _aligned(sum(self._all)) - record[0]

    @property
    def kind(self) -> Kind:
        return self._kind

    def __len__(self) -> int:
        return self.count

    def rows(self) -> AbstractBitMap:
        return self._bitmap(*self._all) if self._all[1] else self.bitmap(0, self.count)

    def key(self, index: int) -> Key:
        prefix: int = self.keys[index]
        if not self._text:
            return prefix
        return unescape(prefix.to_bytes(8, "big").rstrip(b"\0") + self.tail(index))

    def find(self, key: Key) -> int:
        if isinstance(key, int):
            return _seek(self.keys, key)
        prefix, tail = split(key)
        keys = self.keys
        place = _seek(keys, prefix)
        if tail and place < self.count and keys[place] == prefix:
            if place + 1 == self.count or keys[place + 1] != prefix:
                return place + (self.tail(place) < tail)
            end = bisect_right(keys, prefix, place)
            return bisect_left(range(self.count), tail, place, end, key=self.tail)
        return place

    def lookup(self, key: Key) -> Sequence[int] | AbstractBitMap:
        if _find is not None and isinstance(key, bytes) and self.width != VARIOUS:
            blocks = self.blocks
            row = _find(self.keys, blocks.data, blocks.flags, self.tails, self.width, self.postings, key)
            if row >= 0:
                return (row,)
            if row == _ABSENT:
                return ()
        prefix, tail = (key, b"") if isinstance(key, int) else split(key)
        keys, count = self.keys, self.count
        place = _seek(keys, prefix)
        if place == count or keys[place] != prefix:
            return ()
        if self._text:
            if place + 1 < count and keys[place + 1] == prefix:
                place = self.find(key)
                if place == count or keys[place] != prefix:
                    return ()
            if self.tail(place) != tail:
                return ()
        (word,) = self.words(place, place + 1)
        if word < SHORTS:
            return (word,)
        return self.short(word - SHORTS) if word < LARGE else self.large(word - LARGE)

    def bitmap(self, start: int, stop: int) -> AbstractBitMap:
        start, stop = max(start, 0), min(stop, self.count)
        if start >= stop:
            return BitMap()
        if start == 0 and stop == self.count > 1:
            return self.rows()
        if stop - start == 1:
            return self._rows_of(self.words(start, stop)[0])
        found = self._pieces(start, stop, 1)
        return found[0].union(*found[1:]) if len(found) > 1 else found[0]

    def counts(self, start: int, stop: int) -> int:
        start, stop = max(start, 0), min(stop, self.count)
        if start >= stop:
            return 0
        if self.pairs == self.count:
            return min(stop - start, self.row_count)
        if stop - start <= _FEW:
            return sum([1 if word < SHORTS else self._size(word) for word in self.words(start, stop)])
        # Not to count within strides is near enough.
        last = -(-stop // STRIDE)
        before = self.sums[last] if last < len(self.sums) else self.pairs
        return min(before - self.sums[start // STRIDE], self.row_count)

    def tail(self, index: int) -> bytes:
        """What the text at a place has beyond 8 bytes."""
        size = self.width
        if size == VARIOUS:
            stride, rest = divmod(index, STRIDE)
            place = self.tails + self._offsets[stride] + sum(self._lengths[index - rest : index])
            size = self._lengths[index]
        else:
            place = self.tails + index * size
        return bytes(self.blocks.view(place, size)) if size else b""

    def lengths(self) -> memoryview | None:
        """Lengths of the tails, if they are various."""
        return self._lengths if self.width == VARIOUS else None

    def words(self, start: int, stop: int) -> memoryview:
        """The postings of some keys."""
        return self.blocks.view(self.postings + 4 * start, 4 * (stop - start)).cast("I")

    def short(self, index: int) -> memoryview:
        """The list of rows that begins there."""
        words, place = self.shorts
        self.blocks.verify(place + 4 * index, 4)
        size = words[index] - SHORTS
        self.blocks.verify(place + 4 * index + 4, 4 * size)
        return words[index + 1 : index + 1 + size]

    def large(self, index: int) -> AbstractBitMap:
        """The bitmap of that number."""
        begin = self.ends[2 * index - 2] if index else 0
        return self._bitmap(self.bitmaps + begin, self.ends[2 * index] - begin)

    def _pieces(self, start: int, stop: int, width: int) -> list[AbstractBitMap]:
        """Sets whose union has the rows of some blocks of `width` keys, larger blocks where these fit in."""
        times = self._least if width == 1 else STRIDE
        first, last = -(-start // times), stop // times
        if first >= last or width == _WIDEST:
            return self._blocks(start, stop, width)
        return [
            *self._blocks(start, first * times, width),
            *self._pieces(first, last, width * times),
            *self._blocks(last * times, stop, width),
        ]

    def _blocks(self, start: int, stop: int, width: int) -> list[AbstractBitMap]:
        if width > 1:
            return [self._block(index, width) for index in range(start, stop)]
        return [self._read(start, stop)] if start < stop else []

    def _block(self, index: int, width: int) -> AbstractBitMap:
        """The rows of a block of keys. They are kept, since ranges of one column have most blocks in common."""
        place = self.postings, index, width
        found = self._cache.get(place)
        if found is None:
            found = self._read(index * width, (index + 1) * width)
            self._cache.put(place, found, 2 * len(found))
        return found

    def _read(self, start: int, stop: int) -> AbstractBitMap:
        """The rows of some keys, from their postings."""
        found = BitMap(self.words(start, stop))
        return self._resolve(found) if self.pairs != self.count else found

    def _rows_of(self, word: int) -> AbstractBitMap:
        if word < SHORTS:
            return BitMap((word,))
        if word < LARGE:
            return BitMap(self.short(word - SHORTS))
        return self.large(word - LARGE)

    def _resolve(self, found: BitMap) -> BitMap:
        """The union of postings as numbers: the rows among them, and what the others lead to."""
        below, middle = found.rank(SHORTS - 1), found.rank(LARGE - 1)
        total = len(found)
        if below == total:
            return found
        parts: list[AbstractBitMap] = []
        if below < middle:
            # The lists of keys that stand together stand together.
            words, place = self.shorts
            first, last = found[below] - SHORTS, found[middle - 1] - SHORTS
            end = last + 1 + len(self.short(last))
            self.blocks.verify(place + 4 * first, 4 * (end - first))
            parts.append(BitMap(words[first:end]))
        if middle < total:
            parts += [
                self.large(index) for index in range(found[middle] - LARGE, found[total - 1] - LARGE + 1)
            ]
        found = found.union(*parts)
        found.remove_range(_ROWS, _WORDS)
        return found

    def _size(self, word: int) -> int:
        return len(self.short(word - SHORTS)) if word < LARGE else self.ends[2 * (word - LARGE) + 1]

    def _bitmap(self, place: int, size: int) -> AbstractBitMap:
        found = self._cache.get(place)
        if found is None:
            found = BitMap.deserialize(bytes(self.blocks.view(place, size)))
            self._cache.put(place, found, size)
        return found


class Cache:
    """Bitmaps that were read, up to a number of bytes; then it begins anew."""

    __slots__ = ("_found", "_size", "get")

    def __init__(self) -> None:
        self._found: dict[Hashable, AbstractBitMap] = {}
        self._size = 0
        self.get = self._found.get

    def put(self, place: Hashable, bitmap: AbstractBitMap, size: int) -> None:
        self._size += size + 64
        if self._size > _CACHED_BYTES:
            self._found.clear()
            self._size = size + 64
        self._found[place] = bitmap


class SegmentLinks:
    """Which row replaced which, in a file."""

    __slots__ = ("_known", "_stop", "new", "old")

    def __init__(self, words: memoryview, stop: int) -> None:
        self._stop = stop
        half = len(words) // 2
        self.old = words[:half]
        self.new = words[half:]
        self._known: tuple[int, BitMap] | None = None

    def superseded(self, rows: int) -> AbstractBitMap:
        rows = min(rows, self._stop)
        known = self._known
        if known is None or known[0] != rows:
            if rows == self._stop:
                found = BitMap(self.old)
            else:
                found = BitMap([old for old, new in zip(self.old, self.new, strict=True) if new < rows])
            self._known = known = rows, found
        return known[1]

    def successor(self, row: int) -> int | None:
        place = bisect_left(self.old, row)
        return self.new[place] if place < len(self.old) and self.old[place] == row else None


class Segment:
    """An index segment. A Part; see `mix_db.index.part`. Made in microseconds, usable from any thread.

    Args:
        name: of the file, for errors.
        data: all of it, mapped or not.

    Raises:
        DamagedFile: a byte that was needed is not what was written; from every method, and from those of columns.
        FilesError: a newer version wrote the file.
    """

    def __init__(self, name: str, data: memoryview) -> None:
        self.name = name
        self.data = data
        self.blocks = Blocks(name, data)
        head = self.blocks.view(self.blocks.size - HEAD.size, HEAD.size)
        (
            self._start,
            self._stop,
            self._nodes,
            self._names,
            self._table,
            self._linked,
            self._tombstones,
            self.nodes,
            self.columns,
            self._link_count,
            self._deleted_size,
        ) = HEAD.unpack(head)
        self._cache = Cache()
        self._columns: dict[tuple[Path, Kind], SegmentColumn | None] = {}
        self._kinds: dict[Path, list[Kind]] = {}
        self._links: SegmentLinks | None = None
        self._deleted: AbstractBitMap | None = None

    @property
    def start(self) -> int:
        return int(self._start)

    @property
    def stop(self) -> int:
        return int(self._stop)

    @property
    def links(self) -> SegmentLinks:
        if self._links is None:
            self._links = SegmentLinks(
                self.blocks.view(self._linked, 8 * self._link_count).cast("I"), self._stop
            )
        return self._links

    def deleted(self) -> AbstractBitMap:
        if self._deleted is None:
            self._deleted = BitMap.deserialize(bytes(self.blocks.view(self._tombstones, self._deleted_size)))
        return self._deleted

    def column(self, path: Path, kind: Kind) -> SegmentColumn | None:
        try:
            return self._columns[path, kind]
        except KeyError:
            pass
        found = None
        node = self.find_node(path)
        if node is not None:
            for number in self.node_columns(node):
                if self.column_kind(number) == kind:
                    found = self.read_column(number)
        _remember(self._columns, (path, kind), found)
        return found

    def kinds(self, path: Path) -> Sequence[Kind]:
        try:
            return self._kinds[path]
        except KeyError:
            pass
        node = self.find_node(path)
        found = [] if node is None else [self.column_kind(number) for number in self.node_columns(node)]
        _remember(self._kinds, path, found)
        return found

    def names(self, path: Path) -> Iterator[str]:
        node = self.find_node(path)
        if node is not None:
            for name in self.node_names(self.children(node)):
                if name != label(None):
                    yield name.decode()

    def find_node(self, path: Path) -> int | None:
        """The number of the node of a path."""
        node = 0
        for name in path:
            children = self.children(node)
            wanted = label(name)
            node = bisect_left(range(children.stop), wanted, children.start, key=self.node_name)
            if node == children.stop or self.node_name(node) != wanted:
                return None
        return node

    def children(self, node: int) -> range:
        return range(self._node(node)[1], self._node(node + 1)[1])

    def node_columns(self, node: int) -> range:
        """The numbers of a node's columns."""
        return range(self._node(node)[2], self._node(node + 1)[2])

    def node_name(self, node: int) -> bytes:
        begin, end = self._node(node)[0], self._node(node + 1)[0]
        return bytes(self.blocks.view(self._names + begin, end - begin))

    def node_names(self, nodes: range) -> Iterator[bytes]:
        """The names of nodes that follow each other."""
        lines = self.blocks.view(self._nodes + NODE.size * nodes.start, NODE.size * (len(nodes) + 1))
        places = (place for place, _, _ in NODE.iter_unpack(lines))
        for begin, end in pairwise(places):
            yield bytes(self.blocks.view(self._names + begin, end - begin))

    def column_kind(self, number: int) -> Kind:
        return Kind(self._record(number)[-1])

    def read_column(self, number: int) -> SegmentColumn:
        """The column of that number."""
        return SegmentColumn(self.blocks, self._cache, self._record(number))

    def _node(self, node: int) -> Any:
        return NODE.unpack(self.blocks.view(self._nodes + NODE.size * node, NODE.size))

    def _record(self, number: int) -> Any:
        return COLUMN.unpack(self.blocks.view(self._table + COLUMN.size * number, COLUMN.size))


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    # Paths come from queries, which may ask for any number of them.
    if len(cache) >= _CACHED_COLUMNS:
        cache.clear()
    cache[key] = value


def _aligned(place: int) -> int:
    return (place + 7) & -8
