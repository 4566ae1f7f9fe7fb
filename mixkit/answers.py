"""Whether an answer is what a JSON Schema of a form asks for: an object of texts, numbers, choices, lists of these.

What a schema says beyond that is a hint to who asks, and not checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mixkit.errors import FFIError, shortened
from mixkit.near import meant

__all__ = ["check_answer", "check_field", "check_form"]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
}
_SHOWN: Final = 100


def check_form(schema: Any) -> None:
    """`FFIError` if that is no schema of a form: of an object with properties, each described by a schema."""
    fields = schema.get("properties") if type(schema) is dict else None
    if (
        type(fields) is not dict
        or not all(type(field) is dict for field in fields.values())
        or type(required := schema.get("required", [])) is not list
        or not all(type(name) is str for name in required)
    ):
        raise FFIError("expected a JSON Schema of an object with properties")


def check_answer(schema: Mapping[str, Any], answer: Any) -> None:
    """`FFIError` if that is no answer to a form: it says what was expected, what was found and where."""
    if type(answer) is not dict:
        raise FFIError(f"expected a map of answers, found {_shown(answer)}")
    fields: Mapping[str, Any] = schema["properties"]
    for name in schema.get("required", ()):
        if name not in answer:
            raise FFIError(f"expected an answer for {name!r}, found none")
    closed = schema.get("additionalProperties") is False
    for name, value in answer.items():
        if name in fields:
            check_field(fields[name], value, repr(name))
        elif closed:
            known = [str(field) for field in fields]
            raise FFIError(
                f"expected answers for {', '.join(known)}, found {shortened(name, _SHOWN)!r}{meant(name, known)}"
            )


def check_field(field: Mapping[str, Any], value: Any, where: str) -> None:
    """`FFIError` if that is no value of one field of a form, which is called `where` in the message."""
    kind = field.get("type")
    types = _TYPES.get(kind) if type(kind) is str else None
    if types is not None and type(value) not in types:
        raise FFIError(f"expected {kind} for {where}, found {_shown(value)}")
    choices = _choices(field)
    if choices is not None and value not in choices:
        listed = shortened(", ".join(map(_shown, choices)), 5 * _SHOWN)
        raise FFIError(f"expected one of {listed} for {where}, found {_shown(value)}")
    if type(value) in _BOUNDS:
        _check_size(field, value, where)
    items = field.get("items")
    if type(value) is list and type(items) is dict:
        for index, item in enumerate(value):
            check_field(items, item, f"{where}[{index}]")


_BOUNDS: Final[Mapping[type, tuple[str, str, str]]] = {
    str: ("minLength", "maxLength", " characters"),
    list: ("minItems", "maxItems", " items"),
    int: ("minimum", "maximum", ""),
    float: ("minimum", "maximum", ""),
}


def _check_size(field: Mapping[str, Any], value: Any, where: str) -> None:
    lower, upper, unit = _BOUNDS[type(value)]
    size = value if unit == "" else len(value)
    least: Any = field.get(lower)
    most: Any = field.get(upper)
    # Asked so that NaN is within no bounds.
    if type(least) in (int, float) and not size >= least:
        raise FFIError(f"expected at least {least}{unit} for {where}, found {size}")
    if type(most) in (int, float) and not size <= most:
        raise FFIError(f"expected at most {most}{unit} for {where}, found {size}")


def _choices(field: Mapping[str, Any]) -> list[Any] | None:
    """What a field allows, if it lists that: as `enum`, or as `const` of each of several with titles."""
    if type(field.get("enum")) is list:
        found: list[Any] = field["enum"]
        return found
    for key in ("oneOf", "anyOf"):
        of = field.get(key)
        if type(of) is list and of and all(type(each) is dict and "const" in each for each in of):
            return [each["const"] for each in of]
    return None


def _shown(value: Any) -> str:
    return shortened(repr(value), _SHOWN)
