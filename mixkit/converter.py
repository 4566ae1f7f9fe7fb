"""What checks and converts a value, as its type wants it: chosen once, and nothing is decided again at a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from mixkit._fault import step
from mixkit.schema import (
    ANY,
    ArrayType,
    LiteralType,
    MapType,
    Mismatch,
    RecordType,
    ScalarType,
    Type,
    UnionType,
    UnknownField,
    shown,
)
from mixkit.value import INT64_MAX, INT64_MIN, Case, Ref, Token, kind_of

__all__ = ["Converter", "converter"]

Converter: TypeAlias = Callable[[Any], Any]


def converter(type: Type, *, out: bool = False) -> Converter:
    """The function that answers the converted value or raises `Mismatch`.

    Args:
        out: for what Python code answers: a record may come as the object that `make` builds, and leaves as a map.
    """
    match type:
        case ScalarType("data"):
            return _identity
        case ScalarType(name):
            return _SCALARS[name]
        case ArrayType(item):
            return _identity_of(list, "array") if item == ANY else _array(converter(item, out=out))
        case MapType(item):
            return _identity_of(dict, "map") if item == ANY else _map(converter(item, out=out))
        case RecordType():
            return _record(type, out)
        case UnionType():
            return _union(type, out)
        case LiteralType(values):
            return _literal(str(type), values)


def _identity(value: Any) -> Any:
    return value


def _found(value: Any) -> str:
    """What a message says of a value: its kind, and the value if it is a number. Never a token's content."""
    kind = kind_of(value)
    return f"{kind} {value!r}" if kind in ("bool", "int", "number") else kind


def _identity_of(cls: type, name: str) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is cls:
            return value
        raise Mismatch(name, _found(value))

    return convert


def _to_int(value: Any) -> int:
    # bool is an int for Python, not for us; a float of a whole number is that number in the language.
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and INT64_MIN <= value <= INT64_MAX:
        return int(value)
    raise Mismatch("int", _found(value))


def _to_float(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return value
    raise Mismatch("number", _found(value))


_KINDS: Final[dict[str, type]] = {
    "null": type(None),
    "bool": bool,
    "string": str,
    "binary": bytes,
    "ref": Ref,
    "token": Token,
    "case": Case,
}
_SCALARS: Final[dict[str, Converter]] = {
    "int": _to_int,
    "number": _to_float,
    **{name: _identity_of(cls, name) for name, cls in _KINDS.items()},
}
_CLASSES: Final = (*_KINDS.values(), int, float, list, dict)


def _array(convert_item: Converter) -> Converter:
    def convert(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Mismatch("array", _found(value))
        result: list[Any] = []
        try:
            for item in value:
                result.append(convert_item(item))
        except Mismatch as exc:
            raise exc.under(f"[{len(result)}]") from None
        return result

    return convert


def _map(convert_item: Converter) -> Converter:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Mismatch("map", _found(value))
        result = {}
        for key, item in value.items():
            try:
                result[key] = convert_item(item)
            except Mismatch as exc:
                raise exc.under(step(key)) from None
        return result

    return convert


def _record(record: RecordType, out: bool) -> Converter:
    converters = {key: converter(field.type, out=out) for key, field in record.fields.items()}
    required = [key for key, field in record.fields.items() if not field.optional]
    make, is_open = record.make, record.open

    if out and make is not None:
        convert_map = _record(msgspec.structs.replace(record, make=None), out)

        def leave(value: Any) -> Any:
            if type(value) is make:
                value = {key: getattr(value, key) for key in converters}
            return convert_map(value)

        return leave

    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch(f"map {record}", _found(value))
        result = value
        for key, item in value.items():
            convert_item = converters.get(key)
            if convert_item is None:
                if not is_open:
                    raise UnknownField(key, converters)
                continue
            try:
                found = convert_item(item)
            except Mismatch as exc:
                raise exc.under(step(key)) from None
            if found is not item:
                # PERF: copied only if something changes, which is rare.
                if result is value:
                    result = dict(value)
                result[key] = found
        for key in required:
            if key not in value:
                raise Mismatch(str(record.fields[key].type), "nothing", step(key))
        if make is None:
            return result
        try:
            return make(**result)
        except ValueError as exc:  # Of the class's own __post_init__.
            raise Mismatch(str(record), f"a map that it refuses: {exc}") from None

    return convert


def _union(union: UnionType, out: bool) -> Converter:
    text = str(union)
    # PERF: an option that cannot take a value of that Python type is not asked, since to fail is slow.
    options = [(converter(option, out=out), _classes(option, out)) for option in union.options]
    anything = [convert for convert, classes in options if classes is None]
    by_class = {
        cls: [convert for convert, classes in options if classes is None or cls in classes]
        for cls in {*_CLASSES, *(cls for _, classes in options for cls in classes or ())}
    }

    def convert(value: Any) -> Any:
        deepest: Mismatch | None = None
        for convert_option in by_class.get(type(value), anything):
            try:
                return convert_option(value)
            except Mismatch as exc:
                # An option that failed inside the value says more than one that failed at once.
                inside = exc.path or isinstance(exc, UnknownField)
                if inside and (deepest is None or len(exc.path) > len(deepest.path)):
                    deepest = exc
        raise deepest or Mismatch(text, _found(value))

    return convert


def _classes(type: Type, out: bool) -> tuple[type, ...] | None:
    """The Python types of the values that a type may take; None if they are all."""
    match type:
        case ScalarType("data"):
            return None
        case ScalarType("int" | "number"):
            return (int, float)
        case ScalarType(name):
            return (_KINDS[name],)
        case ArrayType():
            return (list,)
        case RecordType(make=make) if out and make is not None:
            return (dict, make)
        case MapType() | RecordType():
            return (dict,)
        case LiteralType(values):
            return tuple({value.__class__ for value in values})
        case UnionType(options):
            found = [_classes(option, out) for option in options]
            return None if None in found else tuple({cls for classes in found for cls in classes or ()})


def _literal(text: str, values: tuple[Any, ...]) -> Converter:
    allowed = {(type(v), v) for v in values}

    def convert(value: Any) -> Any:
        if isinstance(value, str | int) and (type(value), value) in allowed:
            return value
        raise Mismatch(text, shown(value) if type(value) is str else _found(value))

    return convert
