"""The name that was meant by one that is not known."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["meant", "meant_field"]

_MOST: Final = 80
"""Longest name that is looked at: the search takes longer with each letter, and names come from strangers."""
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `([^`]*)`")


def meant(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """What a message says after a name that is not known: `; did you mean 'timeout'?`, or nothing if none is near.

    Args:
        least: how like it a near name is, from 0 to 1.
    """
    if len(name) > _MOST:
        return ""
    from difflib import get_close_matches

    folded: dict[str, str] = {}
    for other in known:
        if len(other) <= _MOST:
            folded.setdefault(other.casefold(), other)
    found = get_close_matches(name.casefold(), folded, 1, least)
    return f"; did you mean {folded[found[0]]!r}?" if found else ""


def meant_field(message: object, type: Any) -> str:
    """The same after what msgspec says of a field that no struct inside of `type` has; nothing after other messages."""
    found = _UNKNOWN_FIELD.search(str(message))
    return meant(found[1], _fields(type)) if found else ""


@functools.cache
def _fields(type: Any) -> frozenset[str]:
    """Names of the fields of all structs inside of a type, as documents spell them."""
    from msgspec import inspect

    names: set[str] = set()

    def walk(info: Any) -> None:
        if isinstance(info, inspect.StructType):
            for field in info.fields:
                names.add(field.encode_name)
                walk(field.type)
            return
        for part in ("key_type", "value_type", "item_type"):
            if hasattr(info, part):
                walk(getattr(info, part))
        for option in getattr(info, "types", ()):
            walk(option)

    walk(inspect.type_info(type))
    return frozenset(names)
