"""Reading and changing places in values: `r.f`, `m.(k)`, `a[i]`, `t[#0 of 2]`."""

from __future__ import annotations

from typing import Any

from mix_lang.evaluator.operators import number_text
from mix_lang.evaluator.values import Panic, kind
from mixkit.value import UNDEF

__all__ = ["get", "put"]


def get(step: str, object_: Any, key: Any) -> Any:
    """What is there. Undefined where there is nothing, and of null and undefined."""
    if object_ is UNDEF or object_ is None or key is UNDEF or key is None:
        return UNDEF
    if step == "tuple":
        index, size = key
        if type(object_) is not list or len(object_) != size:
            raise Panic(f"expected a tuple of {size}, found {kind(object_)}")
        return object_[index]
    if step == "field":
        if type(object_) is not dict:
            raise Panic(f".{key}: expected a map, found {kind(object_)}")
        return object_.get(key, UNDEF)
    if type(object_) is list and type(key) in (int, float):
        index = _index(key)
        return object_[index] if 0 <= index < len(object_) else UNDEF
    if type(object_) is dict and type(key) is str:
        return object_.get(key, UNDEF)
    if step == "constant":
        raise Panic(f"[{key}]: expected an array, found {kind(object_)}")
    raise Panic(
        f"access: expected an array and a number, or a map and a string, found {kind(object_)} and {kind(key)}"
    )


def put(object_: Any, steps: list[tuple[str, Any]], new: Any) -> Any:
    """A copy of a value with a place in it changed. A map gets keys that it lacks, an array does not grow."""
    if not steps:
        return new
    (step, key), *rest = steps
    inner = get(step, object_, key) if rest else UNDEF
    if step == "tuple":
        index, size = key
        if type(object_) is not list or len(object_) != size:
            raise Panic(f"expected a tuple of {size}, found {kind(object_)}")
        return _replaced(object_, index, put(inner, rest, new))
    changed = put(inner, rest, new)
    if type(object_) is dict and type(key) is str:
        return object_ | {key: changed}
    if type(object_) is list and type(key) in (int, float) and step != "field":
        index = _index(key)
        if not 0 <= index < len(object_):
            raise Panic(f"expected an index below the length, {len(object_)}, found {number_text(key)}")
        return _replaced(object_, index, changed)
    raise Panic(
        f"update: expected an array and a number, or a map and a string, found {kind(object_)} and {kind(key)}"
    )


def _replaced(array: list[Any], index: int, item: Any) -> list[Any]:
    return [*array[:index], item, *array[index + 1 :]]


def _index(key: Any) -> int:
    """The index that a number is; -1 if it is none."""
    return int(key) if type(key) is int or key.is_integer() else -1
