"""What a query asks of an index, whether it lies in a file or in memory.

An index is a row of parts, each for a range of rows. A part has a column for each path and kind of value that
occurs in its rows; a column has the different keys in order, and the rows of each key.

    path    the names of the maps' fields from the record down; None stands for "each element of the array here"
    kind    what the value is; integers and floats have columns of their own, with keys in one common order
    key     the value as something that sorts:
                NULL ARRAY MAP BINARY CASE   0 (only that there is one is known)
                BOOL                         0 or 1
                INT FLOAT                    `number_key`: an int from 0 to 2^64-1, 0 for NaN
                STRING REF                   `text_key`: UTF-8 of the first `MAX_TEXT` characters
A row may be in several keys of a column when its path leads through arrays. Of the engine's own fields only
`_rmx_id` and `_rmx_type` are columns; `Part.links` and `Part.deleted` have what else queries need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct
from typing import Final, Protocol, TypeAlias

from pyroaring import AbstractBitMap

__all__ = [
    "MAX_TEXT",
    "Column",
    "Key",
    "Kind",
    "Links",
    "Part",
    "Path",
    "ambiguous",
    "number_key",
    "text_key",
]

Path: TypeAlias = tuple[str | None, ...]
Key: TypeAlias = int | bytes

MAX_TEXT: Final = 256
"""Characters of a string or ref that are part of its key."""

_DOUBLE: Final = Struct(">d")
_BITS: Final = Struct(">Q")
_EXACT: Final = 2**53


class Kind(IntEnum):
    """Kind of a value, in the order in which `order` sorts them; INT and FLOAT are sorted together."""

    NULL = 0
    BOOL = 1
    INT = 2
    FLOAT = 3
    STRING = 4
    REF = 5
    BINARY = 6
    ARRAY = 7
    MAP = 8
    CASE = 9


class Column(Protocol):
    """The values of one kind at one path. Immutable, or growing at rows that no older snapshot sees."""

    @property
    def kind(self) -> Kind: ...

    def __len__(self) -> int:
        """Number of different keys."""
        ...

    def rows(self) -> AbstractBitMap:
        """All rows that have a value here. Not to be changed."""
        ...

    def key(self, index: int) -> Key:
        """The key at a place in the order, from 0."""
        ...

    def find(self, key: Key) -> int:
        """Place of the first key that is not less."""
        ...

    def lookup(self, key: Key) -> Sequence[int] | AbstractBitMap:
        """The rows of one key in ascending order, none if it is not there; quicker than the ways above for few rows.
        Not to be changed."""
        ...

    def bitmap(self, start: int, stop: int) -> AbstractBitMap:
        """The rows of the keys at `start` to `stop`, without it. Not to be changed."""
        ...

    def counts(self, start: int, stop: int) -> int:
        """An estimate, not below the truth, of `len(bitmap(start, stop))`, without making it."""
        ...


class Links(Protocol):
    """Which row replaced which."""

    def superseded(self, rows: int) -> AbstractBitMap:
        """Rows, in whatever part, that are replaced by rows of this part below `rows`. Not to be changed."""
        ...

    def successor(self, row: int) -> int | None:
        """The row of this part that replaced `row`."""
        ...


class Part(Protocol):
    """The index of a range of rows."""

    @property
    def start(self) -> int: ...

    @property
    def stop(self) -> int:
        """Behind the last row. The part of the write log grows."""
        ...

    @property
    def links(self) -> Links: ...

    def deleted(self) -> AbstractBitMap:
        """The tombstones among the rows. Not to be changed."""
        ...

    def column(self, path: Path, kind: Kind) -> Column | None: ...

    def kinds(self, path: Path) -> Sequence[Kind]:
        """Kinds that have a column at the path, in order."""
        ...

    def names(self, path: Path) -> Iterator[str]:
        """The names of the fields of the maps at the path."""
        ...


def number_key(number: int | float) -> int:
    """The nearest double, as an integer that sorts like the numbers do; NaN is 0, -0.0 is like 0."""
    bits: int
    (bits,) = _BITS.unpack(_DOUBLE.pack(number or 0.0))
    if number != number:
        return 0
    return bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63


def text_key(text: str) -> bytes:
    """UTF-8 of the first `MAX_TEXT` characters; bytes sort as the texts do."""
    return text[:MAX_TEXT].encode()


def ambiguous(value: int | float | str) -> bool:
    """Whether values other than this have its key too, so that rows found by the key must be looked at."""
    return len(value) >= MAX_TEXT if isinstance(value, str) else abs(value) >= _EXACT
