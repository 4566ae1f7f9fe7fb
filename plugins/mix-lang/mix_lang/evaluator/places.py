"""Reading and changing places in values: `r.f`, `m.(k)`, `a[i]`, `t[#0 of 2]`."""

from __future__ import annotations

from typing import Any

from mix_lang.evaluator.values import Panic, describe
from mixkit.value import UNDEF

__all__ = ["get", "put"]


def get(step: str, object_: Any, key: Any) -> Any:
    """What is there. Undefined where there is nothing, and of null and undefined."""
    if object_ is UNDEF or object_ is None or key is UNDEF or key is None:
        return UNDEF
    if step == "tuple":
        index, size = key
        if type(object_) is not list or len(object_) != size:
            raise Panic(f"expected a tuple of {size}, found {_sized(object_)}")
        return object_[index]
    if type(object_) is list and step != "field":
        index = _index(key)
        return object_[index] if 0 <= index < len(object_) else UNDEF
    if type(object_) is dict:
        if type(key) is not str:
            raise Panic(f"the key of a map is a string, found {describe(key)}")
        return object_.get(key, UNDEF)
    if step == "index":
        raise Panic(f"expected an array, found {describe(object_)}")
    raise Panic(f"expected a map with the key '{key}', found {describe(object_)}")


def put(object_: Any, steps: list[tuple[str, Any]], new: Any) -> Any:
    """A copy of a value with a place in it changed. A map gets keys that it lacks, an array does not grow."""
    if not steps:
        return new
    (step, key), *rest = steps
    if key is UNDEF or key is None:
        raise Panic(f"expected a key or index to change, found {describe(key)}")
    if step == "tuple":
        index, size = key
        if type(object_) is not list or len(object_) != size:
            raise Panic(f"expected a tuple of {size}, found {_sized(object_)}")
        return _replaced(object_, index, rest, new)
    if type(object_) is list and step != "field":
        index = _index(key)
        if not 0 <= index < len(object_):
            raise Panic(f"the array of {len(object_)} has no element {index} to change")
        return _replaced(object_, index, rest, new)
    if type(object_) is dict:
        if type(key) is not str:
            raise Panic(f"the key of a map is a string, found {describe(key)}")
        if rest and key not in object_:
            raise Panic(f"the map has no key '{key}' in which to change something")
        return object_ | {key: put(object_.get(key), rest, new)}
    wanted = "an array" if step == "index" else f"a map with the key '{key}'"
    raise Panic(f"expected {wanted} to change, found {describe(object_)}")


def _replaced(array: list[Any], index: int, rest: list[tuple[str, Any]], new: Any) -> list[Any]:
    changed = list(array)
    changed[index] = put(array[index], rest, new)
    return changed


def _index(key: Any) -> int:
    if type(key) is int:
        return key
    if type(key) is float and key.is_integer():
        return int(key)
    raise Panic(f"the index of an array is a whole number, found {describe(key)}")


def _sized(value: Any) -> str:
    return f"an array of {len(value)}" if type(value) is list else describe(value)
