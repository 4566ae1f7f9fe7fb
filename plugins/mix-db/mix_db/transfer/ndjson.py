"""NDJSON: a line for each record, which is an object in tagged JSON. Empty lines count for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import Item
from mix_db.transfer.source import Source
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError

__all__ = ["NDJSONReader", "NDJSONWriter", "dump"]


def dump(record: Mapping[str, Any]) -> bytes:
    """The record in tagged JSON, on one line.

    Raises:
        TransferError: JSON has no spelling for it.
    """
    try:
        return tagged_json.dumps(dict(record)).encode()
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
        return tagged_json.loads(item.raw)

    def text(self, item: Item) -> bytes:
        return item.raw


class NDJSONWriter:
    """See `Writer`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._stream.write(b"".join([dump(record) + b"\n" for record in records]))

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass
