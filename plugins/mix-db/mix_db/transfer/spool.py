"""Records set aside on the disk while their fields are counted, for formats that begin with all columns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from mix_db.transfer.errors import TransferError
from mixkit import msgpack_values

__all__ = ["MAX_COLUMNS", "Spool"]

MAX_COLUMNS: Final = 10_000
_MEMORY: Final = 8 << 20

T = TypeVar("T")


class Spool(Generic[T]):
    """Records in a temporary file, which nobody else sees, and what is known of each of their fields.

    Args:
        note: what is known of a field (None at first) and one more value of it, to what is known now.

    Attributes:
        columns: what is known of each field, in order of their first appearance.
    """

    def __init__(self, note: Callable[[T | None, Any], T]) -> None:
        self._note = note
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115
        self.columns: dict[str, T] = {}

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Set records aside.

        Raises:
            TransferError: they have too many different fields for a table.
        """
        for record in records:
            for name, value in record.items():
                self.columns[name] = self._note(self.columns.get(name), value)
            packed = msgpack_values.pack(dict(record))
            self._file.write(len(packed).to_bytes(8) + packed)
        if len(self.columns) > MAX_COLUMNS:
            raise TransferError(
                f"the records have more than {MAX_COLUMNS} different fields, too many columns for a table; "
                "choose fields with --query, or export NDJSON"
            )

    def records(self) -> Iterator[dict[str, Any]]:
        """All that was set aside, in order."""
        self._file.seek(0)
        while length := self._file.read(8):
            yield _unpack(self._file.read(int.from_bytes(length)))

    def close(self) -> None:
        """Idempotent."""
        self._file.close()


def _unpack(packed: bytes) -> dict[str, Any]:
    record = msgpack_values.unpack(packed)
    assert isinstance(record, dict), "records were put there"
    return record
