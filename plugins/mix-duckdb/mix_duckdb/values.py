"""From DuckDB's types to values, by the declared type and never by what a value looks like.

| DuckDB | value |
|---|---|
| BOOLEAN | boolean |
| TINYINT to BIGINT, UTINYINT to UINTEGER | integer |
| UBIGINT, HUGEINT, UHUGEINT, BIGNUM | integer; one that has not 64 bits is a string of its digits |
| FLOAT, DOUBLE | float, NaN and infinities too |
| DECIMAL of at most 15 digits | float, which has them all |
| DECIMAL of more | string, `"12.50"` |
| VARCHAR, UUID, ENUM, JSON, BIT | string |
| BLOB, GEOMETRY | binary |
| DATE, TIME, TIMESTAMP and their kin, INTERVAL | string as DuckDB writes it: `"2026-11-27 18:30:00"` |
| LIST, ARRAY | array |
| STRUCT | map |
| MAP with VARCHAR keys | map |
| MAP with others | array of maps with `key` and `value` |
| UNION, VARIANT, TUPLE | string, as JSON |
| NULL | null |

What is not a value as it comes is cast by DuckDB itself, before it is handed over: Python has no such intervals and
infinite dates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from mixkit.value import INT64_MAX, INT64_MIN

__all__ = ["Form", "arrow_type", "form_of"]

_SAME = frozenset(
    "boolean tinyint smallint integer bigint utinyint usmallint uinteger float double varchar blob".split()  # noqa: SIM905
)
_LARGE = frozenset(["ubigint", "hugeint", "uhugeint", "bignum"])
_NOT_IN_ARROW = frozenset(["uhugeint", "bignum", "bit", "time with time zone"])
"""What DuckDB 2.0 makes something else of in Arrow: negative numbers of the upper half, bytes as it keeps them itself,
and times without their zone."""
_EXACT = 15
"""Digits that a float has, whatever they are."""


class Form(NamedTuple):
    """How values of a type are made.

    Attributes:
        cast: the type to cast to first.
        make: from what Arrow's `to_pylist` answers then, never None; None if that is the value.
        direct: from what DuckDB's own binding answers without a cast; False if that is not all there is to know.
    """

    cast: str
    make: Callable[[Any], Any] | None = None
    direct: Callable[[Any], Any] | Literal[False] | None = False


def form_of(type: Any) -> Form:
    """For a type as DuckDB's relations tell it."""
    kind = type.id
    if kind in _SAME:
        return Form(str(type), None, None)
    if kind in _LARGE:
        return Form("VARCHAR", _large, _large)
    if kind == "decimal":
        if dict(type.children)["precision"] <= _EXACT:
            return Form("DOUBLE", None, float)
        return Form("VARCHAR", None, lambda value: f"{value:f}")
    if kind == "uuid":
        return Form("VARCHAR", None, str)
    if kind in ("list", "array"):
        item = form_of(type.child if kind == "list" else dict(type.children)["child"])
        return Form(f"{item.cast}[]", _each(item.make))
    if kind == "struct":
        fields = [(name, form_of(field)) for name, field in type.children]
        if not fields:
            return Form("VARCHAR", lambda value: {})
        inside = ", ".join(f"{_quoted(name)} {form.cast}" for name, form in fields)
        return Form(f"STRUCT({inside})", _fields([(name, form.make) for name, form in fields]))
    if kind == "map":
        key, item = (form_of(part) for _, part in type.children)
        texts = dict(type.children)["key"].id == "varchar"
        return Form(f"MAP({key.cast}, {item.cast})", _pairs(key.make, item.make, texts))
    if kind in ("union", "variant", "tuple"):
        return Form("JSON")
    if kind == "geometry":
        return Form("BLOB")
    return Form("VARCHAR")


def arrow_type(type: Any) -> str:
    """The type to cast to before it becomes Arrow: itself, with text for each part that Arrow would not keep."""
    kind = type.id
    if kind in _NOT_IN_ARROW:
        return "VARCHAR"
    if kind == "list":
        return f"{arrow_type(type.child)}[]"
    if kind == "array":
        inside = dict(type.children)
        return f"{arrow_type(inside['child'])}[{inside['size']}]"
    if kind in ("struct", "union", "tuple", "map"):
        # A union has its tag among its parts, without a name.
        parts = [(name, part) for name, part in type.children if name or kind != "union"]
        made = [arrow_type(part) for _, part in parts]
        if made != [str(part) for _, part in parts]:
            names = ["" if kind in ("tuple", "map") else f"{_quoted(name)} " for name, _ in parts]
            return f"{kind.upper()}({', '.join(map(''.join, zip(names, made, strict=True)))})"
    return str(type)


def _large(digits: str | int) -> Any:
    number = int(digits)
    return number if INT64_MIN <= number <= INT64_MAX else str(digits)


def _each(make: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if make is None:
        return None
    return lambda items: [None if item is None else make(item) for item in items]


def _fields(makes: list[tuple[str, Callable[[Any], Any] | None]]) -> Callable[[Any], Any] | None:
    made = [(name, make) for name, make in makes if make is not None]
    if not made:
        return None

    def convert(value: dict[str, Any]) -> dict[str, Any]:
        for name, make in made:
            if value[name] is not None:
                value[name] = make(value[name])
        return value

    return convert


def _pairs(
    key: Callable[[Any], Any] | None, item: Callable[[Any], Any] | None, texts: bool
) -> Callable[[Any], Any]:
    def convert(pairs: list[tuple[Any, Any]]) -> Any:
        made = [
            (
                key(name) if key else name,
                item(value) if item and value is not None else value,
            )
            for name, value in pairs
        ]
        return dict(made) if texts else [{"key": name, "value": value} for name, value in made]

    return convert


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
