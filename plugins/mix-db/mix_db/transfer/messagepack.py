"""MessagePack: one record after another, each a map in the form of `mixkit.msgpack_values`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Final

import msgpack  # type: ignore[import-untyped]

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import MAX_ITEM, Item
from mix_db.transfer.source import Source
from mixkit import msgpack_values
from mixkit.rows import Rows

__all__ = ["MessagePackReader", "MessagePackWriter"]

_CHUNK: Final = 1 << 18


class MessagePackReader:
    """See `Reader`. What is no MessagePack ends the file: nothing tells where the next record would begin."""

    unit = "record"
    head = b""

    def __init__(self, source: Source) -> None:
        self._source = source

    def items(self) -> Iterator[Item]:
        number = 0
        rest = b""
        wanted = _CHUNK
        while True:
            more = self._source.read(wanted)
            rest += more
            start = 0
            # The borders of the records in what is here; a skip builds nothing.
            borders = msgpack.Unpacker(max_buffer_size=len(rest) or 1)
            borders.feed(rest)
            while start < len(rest):
                try:
                    borders.skip()
                except msgpack.OutOfData:
                    break
                except (ValueError, msgpack.exceptions.UnpackException) as exc:
                    raise self._spoiled(number + 1, str(exc) or type(exc).__name__) from None
                number += 1
                end = borders.tell()
                yield Item(number, rest[start:end])
                start = end
            rest = rest[start:]
            if not more:
                if rest:
                    raise self._spoiled(number + 1, "the file ends in the middle of it")
                return
            if len(rest) > MAX_ITEM:
                raise self._spoiled(number + 1, "it has more than 64 MiB")
            # As much again as there is, so that a large record is not looked through for each chunk.
            wanted = max(_CHUNK, len(rest))

    def record(self, item: Item) -> Any:
        return msgpack_values.unpack(item.raw)

    def text(self, item: Item) -> bytes:
        return item.raw

    def _spoiled(self, number: int, reason: str) -> TransferError:
        return TransferError(
            f"{self._source.name}: record {number}: expected MessagePack of a record: {reason}; "
            "what comes behind cannot be read"
        )


class MessagePackWriter:
    """See `Writer`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, rows: Rows) -> None:
        self._stream.write(rows.msgpack())

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass
