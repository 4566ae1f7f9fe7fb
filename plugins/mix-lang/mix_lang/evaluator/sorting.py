"""The built-ins that bring arrays into an order, or into groups."""

from __future__ import annotations

from collections.abc import Generator
from functools import cmp_to_key, partial
from itertools import zip_longest
from typing import Any

from mix_lang.evaluator.values import Panic, Slots, kind
from mixkit.value import UNDEF, compare

__all__ = ["groups", "matches", "sort_close", "sort_open", "sort_step", "sorted_array", "sorted_by"]


def _order(name: str, a: Any, b: Any) -> int:
    """Python asks whether what comes later is less than what comes before it."""
    found = compare(a, b)
    if found is UNDEF:
        raise Panic(f"{name}: expected values that compare, found {kind(b)} and {kind(a)}")
    return found  # type: ignore[return-value]


def sorted_array(array: list[Any]) -> list[Any]:
    return sorted(array, key=cmp_to_key(partial(_order, "array_sort")))


def sorted_by(keys: list[Any], array: list[Any]) -> list[Any]:
    if len(keys) != len(array):
        raise Panic(f"array_sort_by: expected as many keys as elements, found {len(keys)} and {len(array)}")
    order = cmp_to_key(partial(_order, "array_sort_by"))
    return [array[index] for index in sorted(range(len(array)), key=lambda index: order(keys[index]))]


def groups(keys: list[Any], array: list[Any], name: str = "map_of_groups") -> dict[str, list[Any]]:
    if len(keys) != len(array):
        raise Panic(f"{name}: expected as many keys as elements, found {len(keys)} and {len(array)}")
    groups: dict[str, list[Any]] = {}
    for key, element in zip(_texts(name, keys), array, strict=True):
        groups.setdefault(key, []).append(element)
    return groups


def matches(keys: list[Any], known: list[Any], array: list[Any]) -> list[list[Any]]:
    name = "array_matches"
    found = groups(known, array, name)
    return [list(found.get(key, ())) for key in _texts(name, keys)]


def _texts(name: str, keys: list[Any]) -> list[str]:
    for index, key in enumerate(keys):
        if type(key) is not str:
            raise Panic(f"{name}: expected a string as key {index}, found {kind(key)}")
    return keys


class _Sort:
    """A sort by a comparison of the program, which is asked for by a generator."""

    def __init__(self, array: list[Any], slots: Slots) -> None:
        self.sorted = array
        self.steps = self._steps(slots)
        next(self.steps)

    def _steps(self, slots: Slots) -> Generator[None, bool, None]:
        yield
        runs = [[item] for item in self.sorted]
        while len(runs) > 1:
            merged = []
            for left, right in zip_longest(runs[::2], runs[1::2], fillvalue=()):
                run: list[Any] = []
                at = other = 0
                while at < len(left) and other < len(right):
                    slots.at[0], slots.at[1] = left[at], right[other]
                    if (yield):
                        run.append(right[other])
                        other += 1
                    else:
                        run.append(left[at])
                        at += 1
                merged.append([*run, *left[at:], *right[other:]])
            runs = merged
        self.sorted = runs[0] if runs else []


def sort_open(array: list[Any]) -> Slots:
    slots = Slots([UNDEF, UNDEF, None])
    slots.at[2] = _Sort(array, slots)
    return slots


def _sort_of(slots: Any) -> _Sort:
    if type(slots) is not Slots or len(slots.at) != 3 or type(slots.at[2]) is not _Sort:
        raise Panic("sort_step: expected what sort_open gives")
    found: _Sort = slots.at[2]
    return found


def sort_step(greater: Any, sort: Any) -> bool:
    """Whether there is a comparison to come."""
    try:
        _sort_of(sort).steps.send(greater is True)
    except StopIteration:
        return False
    return True


def sort_close(sort: Any) -> list[Any]:
    return _sort_of(sort).sorted
