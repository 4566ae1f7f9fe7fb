"""What a database must do to take part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Contender", "Row", "disk_size"]

Row = dict[str, Any]


class Contender(Protocol):
    """A database of records, open. Every answer is a list of dicts as the database's users get them.

    Commits are durable when `save` returns: each contender syncs as it must for that.
    """

    name: str

    def save(self, records: Sequence[Row]) -> None:
        """Store records, new or known by their ids, in one durable commit."""
        ...

    def settle(self) -> None:
        """Bring files into the shape in which they are to be measured and asked."""
        ...

    def flush(self) -> None:
        """What the database does from time to time to move new records to where they stay."""
        ...

    def get(self, id: str) -> Row | None: ...

    def equal(self, owner: str) -> list[Row]: ...

    def both(self, city: str, status: str) -> list[Row]: ...

    def count(self, status: str, quantity: int) -> int:
        """How many have the status and at least the quantity."""
        ...

    def groups(self) -> dict[str, int]:
        """How many there are of each status."""
        ...

    def prefix(self, start: str) -> list[Row]: ...

    def between(self, low: float, high: float) -> list[Row]:
        """Those with `low <= amount < high`."""
        ...

    def latest(self) -> list[Row]:
        """The 20 with the greatest `created`, which peers have no index on."""
        ...

    def dearest(self) -> list[Row]:
        """The 20 open ones with the greatest `amount`."""
        ...

    def plain(self, row: Row) -> Row:
        """The row with the fields that it was saved with, and `id`."""
        ...

    def another(self) -> Contender:
        """The same database for another thread."""
        ...

    def close(self) -> None: ...


def disk_size(folder: Path) -> int:
    """Bytes that the files take on the disk; holes do not count."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
