"""What a query runs on: a database as it was behind one commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pyroaring import AbstractBitMap

from mix_db.index.part import Part
from mix_db.versions.public import Choice
from mixkit.rows import Rows

__all__ = ["Snapshot"]


class Snapshot(Protocol):
    """A state that never changes. Usable from any thread; parts may hold rows from `rows` on, which it does not see."""

    @property
    def rows(self) -> int:
        """Rows 0 to `rows`, without it, are seen."""
        ...

    @property
    def watermark(self) -> str: ...

    @property
    def parts(self) -> Sequence[Part]:
        """In the order of their rows, without gaps, from row 0 to at least `rows`."""
        ...

    def current(self) -> AbstractBitMap:
        """Rows that are neither superseded nor tombstones. Not to be changed."""
        ...

    def visible(self, *, deleted: bool, superseded: bool) -> AbstractBitMap:
        """Rows that a query with these options sees. Not to be changed."""
        ...

    def read(self, row: int) -> dict[str, Any]:
        """The version that the row holds, with all fields of the engine's own; a new map each time.

        Raises:
            StorageError: the row is damaged.
        """
        ...

    def read_first(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """What `read` answers for the first of these rows, one or more of them: those before one that is damaged, and
        no more than are well kept in memory at once. Raises what `read` does, if the very first one is damaged."""
        ...

    def take(self, rows: list[int], choice: Choice) -> Rows:
        """What `read` answers of these rows, or what is chosen of that; of fewer as soon as they have `BATCH_BYTES`.
        Raises what `read` does."""
        ...

    def row_of(self, id: str) -> int | None:
        """The newest row of a record, which may be a tombstone; None if the id is unknown."""
        ...

    def rows_of(self, id: str) -> list[int]:
        """All rows of a record, oldest first."""
        ...

    def first_after(self, watermark: str) -> int:
        """The first row whose `_rmx_rev` is greater; `rows` if there is none."""
        ...

    def first_since(self, milliseconds: int) -> int:
        """The first row whose `_rmx_last_modified_at` is this or later; `rows` if there is none."""
        ...
