"""The u32 codec in Python: the reference. It is written to be read; `mixkit/_codec.c` is written to be fast.

A value is a sequence of little-endian 32-bit words. The first is its header: the tag in the low 8 bits, `aux`
in the high 24. docs/values.md has the table of tags and the rule for the offsets in errors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NoReturn, TypeAlias

from mixkit.errors import CodecError, ValueKindError
from mixkit.value import (
    INT64_MAX,
    INT64_MIN,
    MAX_DEPTH,
    UNDEF,
    Case,
    Ref,
    Token,
    Undef,
    Value,
    check,
    find_fault,
)

__all__ = [
    "GUARDED",
    "INVALID",
    "LINKED",
    "MARK",
    "MARKED",
    "SPECIAL",
    "Tag",
    "TokenReader",
    "TokenWriter",
    "count",
    "decode",
    "encode",
    "refuse",
    "scan",
]

TokenWriter: TypeAlias = Callable[[Token], bytes]
"""Answers the handle that stands for a Token on the other side."""

TokenReader: TypeAlias = Callable[[bytes], Token | None]
"""Answers the Token of a handle, or None for a handle that it did not give."""


class Tag(IntEnum):
    """Low 8 bits of a header. The names are those that error messages use."""

    Undef = 0
    Null = 1
    Bool = 2
    Int = 3
    Int64 = 4
    Number = 5
    String = 6
    Ref = 7
    Binary = 8
    Array = 9
    Map = 10
    Case = 11
    Token = 12


INT24_MIN: Final = -(2**23)
INT24_MAX: Final = 2**23 - 1
LONG: Final = 2**24 - 1
"""In `aux` of a String, Ref, Binary, Token, Array or Map: the length or count stands in the next word."""
U32_MAX: Final = 2**32 - 1
_LENGTHS: Final = frozenset({Tag.String, Tag.Ref, Tag.Binary, Tag.Token, Tag.Array, Tag.Map})
NAN: Final = 0x7FF8_0000_0000_0000


def encode(value: Value, /, *, token: TokenWriter | None = None) -> bytes:
    """The canonical words of a value.

    Args:
        value: any Value. It must not be changed while it is being encoded.
        token: gives the handle that is written for a Token; without it a Token is refused.

    Raises:
        ValueKindError: not a Value throughout (see `mixkit.value.check`); `.path` says where.
        TypeError: `token` answered something other than bytes.
    """
    writer = _Writer(token)
    try:
        writer.value(value, 0)
    except _Refused:
        refuse(value, token is not None)
    return bytes(writer.out)


def decode(buffer: bytes | bytearray | memoryview, /, *, token: TokenReader | None = None) -> Value:
    """The value whose canonical words fill the buffer, which is read in place.

    Args:
        buffer: a contiguous buffer of whole words.
        token: gives the Token of a handle; without it a Token is refused.

    Raises:
        CodecError: anything but the canonical form of one value; `.offset` counts words.
        TypeError: not a buffer, or `token` answered something other than a Token or None.
        BufferError: the buffer is not contiguous.
    """
    with memoryview(buffer) as view:
        if not view.c_contiguous:
            raise BufferError("expected a contiguous buffer")
        with view.cast("B") as octets:
            if len(octets) % 4:
                raise CodecError(
                    f"expected whole 32-bit words, found {len(octets)} bytes", offset=len(octets) // 4
                )
            if not octets:
                raise CodecError("expected a value, found an empty buffer", offset=0)
            reader = _Reader(octets, token)
            value: Value = reader.value(0)
            if reader.room:
                raise CodecError(f"expected the end, found {reader.room} more words", offset=reader.position)
            return value


def count(buffer: bytes | bytearray | memoryview, /) -> int:
    """How many values `decode` would make of a buffer, those inside of others, keys and names of cases included.

    Nothing is made and nothing checked: of a malformed buffer the answer says nothing, and `decode` what is wrong.
    """
    size = len(buffer) // 4
    words = struct.unpack(f"<{size}I", memoryview(buffer)[: 4 * size])
    at = found = 0
    while at < size:
        tag, length = words[at] & 0xFF, words[at] >> 8
        at += 1
        found += 1
        if tag in (Tag.Int64, Tag.Number):
            at += 2
        elif tag in _LENGTHS:
            if length == LONG and at < size:
                length = words[at]
                at += 1
            if tag not in (Tag.Array, Tag.Map):
                at += (length + 3) // 4
    return found


def refuse(value: object, tokens: bool) -> NoReturn:
    """Raise the `ValueKindError` that says why and where `encode` refused this value."""
    check(value, tokens=tokens)
    raise ValueKindError("a value that changed while it was being encoded")


class _Refused(Exception):
    """Not a Value; `refuse` finds out why, so that encoding keeps no path."""


class _Writer:
    """Appends words to `out`."""

    def __init__(self, token: TokenWriter | None) -> None:
        self.out = bytearray()
        self.token = token

    def value(self, value: object, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Refused
        kind = type(value)
        if value is None:
            self.header(Tag.Null)
        elif value is UNDEF:
            self.header(Tag.Undef)
        elif isinstance(value, bool):
            self.header(Tag.Bool, int(value))
        elif kind is int:
            self.integer(value)  # type: ignore[arg-type]
        elif kind is float:
            self.number(value)  # type: ignore[arg-type]
        elif kind is str:
            self.text(Tag.String, value)  # type: ignore[arg-type]
        elif kind is bytes:
            self.octets(Tag.Binary, value)  # type: ignore[arg-type]
        elif kind is list:
            self.array(value, depth)  # type: ignore[arg-type]
        elif kind is dict:
            self.map(value, depth)  # type: ignore[arg-type]
        elif isinstance(value, Ref):
            self.text(Tag.Ref, value.id)
        elif isinstance(value, Case):
            self.case(value, depth)
        elif isinstance(value, Token):
            self.handle(value)
        else:
            raise _Refused

    def part(self, value: object) -> object:
        if value is UNDEF:
            raise _Refused
        return value

    def header(self, tag: Tag, aux: int = 0) -> None:
        self.out += struct.pack("<I", tag | (aux & LONG) << 8)

    def length(self, tag: Tag, length: int) -> None:
        if length > U32_MAX:
            raise _Refused
        if length < LONG:
            self.header(tag, length)
        else:
            self.header(tag, LONG)
            self.out += struct.pack("<I", length)

    def integer(self, value: int) -> None:
        if INT24_MIN <= value <= INT24_MAX:
            self.header(Tag.Int, value)
        elif INT64_MIN <= value <= INT64_MAX:
            self.header(Tag.Int64)
            self.out += struct.pack("<q", value)
        else:
            raise _Refused

    def number(self, value: float) -> None:
        self.header(Tag.Number)
        self.out += struct.pack("<Q", NAN) if math.isnan(value) else struct.pack("<d", value)

    def octets(self, tag: Tag, octets: bytes) -> None:
        self.length(tag, len(octets))
        self.out += octets
        self.out += bytes(-len(octets) % 4)

    def text(self, tag: Tag, text: str) -> None:
        try:
            octets = text.encode()
        except UnicodeEncodeError:
            raise _Refused from None
        self.octets(tag, octets)

    def array(self, items: list[object], depth: int) -> None:
        self.length(Tag.Array, len(items))
        for item in items:
            self.value(self.part(item), depth + 1)

    def map(self, entries: dict[str, object], depth: int) -> None:
        if any(type(key) is not str for key in entries):
            raise _Refused
        self.length(Tag.Map, len(entries))
        # Python orders strings by code point, which is the order of their UTF-8 bytes.
        for key in sorted(entries):
            self.text(Tag.String, key)
            self.value(self.part(entries[key]), depth + 1)

    def case(self, case: Case, depth: int) -> None:
        has_arg = case.arg is not UNDEF
        self.header(Tag.Case, int(has_arg))
        self.text(Tag.String, case.name)
        if has_arg:
            self.value(case.arg, depth + 1)

    def handle(self, token: Token) -> None:
        if self.token is None:
            raise _Refused
        handle = self.token(token)
        if type(handle) is not bytes:
            raise TypeError(f"the token hook of encode answers bytes, not {type(handle).__name__}")
        self.octets(Tag.Token, handle)


class _Reader:
    """Reads words of `view` from `position` on.

    `room` counts the words that nobody has claimed yet. A container claims one word for the header of each
    child before any is read, other values claim what follows their header. So a granted claim never reaches
    beyond the buffer, no header is ever missing, and counts cannot promise more than the buffer has, however
    they are nested.
    """

    def __init__(self, view: memoryview, token: TokenReader | None) -> None:
        self.view = view
        self.position = 0
        self.room = len(view) // 4 - 1
        self.token = token

    def word(self) -> int:
        start = self.position * 4
        self.position += 1
        return int.from_bytes(self.view[start : start + 4], "little")

    def claim(self, words: int, tag: Tag, at: int) -> None:
        if words > self.room:
            raise CodecError(f"{tag.name} needs {words} more words, {self.room} are left", at)
        self.room -= words

    def value(self, depth: int) -> Any:
        at = self.position
        if depth > MAX_DEPTH:
            raise CodecError(f"nesting above {MAX_DEPTH}", at)
        header = self.word()
        tag, aux = header & 0xFF, header >> 8
        if tag >= len(_READERS):
            raise CodecError(f"unknown tag {tag}", at)
        return _READERS[tag](self, aux, at, depth)

    def part(self, part: Any, at: int) -> Any:
        if part is UNDEF:
            raise CodecError("undefined may not be stored in arrays, maps and cases", at)
        return part

    def only(self, aux: int, largest: int, tag: Tag, at: int) -> None:
        if aux > largest:
            raise CodecError(f"aux of {tag.name} is {aux}, which is above {largest},", at)

    def length(self, aux: int, tag: Tag, at: int) -> int:
        if aux < LONG:
            return aux
        self.claim(1, tag, at)
        length = self.word()
        if length < LONG:
            raise CodecError(
                f"the length {length} fits in aux of {tag.name}, found it in a word of its own", at
            )
        return length

    def octets(self, aux: int, tag: Tag, at: int) -> bytes:
        length = self.length(aux, tag, at)
        words = (length + 3) // 4
        self.claim(words, tag, at)
        start, end = self.position * 4, self.position * 4 + length
        self.position += words
        if any(self.view[end : self.position * 4]):
            raise CodecError(f"expected zero padding after the bytes of {tag.name}", at)
        # A copy: a slice kept by the traceback of an error would keep the caller's buffer locked.
        return bytes(self.view[start:end])

    def text(self, aux: int, tag: Tag, at: int) -> str:
        octets = self.octets(aux, tag, at)
        try:
            return octets.decode()
        except UnicodeDecodeError:
            raise CodecError(f"the bytes of {tag.name} are not UTF-8", at) from None

    def name(self, what: str) -> str:
        """A String that is no value: a map key or a case name."""
        at = self.position
        header = self.word()
        if header & 0xFF != Tag.String:
            raise CodecError(f"expected a String as {what}, found tag {header & 0xFF}", at)
        return self.text(header >> 8, Tag.String, at)

    # One method for each tag.

    def undef(self, aux: int, at: int, depth: int) -> Undef:
        self.only(aux, 0, Tag.Undef, at)
        return UNDEF

    def null(self, aux: int, at: int, depth: int) -> None:
        self.only(aux, 0, Tag.Null, at)

    def boolean(self, aux: int, at: int, depth: int) -> bool:
        self.only(aux, 1, Tag.Bool, at)
        return aux == 1

    def small(self, aux: int, at: int, depth: int) -> int:
        return aux if aux <= INT24_MAX else aux - 2**24

    def int64(self, aux: int, at: int, depth: int) -> Any:
        self.only(aux, 0, Tag.Int64, at)
        self.claim(2, Tag.Int64, at)
        (value,) = struct.unpack_from("<q", self.view, self.position * 4)
        self.position += 2
        if INT24_MIN <= value <= INT24_MAX:
            raise CodecError(f"{value} fits in an Int, found an Int64", at)
        return value

    def number(self, aux: int, at: int, depth: int) -> Any:
        self.only(aux, 0, Tag.Number, at)
        self.claim(2, Tag.Number, at)
        (bits,) = struct.unpack_from("<Q", self.view, self.position * 4)
        (value,) = struct.unpack_from("<d", self.view, self.position * 4)
        self.position += 2
        if math.isnan(value) and bits != NAN:
            raise CodecError("expected the canonical NaN, found another", at)
        return value

    def string(self, aux: int, at: int, depth: int) -> str:
        return self.text(aux, Tag.String, at)

    def ref(self, aux: int, at: int, depth: int) -> Ref:
        return Ref(self.text(aux, Tag.Ref, at))

    def binary(self, aux: int, at: int, depth: int) -> bytes:
        return self.octets(aux, Tag.Binary, at)

    def array(self, aux: int, at: int, depth: int) -> list[Any]:
        count = self.length(aux, Tag.Array, at)
        self.claim(count, Tag.Array, at)
        items = []
        for _ in range(count):
            at = self.position
            items.append(self.part(self.value(depth + 1), at))
        return items

    def map(self, aux: int, at: int, depth: int) -> dict[str, Any]:
        count = self.length(aux, Tag.Map, at)
        self.claim(2 * count, Tag.Map, at)
        entries: dict[str, Any] = {}
        last: str | None = None
        for _ in range(count):
            at = self.position
            key = self.name("map key")
            if last is not None and key <= last:
                raise CodecError("map keys must ascend strictly by their bytes", at)
            at = self.position
            entries[key] = self.part(self.value(depth + 1), at)
            last = key
        return entries

    def case(self, aux: int, at: int, depth: int) -> Case:
        self.only(aux, 1, Tag.Case, at)
        self.claim(1 + aux, Tag.Case, at)
        name = self.name("case name")
        if not aux:
            return Case(name)
        at = self.position
        return Case(name, self.part(self.value(depth + 1), at))

    def handle(self, aux: int, at: int, depth: int) -> Token:
        if self.token is None:
            raise CodecError("a Token may not cross here", at)
        token = self.token(self.octets(aux, Tag.Token, at))
        if token is None:
            raise CodecError("a Token of this handle does not exist", at)
        if not isinstance(token, Token):
            raise TypeError(f"the token hook of decode answers a Token or None, not {type(token).__name__}")
        return token


_READERS: Final[tuple[Callable[[_Reader, int, int, int], Any], ...]] = (
    _Reader.undef,
    _Reader.null,
    _Reader.boolean,
    _Reader.small,
    _Reader.int64,
    _Reader.number,
    _Reader.string,
    _Reader.ref,
    _Reader.binary,
    _Reader.array,
    _Reader.map,
    _Reader.case,
    _Reader.handle,
)
"""By tag."""


MARKED: Final = 1
LINKED: Final = 2
SPECIAL: Final = 4
GUARDED: Final = 8
INVALID: Final = 16

MARK: Final = "_rmx_type"


def scan(value: object, /) -> int:
    """What a tree contains beyond plain JSON, as a set of bits; 0 means plain JSON throughout.

    MARKED: a map with the key `_rmx_type`. LINKED: a Ref, or a Case (not named `db.ref`). SPECIAL: a Binary,
    a number that is not finite, a Case named `db.ref`. GUARDED: a Token, or undefined at the top. INVALID:
    not a Value throughout, and then the only bit.
    """
    if find_fault(value) is not None:
        return INVALID
    return GUARDED if value is UNDEF else _scan(value)


def _scan(value: object) -> int:
    match value:
        case float():
            return 0 if math.isfinite(value) else SPECIAL
        case bytes():
            return SPECIAL
        case Ref():
            return LINKED
        case Token():
            return GUARDED
        case Case(name=name, arg=arg):
            return (SPECIAL if name == "db.ref" else LINKED) | (0 if isinstance(arg, Undef) else _scan(arg))
        case list():
            found = 0
            for item in value:
                found |= _scan(item)
            return found
        case dict():
            found = MARKED if MARK in value else 0
            for item in value.values():
                found |= _scan(item)
            return found
        case _:
            return 0
