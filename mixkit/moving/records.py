"""The records of an app as lines of tagged JSON: read from its database, and played into another one.

With the history each version is a line, in the order of the commits: played again, each record has the same versions
one after the other, at new times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from mixkit.errors import MixError, PackageError, TaggedJSONError
from mixkit.record import PackedRecord, read_record
from mixkit.storage import Database, Reader, SaveOptions
from mixkit.value import Ref, kind_of

__all__ = ["Player", "lines_of"]

_MOST: Final = 1_000
"""Records of a commit."""
_BYTES: Final = 8 << 20
"""Bytes of lines that are a commit in any case."""

_PLACE: Final = "-_rmx_row, -_rmx_rev, -_rmx_previous, -_rmx_superseded, -_rmx_superseded_at"
"""The place that a version has in its database, which is another one in the next."""
_NOW: Final = f"true | {{ *, {_PLACE}, -_rmx_last_modified_at }}"
_PAST: Final = f"true | {{ *, {_PLACE} }}"

_OPTIONS: Final = SaveOptions(original_id_always=True)


def lines_of(reader: Reader, *, history: bool) -> Iterator[tuple[int, bytes]]:
    """Numbers of records, and their lines, each with its end. Blocks.

    Args:
        history: all versions, and tombstones.
    """
    # As long as it takes: the limit of a query is for those that somebody waits for.
    with reader.query(
        _PAST if history else _NOW, {}, deleted=history, superseded=history, timeout=float("inf")
    ) as cursor:
        while rows := cursor.next_rows(_MOST):
            yield len(rows), rows.json(b"\n") + b"\n"


class Player:
    """Plays records into a database that has none.

    Args:
        entry: name of what the lines are from, for errors.
        watch: called with numbers of records and bytes that are stored.
    """

    def __init__(
        self, database: Database, entry: str, watch: Callable[[int, int], object] = lambda count, size: None
    ) -> None:
        self._database = database
        self._entry = entry
        self._watch = watch
        self._number = 0

    def play(self, lines: Iterable[bytes]) -> int:
        """Store all, in commits of up to 1,000 records; answers how many versions it stored, tombstones counted.

        Raises:
            PackageError: a line is no record, or the database refuses it; says which.
            StorageError: it could not be stored.
        """
        records: dict[str, Mapping[str, Any]] = {}
        gone: list[str] = []
        size = 0
        for line in lines:
            self._number += 1
            id, record, deleted = self._read(line)
            # One commit has one version of a record, and no tombstone beside what is stored.
            if len(records) + len(gone) >= _MOST or size >= _BYTES or id in records or (gone and not deleted):
                self._commit(records, gone, size)
                records, gone, size = {}, [], 0
            if deleted:
                if records:
                    self._commit(records, gone, size)
                    records, size = {}, 0
                gone.append(id)
            else:
                records[id] = record
            size += len(line)
        self._commit(records, gone, size)
        return self._number

    def _read(self, line: bytes) -> tuple[str, Mapping[str, Any], bool]:
        """Its id, the record, and whether it is a tombstone."""
        record: Any
        try:
            record = read_record(line)
        except TaggedJSONError as exc:
            raise self._fault(str(exc)) from None
        if type(record) is PackedRecord:
            own = record.own()
        elif type(record) is dict:
            own = record
        else:
            raise self._fault(f"expected a record, a map, found {kind_of(record)}")
        id = own.get("_rmx_id")
        if type(id) is not Ref:
            raise self._fault(f"expected a ref as _rmx_id, found {kind_of(id)}")
        return id.id, record, own.get("_rmx_deleted") is True

    def _commit(self, records: dict[str, Mapping[str, Any]], gone: list[str], size: int) -> None:
        try:
            if records:
                self._database.save(list(records.values()), _OPTIONS)
            elif gone:
                self._database.delete(gone)
        except MixError as exc:
            if exc.code == "record":
                first = self._number - len(records) - len(gone)
                raise self._fault(f"behind line {max(first, 0)}: {exc}") from exc
            raise
        self._watch(len(records) + len(gone), size)

    def _fault(self, message: str) -> PackageError:
        return PackageError(f"line {self._number}: {message}", self._entry)
