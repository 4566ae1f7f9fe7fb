"""Types as C goes through them: whether codec words are of a type as they are, so that no value need be made of them.

Not all types have a shape: where a value may have to be changed to fit, or another option of a union might change it,
Python decides. The layout is described in `_forms.c`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mixkit import codec
from mixkit.converter import converter
from mixkit.schema import (
    ANY,
    ArrayType,
    LiteralType,
    MapType,
    RecordType,
    ScalarType,
    Type,
    UnionType,
)

if TYPE_CHECKING:

    def _fits(words: bytes, shape: bytes, /) -> bool: ...

else:
    try:
        from mixkit._forms import fits as _fits
    except ModuleNotFoundError:

        def _fits(words, shape):
            return False


__all__ = ["Declared", "Shape", "declared", "shape"]

Shape = bytes

_TAGS: Final = {
    "null": (1,),
    "bool": (2,),
    # A whole float is taken too, and becomes an int: not as it is.
    "int": (3, 4),
    "number": (3, 4, 5),
    "string": (6,),
    "ref": (7,),
    "binary": (8,),
    "case": (11,),
}
_ANYTHING: Final = 0xFFFF
_FLOAT: Final = 1 << 5
_ARRAY: Final = 1 << 9
_MAP: Final = 1 << 10
_TAKE_FLOATS: Final = (ANY, ScalarType("number"), ScalarType("int"))
_MOST: Final = 0xFF


class Declared:
    """A type as values are held against it, and as codec words are, of which no value need be made then.

    Called with a value it answers that made to fit, or raises `Mismatch`.
    """

    __slots__ = ("_convert", "_shape")

    def __init__(self, type: Type) -> None:
        self._convert = converter(type)
        self._shape = shape(type)

    def __call__(self, value: Any) -> Any:
        return self._convert(value)

    def fits(self, words: bytes) -> bool:
        """Whether the words are of the type as they are. False says nothing: the value may be, or be made to fit.

        Args:
            words: canonical, as the codec takes them; what is cut short fits nothing.
        """
        return self._shape is not None and _fits(words, self._shape)


def declared(type: Type) -> Declared | None:
    """What holds values against a type; None for one that takes all."""
    return None if type == ANY else Declared(type)


class _HasNone(Exception):
    """A part of the type has no shape."""


def shape(type: Type) -> Shape | None:
    """The shape of a type; None if it has none."""
    try:
        return _node(type)
    except _HasNone:
        return None


def _node(type: Type) -> bytes:
    match type:
        case ScalarType() | UnionType() | MapType(ScalarType("data")) | ArrayType(ScalarType("data")):
            return b"k" + _mask(type).to_bytes(2, "little")
        case ArrayType(item):
            return b"a" + _node(item)
        case MapType(item):
            return b"m" + _node(item)
        case RecordType(make=None):
            return _record(type)
        case LiteralType(values) if len(values) <= _MOST:
            return b"l" + bytes([len(values)]) + b"".join(_sized(codec.encode(value)) for value in values)
    raise _HasNone


def _mask(type: Type) -> int:
    """The tags of a scalar, a map or array of anything, or a union of these, a bit each."""
    match type:
        case ScalarType("data"):
            return _ANYTHING
        case MapType(ScalarType("data")):
            return _MAP
        case ArrayType(ScalarType("data")):
            return _ARRAY
        case ScalarType(name) if name in _TAGS:
            return sum(1 << tag for tag in _TAGS[name])
        case UnionType(options):
            mask = 0
            flat = list(_flat(options))
            for option in flat:
                mask |= _mask(option)
            # The first that takes a float has it: an int changes a whole one.
            first = next((option for option in flat if option in _TAKE_FLOATS), None)
            return mask & ~_FLOAT if first == ScalarType("int") else mask
    raise _HasNone


def _flat(options: Iterable[Type]) -> Iterator[Type]:
    """The options, and in place of a union those of it."""
    for option in options:
        if isinstance(option, UnionType):
            yield from _flat(option.options)
        else:
            yield option


def _record(type: RecordType) -> bytes:
    fields = sorted(((key.encode(), field) for key, field in type.fields.items()), key=lambda pair: pair[0])
    if len(fields) > 0xFFFF or any(len(key) > 0xFFFF for key, _ in fields):
        raise _HasNone
    parts = [b"r", bytes([type.open]), len(fields).to_bytes(2, "little")]
    for key, field in fields:
        node = _node(field.type)
        parts += [
            bytes([field.optional]),
            len(key).to_bytes(2, "little"),
            len(node).to_bytes(4, "little"),
            key,
            node,
        ]
    return b"".join(parts)


def _sized(words: bytes) -> bytes:
    return len(words).to_bytes(4, "little") + words
