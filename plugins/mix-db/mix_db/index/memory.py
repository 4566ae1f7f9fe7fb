"""The index of the rows that are still in the write log, kept in memory.

One thread adds rows while others read. Readers rely on single steps of CPython being whole: a list is only ever
appended to, a key is in `postings` before it is in `keys`, and whatever is handed out is a copy or never changed
again. Rows that a reader's snapshot does not see may turn up in answers; it cuts them off.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.part import Key, Kind, Path, text_key
from mix_db.index.terms import INDEXED, KINDS, PREFIX, key_of
from mixkit.errors import StorageError

__all__ = ["MAX_ROWS", "SHORT", "Growing", "MemoryPart", "Node", "Posting", "size"]

MAX_ROWS: Final = 2**31
"""Rows that a database can have: they are 31-bit numbers in the index."""

SHORT: Final = 32
"""Most rows of a key that are kept as a list; more are a bitmap, here and in segments."""

_KINDS: Final = tuple(Kind)
_FEW: Final = 64
_MANY: Final = 1024

Posting = int | list[int] | BitMap
"""The rows of a key: one, or a list in ascending order, or if there are more than `SHORT` a bitmap."""


def size(posting: Posting) -> int:
    """Number of rows."""
    return 1 if isinstance(posting, int) else len(posting)


class Growing:
    """The keys of one kind at one path, as the writer sees them.

    Attributes:
        keys: the different keys in the order in which they came.
        postings: the rows of each key.
        rows: all rows of the column.
    """

    __slots__ = ("keys", "order", "postings", "rows")

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.postings: dict[Key, Posting] = {}
        self.rows = BitMap()
        self.order: list[Key] = []

    def add(self, key: Key, row: int) -> None:
        """Note a row, which is not below those noted before."""
        posting = self.postings.get(key)
        if posting is None:
            self.postings[key] = row
            self.keys.append(key)
        elif isinstance(posting, int):
            if posting != row:
                self.postings[key] = [posting, row]
        elif isinstance(posting, list):
            if posting[-1] != row:
                posting.append(row)
                if len(posting) > SHORT:
                    self.postings[key] = BitMap(posting)
        else:
            posting.add(row)
        self.rows.add(row)

    def sorted(self) -> list[Key]:
        """All keys in order; the list is never changed."""
        order = self.order
        fresh = self.keys[len(order) :]
        if fresh:
            order = order.copy()
            if len(fresh) <= _FEW:
                for key in fresh:
                    insort(order, key)
            else:
                order += fresh
                order.sort()
            # Of two readers here one may store the shorter list; the next reader then sorts some keys again.
            self.order = order
        return order


class Node:
    """A path: its columns by kind, and the paths that lead on from it."""

    __slots__ = ("columns", "fields", "items")

    def __init__(self) -> None:
        self.columns: list[Growing | None] = [None] * len(Kind)
        self.fields: dict[str, Node] = {}
        self.items: Node | None = None


class MemoryColumn:
    """A column as it was when it was first asked for something that has an order."""

    __slots__ = ("_column", "_kind", "_order")

    def __init__(self, column: Growing, kind: Kind) -> None:
        self._column = column
        self._kind = kind
        self._order: list[Key] | None = None

    @property
    def kind(self) -> Kind:
        return self._kind

    def _keys(self) -> list[Key]:
        if self._order is None:
            self._order = self._column.sorted()
        return self._order

    def __len__(self) -> int:
        return len(self._keys())

    def rows(self) -> AbstractBitMap:
        return self._column.rows.copy()

    def key(self, index: int) -> Key:
        return self._keys()[index]

    def find(self, key: Key) -> int:
        return bisect_left(self._keys(), key)

    def lookup(self, key: Key) -> Sequence[int] | AbstractBitMap:
        posting = self._column.postings.get(key, ())
        if isinstance(posting, int):
            return (posting,)
        return posting.copy() if isinstance(posting, BitMap) else tuple(posting)

    def bitmap(self, start: int, stop: int) -> AbstractBitMap:
        keys = self._keys()
        if start <= 0 and stop >= len(keys):
            return self.rows()
        rows: list[int] = []
        large: list[BitMap] = []
        for key in keys[start:stop]:
            posting = self._column.postings[key]
            if isinstance(posting, int):
                rows.append(posting)
            elif isinstance(posting, list):
                rows += posting
            else:
                large.append(posting)
        if len(large) == 1 and not rows:
            return large[0].copy()
        return BitMap(rows).union(*large)

    def counts(self, start: int, stop: int) -> int:
        total = len(self._column.rows)
        if stop - start > _MANY:
            return total
        postings = self._column.postings
        return min(total, sum(size(postings[key]) for key in self._keys()[start:stop]))


class MemoryLinks:
    """Which row replaced which, in the order in which it happened."""

    __slots__ = ("_known", "_new", "_old", "_successors")

    def __init__(self) -> None:
        self._old: list[int] = []
        self._new: list[int] = []
        self._successors: dict[int, int] = {}
        self._known: tuple[int, BitMap] = (0, BitMap())

    def add(self, row: int, previous: int) -> None:
        self._successors[previous] = row
        self._old.append(previous)
        # Last, because readers take it for the number of links.
        self._new.append(row)

    def pairs(self) -> list[tuple[int, int]]:
        """(old, new) in the order of the old rows."""
        return sorted(self._successors.items())

    def superseded(self, rows: int) -> AbstractBitMap:
        count = bisect_left(self._new, rows)
        known, bitmap = self._known
        if count != known:
            # Snapshots mostly come one behind the other, so that little is added to the one before.
            start, bitmap = (known, bitmap.copy()) if known < count else (0, BitMap())
            bitmap.update(self._old[start:count])
            self._known = count, bitmap
        return bitmap

    def successor(self, row: int) -> int | None:
        return self._successors.get(row)


class MemoryPart:
    """The index of the rows from `start` on, growing as rows are added. A Part; see `mix_db.index.part`.

    An object that `column` answers keeps to one order of keys, other calls may answer another; so take one object
    for `find` and what is done with the places found.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._stop = start
        self.root = Node()
        self._links = MemoryLinks()
        self._deleted = BitMap()

    @property
    def start(self) -> int:
        return self._start

    @property
    def stop(self) -> int:
        return self._stop

    @property
    def links(self) -> MemoryLinks:
        return self._links

    def deleted(self) -> AbstractBitMap:
        return self._deleted.copy()

    def add(self, row: int, record: Mapping[str, Any]) -> None:
        """Index the next row, by one thread at a time. `_rmx_previous` and `_rmx_deleted` are noted too.

        Args:
            row: the number of the row, which must be `stop`.
            record: as it is stored; it must have been checked.

        Raises:
            StorageError: the database has as many rows as it can have.
        """
        if row != self._stop:
            raise ValueError(f"expected row {self._stop}, found {row}")
        self.check_room(1)
        _add(self.root, row, record)
        previous = record.get("_rmx_previous")
        links = [] if previous is None else [(row, int(previous.id))]
        self.note(1, links, [row] if record.get("_rmx_deleted") else [])

    def check_room(self, count: int) -> None:
        """Raise `StorageError` if the database cannot have so many more rows."""
        if self._stop + count > MAX_ROWS:
            raise StorageError(
                f"a database holds at most {MAX_ROWS} versions of records; compact it without its history"
            )

    def note(self, count: int, links: Iterable[tuple[int, int]], deleted: Iterable[int]) -> None:
        """The next `count` rows are in the columns below `root`; these of them replaced which, and are tombstones."""
        for row, previous in links:
            self._links.add(row, previous)
        self._deleted.update(deleted)
        self._stop += count

    def newest(self, id: str, rows: int) -> int | None:
        """The last row of a record below `rows`. What each save asks, so that nothing is copied or sorted for it."""
        node = self.root.fields.get("_rmx_id")
        column = None if node is None else node.columns[Kind.REF]
        posting = None if column is None else column.postings.get(text_key(id))
        if posting is None:
            return None
        if isinstance(posting, int):
            return posting if posting < rows else None
        if isinstance(posting, list):
            return next((row for row in reversed(posting) if row < rows), None)
        count = posting.rank(rows - 1) if rows else 0
        return posting[count - 1] if count else None

    def paths(self) -> int:
        """Number of different paths so far, by a walk over all of them."""
        count, pending = 0, [self.root]
        for node in pending:
            pending += list(node.fields.values())
            if node.items is not None:
                pending.append(node.items)
            count += 1
        return count - 1

    def column(self, path: Path, kind: Kind) -> MemoryColumn | None:
        node = self._node(path)
        column = None if node is None else node.columns[kind]
        return None if column is None else MemoryColumn(column, kind)

    def kinds(self, path: Path) -> Sequence[Kind]:
        node = self._node(path)
        return [] if node is None else [kind for kind in _KINDS if node.columns[kind] is not None]

    def names(self, path: Path) -> Iterator[str]:
        node = self._node(path)
        return iter([] if node is None else list(node.fields))

    def _node(self, path: Iterable[str | None]) -> Node | None:
        node: Node | None = self.root
        for name in path:
            if node is None:
                return None
            node = node.items if name is None else node.fields.get(name)
        return node


def _add(root: Node, row: int, record: Mapping[str, Any]) -> None:
    """Put what `terms` yields of a record into the columns below `root`."""
    pending: list[tuple[Node, Any]] = [
        (_field(root, name), value)
        for name, value in record.items()
        if not name.startswith(PREFIX) or name in INDEXED
    ]
    # It grows while it is gone through: a walk without recursion.
    for node, value in pending:
        kind = KINDS[type(value)]
        column = node.columns[kind]
        if column is None:
            column = node.columns[kind] = Growing()
        column.add(key_of(kind, value), row)
        if kind is Kind.MAP:
            pending += [(_field(node, name), item) for name, item in value.items()]
        elif kind is Kind.ARRAY and value:
            items = node.items
            if items is None:
                items = node.items = Node()
            pending += [(items, item) for item in value]


def _field(node: Node, name: str) -> Node:
    found = node.fields.get(name)
    if found is None:
        found = node.fields[name] = Node()
    return found
