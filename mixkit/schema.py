"""Types of FFI arguments and agent parameters: one description that feeds checks, listings and JSON Schema.

A type is made from a Python annotation (`from_annotation`) or from the type texts of the Mix language that
guests write in their manifests (`mixkit.schema_text.parse`). `mixkit.converter` makes of it what checks a value.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from mixkit.errors import MixError
from mixkit.near import meant
from mixkit.value import Case, Ref, Token, Value

__all__ = [
    "ANY",
    "REST",
    "ArrayType",
    "Field",
    "LiteralType",
    "MapType",
    "Mismatch",
    "RecordType",
    "ScalarType",
    "Type",
    "UnionType",
    "UnknownField",
    "from_annotation",
    "json_schema",
    "shown",
]


def shown(text: str) -> str:
    """A text of a guest, as a message shows it."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


class Mismatch(MixError, TypeError):
    """A value is not of the type that was expected. `path` starts at the value itself, as `[3].when`."""

    code = "type"

    def __init__(self, expected: str, found: str, path: str = "") -> None:
        super().__init__(f"expected {expected}, found {found}{' at ' + path if path else ''}")
        self.expected = expected
        self.found = found
        self.path = path

    def under(self, step: str) -> Mismatch:
        """The same, seen from one level further out."""
        return Mismatch(self.expected, self.found, step + self.path)


class UnknownField(Mismatch):
    """A map has a key that its type does not have: `name`. `path` is the map's, `known` are those that may be there."""

    def __init__(self, name: str, known: Iterable[str], path: str = "") -> None:
        self.name = name
        self.known = tuple(known)
        listed = ", ".join(self.known[:_LISTED]) + (", …" if len(self.known) > _LISTED else "")
        super().__init__(f"one of the keys {listed}" if listed else "no keys", f"key {shown(name)}", path)

    def under(self, step: str) -> UnknownField:
        return UnknownField(self.name, self.known, step + self.path)

    def __str__(self) -> str:
        # PERF: the near name is looked for only when somebody reads the message; a union tries all of its options.
        return super().__str__() + meant(self.name, self.known)


class ScalarType(msgspec.Struct, frozen=True):
    """`data` (anything), or one kind: null bool int number string binary ref token case."""

    name: str

    def __str__(self) -> str:
        return self.name


class ArrayType(msgspec.Struct, frozen=True):
    """An array of one type."""

    item: Type

    def __str__(self) -> str:
        return f"array({self.item})"


class MapType(msgspec.Struct, frozen=True):
    """A map with any keys and values of one type."""

    item: Type

    def __str__(self) -> str:
        return f"map({self.item})"


class Field(msgspec.Struct, frozen=True):
    """A field of a record."""

    type: Type
    optional: bool = False
    doc: str = ""


class RecordType(msgspec.Struct, frozen=True):
    """A map with known fields, and with any others if it is `open`. `make` builds a Python object from them."""

    fields: Mapping[str, Field]
    open: bool = False
    make: type[Any] | None = None

    def __str__(self) -> str:
        fields = ((k if _NAME.fullmatch(k) else json.dumps(k), f) for k, f in self.fields.items())
        texts = [f"{k}{'?' if f.optional else ''}: {f.type}" for k, f in fields]
        return "{" + ", ".join([*texts, REST] if self.open else texts) + "}"


class UnionType(msgspec.Struct, frozen=True):
    """One of several types; the first that fits converts."""

    options: tuple[Type, ...]

    def __str__(self) -> str:
        return " | ".join(str(option) for option in self.options)


class LiteralType(msgspec.Struct, frozen=True):
    """One of several constants."""

    values: tuple[str | int | bool, ...]

    def __str__(self) -> str:
        return " | ".join(json.dumps(v, ensure_ascii=False) for v in self.values)


Type: TypeAlias = ScalarType | ArrayType | MapType | RecordType | UnionType | LiteralType

ANY = ScalarType("data")
REST: Final = "..."
"""What stands for the fields that are not named, in the text of an open record."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 80
"""Longest text of a guest that a message shows."""
_LISTED = 30
"""Most keys that a message lists."""
_ANNOTATIONS: dict[Any, Type] = {
    Any: ANY,
    None: ScalarType("null"),
    type(None): ScalarType("null"),
    bool: ScalarType("bool"),
    int: ScalarType("int"),
    float: ScalarType("number"),
    str: ScalarType("string"),
    bytes: ScalarType("binary"),
    Ref: ScalarType("ref"),
    Token: ScalarType("token"),
    Case: ScalarType("case"),
    list: ArrayType(ANY),
    dict: MapType(ANY),
}


def from_annotation(annotation: Any) -> Type:
    """The type of a Python annotation.

    Known are scalars, `list[T]`, `dict[str, T]`, unions, `Literal`, dataclasses, `TypedDict`, `msgspec.Struct` and
    `Value`.

    Raises:
        TypeError: the annotation has no counterpart among Values.
    """
    return _from_annotation(annotation, ())


def _from_annotation(annotation: Any, inside: tuple[type, ...]) -> Type:
    """`inside` are the classes whose fields are being looked at."""
    try:
        known = _ANNOTATIONS.get(annotation)
    except TypeError:  # Annotated with something that cannot be hashed.
        known = None
    if known is not None:
        return known
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _from_annotation(args[0], inside)
    if origin is list:
        return ArrayType(_from_annotation(args[0], inside))
    if origin is dict and args[0] is str:
        return MapType(_from_annotation(args[1], inside))
    if origin in (typing.Union, types.UnionType):
        if annotation == Value:
            return ANY
        return UnionType(tuple(_from_annotation(arg, inside) for arg in args))
    if origin is Literal and all(type(arg) in (str, int, bool) for arg in args):
        return LiteralType(args)
    if isinstance(annotation, type) and _describes_a_record(annotation):
        return _from_class(annotation, inside)
    raise TypeError(
        f"{annotation!r} is no type of Values; use scalars, list[T], dict[str, T], unions, dataclasses, "
        "TypedDicts or msgspec Structs"
    )


def _describes_a_record(cls: type) -> bool:
    return typing.is_typeddict(cls) or dataclasses.is_dataclass(cls) or issubclass(cls, msgspec.Struct)


def _optional_fields(cls: type, hints: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of a class that describes a record, and whether each may be missing.

    Raises:
        TypeError: fields have other names outside.
    """
    if typing.is_typeddict(cls):
        # NOTE: annotations that are texts hide NotRequired and Required from the class itself.
        origins = {name: typing.get_origin(hint) for name, hint in hints.items()}
        may_miss: frozenset[str] = getattr(cls, "__optional_keys__")  # noqa: B009 - mypy does not know that it is there
        return {
            name: origin is typing.NotRequired or (name in may_miss and origin is not typing.Required)
            for name, origin in origins.items()
        }
    if dataclasses.is_dataclass(cls):
        return {
            item.name: item.default is not dataclasses.MISSING
            or item.default_factory is not dataclasses.MISSING
            for item in dataclasses.fields(cls)
            if item.init
        }
    assert issubclass(cls, msgspec.Struct)
    # PERF: `msgspec.structs.fields` would evaluate the annotations once more.
    names = cls.__struct_fields__
    for name, outside in zip(names, cls.__struct_encode_fields__, strict=True):
        if name != outside:
            raise TypeError(f"{cls.__name__} renames its field {name!r}; a record has the class's own names")
    defaults = cls.__struct_defaults__
    defaults = (msgspec.NODEFAULT,) * (len(names) - len(defaults)) + defaults
    return {name: default is not msgspec.NODEFAULT for name, default in zip(names, defaults, strict=True)}


def _from_class(cls: type, inside: tuple[type, ...]) -> RecordType:
    if cls in inside:
        raise TypeError(f"{cls.__name__} contains itself, and a type of Values is finite; use dict there")
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {
        name: Field(_from_annotation(_bare(hints[name]), (*inside, cls)), may_miss, _doc(_bare(hints[name])))
        for name, may_miss in _optional_fields(cls, hints).items()
    }
    return RecordType(fields, make=None if typing.is_typeddict(cls) else cls)


def _bare(annotation: Any) -> Any:
    """The annotation without what a `TypedDict` says of the field around it."""
    if typing.get_origin(annotation) in (typing.Required, typing.NotRequired):
        return typing.get_args(annotation)[0]
    return annotation


def _doc(annotation: Any) -> str:
    """The description in `Annotated[T, "description"]`, or nothing."""
    return next((m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, str)), "")


_JSON_SCALARS: dict[str, dict[str, Any]] = {
    "data": {},
    "null": {"type": "null"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "string": {"type": "string"},
}


def _tagged(pattern: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"_rmx_type": {"type": "string", "pattern": pattern}, "_rmx_value": {}},
        "required": ["_rmx_type"],
    }


def json_schema(type: Type) -> dict[str, Any]:
    """JSON Schema (2020-12) of the type's tagged JSON, without `$ref`, which some clients cannot read."""
    match type:
        case ScalarType("binary"):
            return _tagged(r"^\{tag\}bin$")
        case ScalarType("ref"):
            return _tagged(r"^\{tag\}case:db\.ref$")
        case ScalarType("case"):
            return _tagged(r"^\{tag\}case:")
        case ScalarType("token"):
            return {"not": {}, "description": "an opaque token, which JSON cannot hold"}
        case ScalarType(name):
            return dict(_JSON_SCALARS[name])
        case ArrayType(item):
            return {"type": "array", "items": json_schema(item)}
        case MapType(item):
            return {"type": "object", "additionalProperties": json_schema(item)}
        case RecordType(fields, is_open):
            return {
                "type": "object",
                "properties": {key: _described(json_schema(f.type), f.doc) for key, f in fields.items()},
                "required": [key for key, field in fields.items() if not field.optional],
                "additionalProperties": is_open,
            }
        case UnionType(options):
            return {"anyOf": [json_schema(option) for option in options]}
        case LiteralType(values):
            return {"enum": list(values)}


def _described(schema: dict[str, Any], doc: str) -> dict[str, Any]:
    return {**schema, "description": doc} if doc else schema
