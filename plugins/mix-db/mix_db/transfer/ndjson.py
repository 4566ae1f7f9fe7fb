"""NDJSON: a line for each record, which is an object in tagged JSON. Empty lines count for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import Item
from mix_db.transfer.source import Source
from mixkit.errors import TaggedJSONError
from mixkit.record import read_record
from mixkit.rows import Rows

__all__ = ["NDJSONReader", "NDJSONWriter", "dump"]


def dump(rows: Rows, between: bytes) -> bytes:
    """The records in tagged JSON, each on one line.

    Raises:
        TransferError: JSON has no spelling for one.
    """
    try:
        return rows.json(between)
    except TaggedJSONError as exc:
        raise TransferError(
            f"a record has no spelling in JSON: {exc}; MessagePack can hold it: --format msgpack"
        ) from None


class NDJSONReader:
    """See `Reader`."""

    unit = "line"
    head = b""

    def __init__(self, source: Source) -> None:
        self._source = source

    def items(self) -> Iterator[Item]:
        for number, line, size in self._source.lines():
            if size:
                yield Item(number, line, None, f"a line of {size} bytes, at most 64 MiB are read")
            elif line and not line.isspace():
                yield Item(number, line, line)

    def record(self, item: Item) -> Any:
        return read_record(item.raw)

    def text(self, item: Item) -> bytes:
        return item.raw


class NDJSONWriter:
    """See `Writer`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, rows: Rows) -> None:
        if rows:
            self._stream.write(dump(rows, b"\n") + b"\n")

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass
