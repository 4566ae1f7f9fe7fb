"""One form of a value into another, without the value between them: JSON text, MessagePack, and codec words.

What a request carries as JSON an agent gets as words, and what it answers in words leaves as JSON; what the database
keeps as MessagePack becomes either (`mixkit.rows`). Each function here is two others one after the other, which say
what it does: `json_to_words` is `encode(loads(text))`. The same bytes come out, and the same errors with the same
paths; in C (`_forms.c`) it is one walk, where the value is valid and holds nothing rare. So what reads and writes
values is imported only where there is something rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mixkit import codec
from mixkit.value import Value

__all__ = [
    "JSONText",
    "Packed",
    "array_of",
    "entries",
    "json_to_words",
    "packed",
    "rows_to_json",
    "rows_to_words",
    "text_of",
    "words_of",
    "words_to_json",
    "words_to_msgpack",
]

TAGGED: Final = 0
PLAIN: Final = 1
WORDS: Final = 2
PACKED: Final = 3
_ARRAY: Final = 9
_LONG: Final = 0xFFFFFF
"""From so many items on, the count stands in a word of its own."""

if TYPE_CHECKING:

    def _translate(data: bytes | bytearray | memoryview, source: int, target: int, /) -> bytes | None: ...
    def _rows(packed: bytes, count: int, target: int, between: bytes, /) -> bytes | None: ...
    def _entries(words: bytes, beginning: bytes, /) -> bytes | None: ...

else:
    try:
        from mixkit._forms import entries as _entries
        from mixkit._forms import rows as _rows
        from mixkit._forms import translate as _translate
    except ModuleNotFoundError:

        def _translate(data, source, target):
            return None

        def _rows(packed, count, target, between):
            return None

        def _entries(words, beginning):
            found = codec.decode(words)
            if type(found) is not dict:
                return None
            return codec.encode({k: v for k, v in found.items() if k.startswith(beginning.decode())})


@dataclass(frozen=True, slots=True)
class Packed:
    """A value by its codec words, for who may need no more of it."""

    words: bytes

    def value(self) -> Value:
        """The value, made now."""
        return codec.decode(self.words)


class JSONText(bytes):
    """A value by its tagged JSON, for who sends it on as it is."""


def array_of(parts: Sequence[bytes]) -> Packed:
    """The array of values that are at hand by their words."""
    count = len(parts)
    head = count << 8 | _ARRAY if count < _LONG else _LONG << 8 | _ARRAY
    long = b"" if count < _LONG else count.to_bytes(4, "little")
    return Packed(b"".join((head.to_bytes(4, "little"), long, *parts)))


def packed(text: bytes) -> Packed | None:
    """The value in tagged JSON (UTF-8), if it is there in one walk; None for others to judge."""
    words = words_of(text)
    return None if words is None else Packed(words)


def words_of(text: bytes) -> bytes | None:
    """The codec words of the same."""
    return _translate(text, TAGGED, WORDS)


def text_of(words: bytes) -> JSONText | None:
    """The tagged JSON of codec words, if it is there in one walk; None for others to judge."""
    text = _translate(words, WORDS, TAGGED)
    return None if text is None else JSONText(text)


def json_to_words(data: bytes, *, plain: bool = False) -> bytes:
    """The codec words of the value in a JSON text (UTF-8).

    Args:
        plain: take objects with `_rmx_type` for what they are, maps.

    Raises:
        TaggedJSONError: as `tagged_json.loads`.
    """
    words = _translate(data, PLAIN if plain else TAGGED, WORDS)
    if words is not None:
        return words
    from mixkit import tagged_json

    return codec.encode(tagged_json.loads(data, plain=plain))


def words_to_json(words: bytes | bytearray | memoryview, *, plain: bool = False) -> bytes:
    """The JSON text (UTF-8) of the value in codec words.

    Args:
        plain: write no tags, and refuse what JSON cannot hold.

    Raises:
        CodecError: as `codec.decode`; Tokens are refused.
        TaggedJSONError: as `tagged_json.dumps`.
    """
    text = _translate(words, WORDS, PLAIN if plain else TAGGED)
    if text is not None:
        return text
    from mixkit import tagged_json

    return tagged_json.dumps(codec.decode(words), plain=plain).encode()


def words_to_msgpack(words: bytes) -> bytes:
    """The MessagePack of the value in codec words, the entries of maps in the order of their names.

    Raises:
        CodecError: as `codec.decode`; Tokens are refused.
        ValueKindError: as `msgpack_values.pack`.
    """
    packed = _translate(words, WORDS, PACKED)
    if packed is not None:
        return packed
    from mixkit import msgpack_values

    return msgpack_values.pack(codec.decode(words))


def entries(words: bytes, beginning: bytes) -> bytes | None:
    """The words of the entries of a map whose names begin so; None if these canonical words are no map's."""
    return _entries(words, beginning)


def rows_to_words(packed: bytes, count: int) -> bytes:
    """The codec words of an array of so many values, which stand in MessagePack one behind the other.

    Raises:
        MessagePackError: as `msgpack_values.unpack`.
        CodecError: as `codec.encode`.
    """
    words = _rows(packed, count, WORDS, b"")
    if words is not None:
        return words
    from mixkit import msgpack_values

    return codec.encode(msgpack_values.unpack_rows(packed, count))


def rows_to_json(packed: bytes, count: int, between: bytes) -> bytes:
    """The tagged JSON (UTF-8) of each of the same, with `between` between them.

    Raises:
        MessagePackError: as `msgpack_values.unpack`.
        TaggedJSONError: as `tagged_json.dumps`, of the first that cannot be written.
    """
    text = _rows(packed, count, TAGGED, between)
    if text is not None:
        return text
    from mixkit import msgpack_values, tagged_json

    return between.join(
        [tagged_json.dumps(row).encode() for row in msgpack_values.unpack_rows(packed, count)]
    )
