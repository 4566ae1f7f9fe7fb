"""The tables that a database has: one for each record type, and one of all records."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pyroaring import BitMap

from mix_db.columns import arrow
from mix_db.columns.shape import (
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_PLACES,
    Shape,
    merged,
    names_in_sql,
    shape_of,
)
from mix_db.columns.walk import SeenAt, fill, scan
from mix_db.query.ast import Query
from mix_db.query.clock import Clock
from mix_db.query.execute import compile_query, matches, run
from mix_db.transfer.item import BOOKKEEPING
from mixkit.errors import NotFound, QueryError, StorageError
from mixkit.near import meant

if TYPE_CHECKING:
    import pyarrow as pa

    from mix_db.versions.state import State

T = TypeVar("T")

__all__ = ["ALL", "MAX_NAME", "MAX_TABLES", "RecordTables"]

ALL: Final = "records"
"""The table that has the records of all types, and those of none."""

MAX_TABLES: Final = 10_000
MAX_NAME: Final = 256
"""Types that have a table of their own, the first by code points, and characters that their names have at most."""

_ROWS: Final = 16_384
_BYTES: Final = 32 << 20
"""Rows of a batch, and their bytes."""

_KEPT: Final = 128 << 20
"""Rows of a table with so many bytes are not read a second time to be filled in."""


class RecordTables:
    """Implements `mixkit.sql.RecordTables` on one state of a database.

    Args:
        state: what is seen.
        most: bytes of stored records that one table may be made of.
        seconds: of work for the table.
    """

    def __init__(self, state: State, most: int, seconds: float) -> None:
        self._state = state
        self._most = most
        self._seconds = seconds
        self._types: dict[str, str] | None = None

    @property
    def origin(self) -> object:
        return self._state.origin

    @property
    def watermark(self) -> str:
        return self._state.watermark

    def names(self) -> Sequence[str]:
        return list(self._known())

    def type_of(self, name: str) -> str | None:
        """The type whose records the table has, None for that of all."""
        return None if name == ALL else self._known()[name]

    def count(self, name: str) -> int:
        """The number of its records."""
        return len(self._numbers(name, Clock(self._seconds)))

    def stream(self, name: str, columns: Collection[str] | None = None) -> Iterator[memoryview]:
        return arrow.stream(*self.table(name, columns))

    def table(
        self, name: str, columns: Collection[str] | None = None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """A table's schema, and its batches, which are made as they are asked for.

        Args:
            columns: only these are needed.

        Raises:
            NotFound: there is no such table.
            QueryError: it would be too large, or takes too long.
            StorageError: a row is damaged.
        """
        clock = Clock(self._seconds)
        numbers = self._numbers(name, clock)
        rows = _Rows(self._state, numbers.to_array(), self._most, clock.tick)
        seen = _seen_in(rows) or _NOTHING
        shape = shape_of(seen)
        if columns is None:
            self._state.origin.tables[name] = _Made(
                self.type_of(name), self.watermark, numbers, seen, rows.size, 0
            )
        else:
            shape = shape.part(columns)
        schema = arrow.schema(shape)
        return schema, _batches(shape, schema, rows)

    def appended(self, name: str, watermark: str, stream: memoryview) -> Iterator[memoryview] | None:
        clock = Clock(self._seconds)
        made: _Made | None = self._state.origin.tables.get(name)
        if made is None or made.watermark != watermark or made.batches >= _APPENDED:
            return None
        numbers = self._numbers(name, clock)
        new = numbers - made.numbers
        # What was replaced may have been all that a column was for; and columns are in the order of rows.
        grown = made.type == self.type_of(name) and not made.numbers - numbers
        if not grown or (new and made.numbers and new.min() < made.numbers.max()):
            return None
        rows = _Rows(self._state, new.to_array(), self._most - made.size, clock.tick)
        seen = merged(made.seen, _seen_in(rows)) or _NOTHING
        shape = shape_of(made.seen)
        schema = arrow.schema(shape)
        if shape_of(seen) != shape or not arrow.begins(stream, schema):
            return None
        self._state.origin.tables[name] = _Made(
            made.type, self.watermark, numbers, seen, made.size + rows.size, made.batches + 1
        )
        return arrow.stream(schema, _batches(shape, schema, rows), begun=True)

    def _numbers(self, name: str, clock: Clock) -> BitMap:
        known = self._known()
        if name not in known:
            raise NotFound(
                f"expected a table, found {name!r:.80}, which there is not; there are: "
                f"{', '.join(list(known)[:20])}{meant(name, known)}"
            )
        if name == ALL:
            own = matches(_OF_TYPE, {"type": BOOKKEEPING}, self._state, clock=clock)
            return self._state.current() - own
        return matches(_OF_TYPE, {"type": known[name]}, self._state, clock=clock)

    def _known(self) -> Mapping[str, str]:
        """The types, by what they are called in SQL; of the table of all, an empty text."""
        if self._types is None:
            cursor = run(_TYPES, {}, self._state, timeout=self._seconds)
            types = (row["key"] for row in cursor if isinstance(row.get("key"), str))
            found = set(sorted(type for type in types if len(type) <= MAX_NAME)[:MAX_TABLES]) - {BOOKKEEPING}
            named = names_in_sql(found, taken=(ALL,))
            self._types = {ALL: ""} | {named[type]: type for type in sorted(found)}
        return self._types


@dataclass(frozen=True, slots=True)
class _Made:
    """A table that was made: of which type and moment, of which rows, what was seen in them, their bytes, and how
    many times others were appended."""

    type: str | None
    watermark: str
    numbers: BitMap
    seen: SeenAt
    size: int
    batches: int


_NOTHING: Final[SeenAt] = (0, {}, None)
_APPENDED: Final = 64
"""Times that batches are appended to a table before it is made anew: small ones are slow to read."""


def _seen_in(rows: _Rows) -> SeenAt | None:
    seen: SeenAt | None = None
    for _, stored in rows.chunks():
        seen = merged(seen, _read(scan, stored, MAX_FIELDS, MAX_PLACES, MAX_DEPTH))
    return seen


def _batches(shape: Shape, schema: pa.Schema, rows: _Rows) -> Iterator[pa.RecordBatch]:
    plan = shape.plan()
    for numbers, stored in rows.chunks():
        yield arrow.batch(shape, schema, _read(fill, stored, plan), numbers)


_OF_TYPE: Final[Query] = compile_query("_rmx_type == $type")
_TYPES: Final[Query] = compile_query("true | group(_rmx_type) | count()")


class _Rows:
    """Stored rows in chunks, which can be gone through twice.

    Args:
        most: bytes of all of them.
        tick: raises when it takes too long.

    Attributes:
        size: of all of them, when they were gone through.
    """

    def __init__(self, state: State, numbers: array[int], most: int, tick: Callable[[], None]) -> None:
        self._state = state
        self._numbers = numbers
        self._most = most
        self._tick = tick
        self._kept: list[tuple[array[int], list[bytes]]] | None = None
        self.size = 0

    def chunks(self) -> Iterator[tuple[array[int], list[bytes]]]:
        """Numbers of rows, and the rows."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            yield from kept
            return
        gone, total, keep = 0, 0, []
        while gone < len(self._numbers):
            self._tick()
            numbers, stored, size = self._next(gone)
            total += size
            if total > self._most:
                raise QueryError(
                    f"expected a table of at most {self._most} bytes of records, found one with more; "
                    "raise settings.db.table_bytes, or give its records several types"
                )
            gone += len(stored)
            if total <= _KEPT:
                keep.append((numbers, stored))
            yield numbers, stored
        self.size = total
        if total <= _KEPT:
            self._kept = keep

    def _next(self, start: int) -> tuple[array[int], list[bytes], int]:
        stored: list[bytes] = []
        size, at = 0, start
        while at < len(self._numbers) and len(stored) < _ROWS and size < _BYTES:
            part = self._state.view.read_many(self._numbers[at : at + _READ])
            stored += part
            size += sum(map(len, part))
            at += len(part)
        return self._numbers[start:at], stored, size


_READ: Final = 1_024


def _read(walk: Callable[..., T], *args: Any) -> T:
    try:
        return walk(*args)
    except (ValueError, TypeError) as exc:
        raise StorageError(f"a row is no record ({exc}); see mixkit db check") from None
