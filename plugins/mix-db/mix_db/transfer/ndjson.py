"""NDJSON: a line for each record, which is an object in tagged JSON. Empty lines count for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Final

import msgspec

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import Item
from mix_db.transfer.source import Source
from mixkit import tagged_json
from mixkit._codec_py import INVALID
from mixkit.codec import scan
from mixkit.errors import TaggedJSONError
from mixkit.value import Ref

__all__ = ["NDJSONReader", "NDJSONWriter", "dump", "parse"]

_MARK: Final = "_rmx_type"
_VALUE: Final = "_rmx_value"
_REF: Final = "{tag}case:" + tagged_json.REF_CASE

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def parse(text: bytes) -> Any:
    """What `tagged_json.loads` reads from the text; several times faster for a record that is plain but for refs.

    Raises:
        TaggedJSONError: it is no tagged JSON.
    """
    # PERF: msgspec reads the same JSON as the careful parser, except that it lets a repeated key pass. Without
    # backslashes each string has two quotes, so that a string which got lost shows in their number.
    if b"\\" not in text and b"{str}" not in text:
        try:
            tree = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return tagged_json.loads(text)
        if (
            type(tree) is dict
            and not scan(tree) & INVALID
            and _encode(tree).count(b'"') == text.count(b'"')
            and _link(tree, text.count(b"{tag}"))
        ):
            return tree
    return tagged_json.loads(text)


def _link(record: dict[str, Any], tags: int) -> bool:
    """Make refs of the fields that are written as such; whether these were all the tags that there are."""
    if tags:
        for name, value in record.items():
            if type(value) is dict and len(value) == 2 and value.get(_MARK) == _REF:
                id = value.get(_VALUE)
                if type(id) is str:
                    record[name] = Ref(id)
                    tags -= 1
    return not tags


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
        return parse(item.raw)

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
