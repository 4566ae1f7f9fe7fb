"""Where refs lead in a snapshot."""

from __future__ import annotations

from typing import Any, Final

from mix_db.versions.snapshot import Snapshot
from mixkit.value import Ref

__all__ = ["Refs", "row_of_ref"]

_KEPT: Final = 256
_DIGITS: Final = 10
"""Enough for the number of any row; longer texts are not converted."""


def row_of_ref(snapshot: Snapshot, id: str) -> int | None:
    """The row that a ref leads to: the present version of a record; or if the id is unknown and the number of a row,
    as in `_rmx_previous`, that row. None if it leads nowhere, which is where refs to deleted records lead."""
    row = snapshot.row_of(id)
    if row is not None:
        return row if row in snapshot.current() else None
    if len(id) <= _DIGITS and id.isascii() and id.isdigit():
        row = int(id)
        return row if str(row) == id and row < snapshot.rows else None
    return None


class Refs:
    """A resolver for `Evaluation`, which keeps the records that it read last; `forget` before they may have changed
    in the hands of others."""

    __slots__ = ("_known", "_snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[str, dict[str, Any] | None] = {}

    def __call__(self, ref: Ref) -> dict[str, Any] | None:
        try:
            return self._known[ref.id]
        except KeyError:
            pass
        if len(self._known) >= _KEPT:
            self._known.clear()
        row = row_of_ref(self._snapshot, ref.id)
        record = self._known[ref.id] = None if row is None else self._snapshot.read(row)
        return record

    def forget(self) -> None:
        self._known.clear()
