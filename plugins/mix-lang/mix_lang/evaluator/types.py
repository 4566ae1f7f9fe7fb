"""`type(T)` when it runs."""

from __future__ import annotations

from typing import Any

from mix_lang import syntax as s
from mix_lang.evaluator.running import Home
from mix_lang.evaluator.values import kind
from mix_lang.program import Program, Read
from mixkit.value import UNDEF, Case

__all__ = ["conforms"]

_FUNCTIONS = ("function", "stream", "link", "action", "module", "undefined")


def conforms(value: Any, of: s.Type, instance: Home) -> bool:
    """Whether a value is of a type, as far as one can tell from the value. null is of every type of data."""
    return _conforms(value, Read(of, instance.module.name), instance.program)


def _conforms(value: Any, read: Read, program: Program) -> bool:
    def fits(part: Any, of: s.Type) -> bool:
        return _conforms(part, read.part(of), program)

    match read.type:
        case s.TVar():
            meant = program.meant(read)
            return meant is None or _conforms(value, meant, program)
        case s.TName(qualifier="", name=name) if name in _SIMPLE:
            return _SIMPLE[name](value)
        case s.TName(qualifier="", name=("array" | "map" | "stream" | "link") as name):
            return kind(value) == name
        case s.TApply(qualifier="", name="array", args=(item,)):
            return type(value) is list and all(fits(part, item) for part in value)
        case s.TApply(qualifier="", name="map", args=(item,)):
            return type(value) is dict and all(fits(part, item) for part in value.values())
        case s.TApply(qualifier="", name="option", args=(item,)):
            return value is None or (_is_case(value, "some") and fits(value.arg, item))
        case s.TApply(qualifier="", name="result", args=(good, bad)):
            return (_is_case(value, "ok") and fits(value.arg, good)) or (
                _is_case(value, "error") and fits(value.arg, bad)
            )
        case s.TApply(qualifier="", name=("stream" | "link") as name):
            return kind(value) == name
        case s.TName(name=name) | s.TApply(name=name):
            meant = program.meant(read)
            if meant is not None:
                return _conforms(value, meant, program)
            args = read.type.args if isinstance(read.type, s.TApply) else ()
            return _is_case(value, name) and all(fits(value.arg, arg) for arg in args)
        case s.TTuple(items=items):
            return (
                type(value) is list
                and len(value) == len(items)
                and all(fits(part, item) for part, item in zip(value, items, strict=True))
            )
        case s.TLabels(fields=fields):
            return type(value) is dict and all(
                name in value and fits(value[name], item) for name, item in fields
            )
        case s.TRecord(fields=fields):
            return type(value) is dict and all(
                fits(value[name], item) if name in value else optional for name, item, optional in fields
            )
        case s.TUnion(options=options):
            return any(fits(value, option) for option in options)
        case s.TArrow():
            return kind(value) == "function"


def _is_case(value: Any, name: str) -> bool:
    return type(value) is Case and value.name == name


_SIMPLE = {
    "null": lambda value: value is None,
    "bool": lambda value: type(value) is bool,
    "number": lambda value: type(value) in (int, float),
    "string": lambda value: type(value) is str,
    "word": lambda value: type(value) in (str, int, float),
    "data": lambda value: kind(value) not in _FUNCTIONS,
    "any": lambda value: value is not UNDEF,
}
