"""A database as it was behind one commit: what queries run on."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.part import Column, Kind, Part, text_key
from mix_db.versions.public import ALL, Choice, publish
from mix_db.versions.rows import RowsView
from mix_db.versions.tail import Tail
from mix_db.versions.version import is_tombstone, read_version, watermark
from mixkit.errors import StorageError
from mixkit.rows import PackedRows
from mixkit.storage import BATCH_BYTES

__all__ = ["Current", "Origin", "State"]

_ID: Final = ("_rmx_id",)
_NULL: Final = b"\xc0"
_AT_ONCE: Final = 1 << 18
"""Bytes of stored rows that are read at once."""


class Origin:
    """A generation of one engine: in its states equal watermarks mean the same rows under the same numbers.

    Attributes:
        tables: by name what is known of the tables of SQL that were made last (`mix_db.columns.tables`).
    """

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}


class Current:
    """The rows that are neither superseded nor tombstones, kept up from one state to the next of a generation."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._rows = 0
        self._bitmap = BitMap()

    def behind(self, rows: int, parts: Sequence[Part]) -> BitMap:
        """The rows of the state with so many rows. Not to be changed."""
        with self._mutex:
            start, bitmap = self._rows, self._bitmap
        if rows == start:
            return bitmap
        if rows < start:
            # An older state, as of some moment: it is counted from nothing, and forgotten.
            return _without(BitMap(), 0, rows, parts)
        made = _without(bitmap.copy(), start, rows, parts)
        with self._mutex:
            if rows > self._rows:
                self._rows, self._bitmap = rows, made
        return made


def _without(bitmap: BitMap, start: int, rows: int, parts: Sequence[Part]) -> BitMap:
    """Add the rows from `start` on, and take away what they replaced and those that are tombstones."""
    bitmap.add_range(start, rows)
    for part in parts:
        if part.stop > start and part.start < rows:
            bitmap -= part.links.superseded(rows)
            bitmap -= part.deleted()
    return bitmap


class State:
    """Implements `mix_db.versions.snapshot.Snapshot`.

    Args:
        view: the rows; of them the first `rows` are seen.
        segments: the parts for the rows of `view` that have segments.
        tails: have the other rows, in order.
        current: shared by the states of the generation.
        last: number of the last commit that is seen.
        origin: shared by the states of the generation, whatever is flushed or merged.
    """

    def __init__(
        self,
        view: RowsView,
        rows: int,
        segments: Sequence[Part],
        tails: tuple[Tail, ...],
        current: Current,
        last: int,
        origin: Origin,
    ) -> None:
        self.view = view
        self._rows = rows
        self.segments = segments
        self.tails = tails
        self.shared = current
        self.last = last
        self.origin = origin
        self._read = view.read
        self._current: BitMap | None = None
        self._ids: list[Column] | None = None
        self._parts = (*segments, *(tail.part for tail in tails))

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def watermark(self) -> str:
        return watermark(self.last)

    @property
    def parts(self) -> Sequence[Part]:
        return self._parts

    def current(self) -> BitMap:
        if self._current is None:
            self._current = self.shared.behind(self._rows, self._parts)
        return self._current

    def visible(self, *, deleted: bool, superseded: bool) -> AbstractBitMap:
        if not deleted and not superseded:
            return self.current()
        seen = BitMap()
        seen.add_range(0, self._rows)
        for part in self._parts:
            if not superseded:
                seen -= part.links.superseded(self._rows)
            if not deleted:
                seen -= part.deleted()
        return seen

    def read(self, row: int) -> dict[str, Any]:
        record = self._stored(row)
        if row not in self.current():
            self._mark(record, row)
        return record

    def read_first(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        current = self.current()
        records: list[dict[str, Any]] = []
        try:
            for row, data in zip(rows, self.view.read_many(rows, _AT_ONCE), strict=False):
                record = read_version(data)
                record["_rmx_row"] = row
                if row not in current:
                    self._mark(record, row)
                records.append(record)
        except (StorageError, ValueError, TypeError):
            # One by one up to the row that is damaged, which then says so itself.
            if not records:
                records.append(self.read(rows[0]))
        return records

    def take(self, rows: list[int], choice: Choice) -> PackedRows:
        records = self.view.read_many(rows, BATCH_BYTES)
        numbers = rows[: len(records)]
        late = BitMap(numbers) - self.current()
        marks = {row: since for row in late if (since := self._superseded_at(row)) is not None}
        return PackedRows(len(records), self._published(records, numbers, marks, choice))

    def newest(self, id: str) -> dict[str, Any] | None:
        """The present version of a record; None if it is unknown or deleted."""
        row = self.row_of(id)
        if row is None:
            return None
        record = self._stored(row)
        return None if record.get("_rmx_deleted") is True else record

    def newest_rows(self, ids: Sequence[str]) -> PackedRows:
        """The same of several, None for each that is unknown or deleted."""
        parts: list[bytes] = []
        for id in ids:
            row = self.row_of(id)
            data = None if row is None else self._read(row)
            if row is None or data is None or is_tombstone(data):
                parts.append(_NULL)
            else:
                # The newest of a state is never superseded.
                parts.append(self._published([data], [row], {}, ALL))
        return PackedRows(len(parts), parts[0] if len(parts) == 1 else b"".join(parts))

    def row_of(self, id: str) -> int | None:
        for tail in reversed(self.tails):
            if (row := tail.part.newest(id, self._rows)) is not None:
                return row
        key = text_key(id)
        for column in self._id_columns():
            for row in reversed(column.lookup(key)):
                if row < self._rows:
                    return row
        return None

    def rows_of(self, id: str) -> list[int]:
        key = text_key(id)
        found = [row for column in reversed(self._id_columns()) for row in column.lookup(key)]
        for tail in self.tails:
            if (column := tail.part.column(_ID, Kind.REF)) is not None:
                found += column.lookup(key)
        return [row for row in found if row < self._rows]

    def first_after(self, watermark: str) -> int:
        return bisect_left(range(self._rows), True, key=lambda row: self._field(row, "_rmx_rev") > watermark)

    def first_since(self, milliseconds: int) -> int:
        rows = range(self._rows)
        return bisect_left(rows, milliseconds, key=lambda row: self._field(row, "_rmx_last_modified_at"))

    def behind(self, rows: int, last: int | None = None) -> State:
        """The state of the first so many rows, which must be those of whole commits up to number `last`."""
        if last is None:
            last = int(self._field(rows - 1, "_rmx_rev")) if rows else 0
        return State(self.view, rows, self.segments, self.tails, self.shared, last, self.origin)

    def time(self) -> int:
        """When the last commit was, Unix milliseconds; 0 if there is none."""
        if not self._rows:
            return 0
        time: int = self._field(self._rows - 1, "_rmx_last_modified_at")
        return time

    def _id_columns(self) -> list[Column]:
        """The ids in the segments, the newest first."""
        if self._ids is None:
            columns = (part.column(_ID, Kind.REF) for part in reversed(self.segments))
            self._ids = [column for column in columns if column is not None]
        return self._ids

    def _field(self, row: int, name: str) -> Any:
        return self._stored(row)[name]

    def _stored(self, row: int) -> dict[str, Any]:
        data = self._read(row)
        try:
            record = read_version(data)
        except (ValueError, TypeError) as exc:
            raise _no_record(row, exc) from None
        record["_rmx_row"] = row
        return record

    @staticmethod
    def _published(records: list[bytes], numbers: list[int], marks: dict[int, int], choice: Choice) -> bytes:
        """The versions of these rows in public form."""
        dropped, picks = choice.packed
        try:
            return publish(records, numbers, marks, dropped, picks)
        except (ValueError, TypeError):
            for record, row in zip(records, numbers, strict=True):
                try:
                    publish([record], [row], {}, dropped, picks)
                except (ValueError, TypeError) as exc:
                    raise _no_record(row, exc) from None
            raise

    def _mark(self, record: dict[str, Any], row: int) -> None:
        since = self._superseded_at(row)
        if since is not None:
            record["_rmx_superseded"] = True
            record["_rmx_superseded_at"] = since

    def _superseded_at(self, row: int) -> int | None:
        """When a row was superseded; None if it is not."""
        for part in self._parts:
            successor = part.links.successor(row) if part.stop > row else None
            if successor is not None and successor < self._rows:
                since: int = self._field(successor, "_rmx_last_modified_at")
                return since
        return None


def _no_record(row: int, exc: Exception) -> StorageError:
    return StorageError(
        f"expected a record in row {row}, found bytes that are none ({exc}); see mixkit db check"
    )
