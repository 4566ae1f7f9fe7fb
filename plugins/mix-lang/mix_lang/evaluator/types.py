"""`type(T)` when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mix_lang import syntax as s
from mix_lang.evaluator.values import kind
from mixkit.value import UNDEF, Case

if TYPE_CHECKING:
    from mix_lang.evaluator.instance import Instance

__all__ = ["conforms"]

_FUNCTIONS = ("function", "stream", "link", "action", "module", "undefined")


def conforms(value: Any, of: s.Type, instance: Instance) -> bool:
    """Whether a value is of a type, as far as one can tell from the value. null is of every type of data."""
    match of:
        case s.TVar():
            return True
        case s.TName(qualifier="", name=name) if name in _SIMPLE:
            return _SIMPLE[name](value)
        case s.TName(qualifier="", name=("array" | "map" | "stream" | "link") as name):
            return kind(value) == name
        case s.TName(qualifier=qualifier, name=name):
            named = instance.program.type_of(instance.module.name, qualifier, name)
            return conforms(value, named, instance) if named else type(value) is Case and value.name == name
        case s.TApply(name="array", args=(item,)):
            return type(value) is list and all(conforms(part, item, instance) for part in value)
        case s.TApply(name="map", args=(item,)):
            return type(value) is dict and all(conforms(part, item, instance) for part in value.values())
        case s.TApply(name="option", args=(item,)):
            return value is None or _case(value, "some", item, instance)
        case s.TApply(name="result", args=(good, bad)):
            return _case(value, "ok", good, instance) or _case(value, "error", bad, instance)
        case s.TApply(name=("stream" | "link") as name):
            return kind(value) == name
        case s.TApply(name=name, args=(item,)):
            return _case(value, name, item, instance)
        case s.TTuple(items=items):
            return (
                type(value) is list
                and len(value) == len(items)
                and all(conforms(part, item, instance) for part, item in zip(value, items, strict=True))
            )
        case s.TLabels(fields=fields):
            return type(value) is dict and all(
                name in value and conforms(value[name], item, instance) for name, item in fields
            )
        case s.TRecord(fields=fields):
            return type(value) is dict and all(
                conforms(value[name], item, instance) if name in value else optional
                for name, item, optional in fields
            )
        case s.TUnion(options=options):
            return any(conforms(value, option, instance) for option in options)
        case s.TArrow():
            return kind(value) == "function"
    return False


def _case(value: Any, name: str, of: s.Type, instance: Instance) -> bool:
    return type(value) is Case and value.name == name and conforms(value.arg, of, instance)


_SIMPLE = {
    "null": lambda value: value is None,
    "bool": lambda value: type(value) is bool,
    "number": lambda value: type(value) in (int, float),
    "string": lambda value: type(value) is str,
    "word": lambda value: type(value) in (str, int, float),
    "data": lambda value: kind(value) not in _FUNCTIONS,
    "any": lambda value: value is not UNDEF,
}
