"""What readers and writers of files of records have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from mixkit.rows import Rows

__all__ = ["BOOKKEEPING", "MAX_ITEM", "OWN_FIELDS", "Item", "Reader", "Writer", "stripped"]

MAX_ITEM: Final = 64 << 20
"""Most bytes of one record in a file. What has more is refused without being held in memory."""

OWN_FIELDS: Final = frozenset(
    {
        "_rmx_last_modified_at",
        "_rmx_previous",
        "_rmx_rev",
        "_rmx_row",
        "_rmx_superseded",
        "_rmx_superseded_at",
    }
)
"""Fields of the engine that a save ignores, so that an export is as useful without them."""

BOOKKEEPING: Final = "mixkit.import"
"""`_rmx_type` of the records in which imports note how far they have come."""


class Item(NamedTuple):
    """A record as it stands in a file.

    Attributes:
        place: its line, in formats of lines; else its number. From 1.
        raw: its bytes. They identify it when an import is resumed, and are what is kept if it is refused.
        content: what the reader that made it needs to read the record.
        problem: why there is no record here, or `""`.
    """

    place: int
    raw: bytes
    content: Any = None
    problem: str = ""


class Reader(Protocol):
    """Reads the records of one file from its beginning, once."""

    unit: str
    """What `Item.place` counts: `"line"`, `"record"` or `"row"`."""

    head: bytes
    """What stands before the first record and says how the others are read."""

    def items(self) -> Iterator[Item]:
        """The records, unread, so that passing over them is cheap.

        Raises:
            TransferError: the file is spoiled from here on.
        """
        ...

    def record(self, item: Item) -> Any:
        """What an item without a problem holds; a map may come packed (`mixkit.record.PackedRecord`).

        Raises:
            MixError: the item is refused; the message says why, and no more.
        """
        ...

    def text(self, item: Item) -> bytes:
        """The item as it is kept when it is refused."""
        ...


class Writer(Protocol):
    """Writes records to one file."""

    def write(self, rows: Rows) -> None:
        """Add records, in order.

        Raises:
            TransferError: the format cannot hold one.
        """
        ...

    def finish(self) -> None:
        """Write what comes behind the last record. The file itself stays open."""
        ...

    def close(self) -> None:
        """Let go of what was held, finished or not. Idempotent."""
        ...


def stripped(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record without `OWN_FIELDS`."""
    if OWN_FIELDS.isdisjoint(record):
        return record
    return {name: value for name, value in record.items() if name not in OWN_FIELDS}
