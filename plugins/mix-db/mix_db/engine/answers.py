"""What a commit answers: versions that are read when somebody looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

from mix_db.files.write_log import Commit
from mix_db.versions.version import read_version
from mixkit.storage import Record

__all__ = ["Answers"]


class Answers(Sequence[Record]):
    """A record for each row, `{}` for None; equal to a list of the same.

    Those who load a million records look at none, and pay for none. Each look makes a new map.

    Args:
        rows: of the commit, or of before it.
        kept: the stored versions of those of before.
        commit: what was stored; None if nothing was.
    """

    def __init__(self, rows: Sequence[int | None], kept: Mapping[int, bytes], commit: Commit | None) -> None:
        self._rows = rows
        self._kept = kept
        self._first = commit.row if commit else 0
        self._records = commit.records if commit else ()
        self._superseded: set[int] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._read(row) for row in self._rows[index]]
        return self._read(self._rows[index])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str | bytes):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def _read(self, row: int | None) -> Record:
        if row is None:
            return {}
        record = read_version(self._kept[row] if row in self._kept else self._records[row - self._first])
        record["_rmx_row"] = row
        if row in self._replaced():
            record["_rmx_superseded"] = True
            record["_rmx_superseded_at"] = record["_rmx_last_modified_at"]
        return record

    def _replaced(self) -> set[int]:
        """Rows that records of the same call replaced."""
        if len(self._records) < 2:
            return set()
        if self._superseded is None:
            previous = (read_version(data).get("_rmx_previous") for data in self._records)
            self._superseded = {int(ref.id) for ref in previous if ref is not None}
        return self._superseded
