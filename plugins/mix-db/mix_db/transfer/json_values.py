"""Tagged JSON: an array of records; or, as some programs write it, records one after another.

The file is one document, read piece by piece: what is no JSON ends it, since nothing tells where the next record
would begin.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any, Final

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import MAX_ITEM, Item
from mix_db.transfer.ndjson import dump
from mix_db.transfer.source import Source
from mixkit import tagged_json
from mixkit.rows import Rows

__all__ = ["JSONReader", "JSONWriter"]

_CHUNK: Final = 1 << 18
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def _flat(pairs: object) -> None:
    # Only the ends of items are looked for here; their content is read when it is wanted.
    return None


_scan: Final = json.JSONDecoder(
    object_pairs_hook=_flat, parse_int=_flat, parse_float=_flat, parse_constant=_flat
).raw_decode


class JSONReader:
    """See `Reader`."""

    unit = "record"
    head = b""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._number = 0
        self._ended = False

    def items(self) -> Iterator[Item]:
        first = self._next_character()
        if first == "\ufeff":
            self._at += 1
            first = self._next_character()
        if first != "[":
            while self._next_character():
                yield self._item()
            return
        self._at += 1
        if self._next_character() != "]":
            while True:
                yield self._item()
                follows = self._next_character()
                if follows == "]":
                    break
                if follows != ",":
                    raise self._spoiled(f"expected , or ] behind it, found {follows or 'the end'!r}")
                self._at += 1
        self._at += 1
        if self._next_character():
            raise self._spoiled("expected nothing behind the array, found more")

    def record(self, item: Item) -> Any:
        return tagged_json.loads(item.raw)

    def text(self, item: Item) -> bytes:
        return item.raw

    def _item(self) -> Item:
        """The value that begins here."""
        self._number += 1
        self._next_character()
        while True:
            try:
                _, end = _scan(self._text, self._at)
                # A number that ends where the text does may go on.
                if end < len(self._text) or not self._more():
                    break
            except json.JSONDecodeError as exc:
                if not self._more():
                    found = exc.msg if self._at < len(self._text) else "the end of the file"
                    raise self._spoiled(f"expected a value, found: {found}") from None
            except RecursionError:
                raise self._spoiled("nesting above 256") from None
        text = self._text[self._at : end]
        self._at = end
        return Item(self._number, text.encode())

    def _next_character(self) -> str:
        """The next one that is no space, which the text is left at; `""` at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None, "it matches nothing at least"
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Whether there was more text to read."""
        if self._ended:
            return False
        held = len(self._text) - self._at
        if held > MAX_ITEM:
            raise self._spoiled("it has more than 64 MiB")
        # As much again as there is, so that a large item is not looked through for each chunk.
        data = self._source.read(max(_CHUNK, held))
        self._ended = not data
        try:
            more = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as exc:
            raise self._spoiled(f"expected UTF-8, found the byte 0x{exc.object[exc.start]:02x}") from None
        self._text = self._text[self._at :] + more
        self._at = 0
        return not self._ended or bool(more)

    def _spoiled(self, reason: str) -> TransferError:
        return TransferError(
            f"{self._source.name}: record {max(self._number, 1)}: {reason}; what comes behind cannot be read"
        )


class JSONWriter:
    """See `Writer`. An array with a record on each line."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._opened = False

    def write(self, rows: Rows) -> None:
        if rows:
            self._stream.write((b",\n" if self._opened else b"[\n") + dump(rows, b",\n"))
            self._opened = True

    def finish(self) -> None:
        self._stream.write(b"\n]\n" if self._opened else b"[]\n")

    def close(self) -> None:
        pass
