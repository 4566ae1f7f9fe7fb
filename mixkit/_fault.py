"""Faults in nested values: the path to one is built only when there is one.

A function that walks a value raises `Fault(message)`; each container on the way up adds its step; the public
function on top turns it into the error that it documents.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["Blemish", "Fault", "step", "unique"]

_SHOWN = 80
"""Longest key that a path shows in full; keys come from strangers."""

_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*", re.ASCII)


class Fault(Exception):
    """Why a value is refused, and, once it has travelled up, the steps to it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self._steps: list[str | int] = []

    def inside(self, step: str | int) -> Fault:
        """Note that the fault lies inside this key or index of the container that passes it on."""
        self._steps.append(step)
        return self

    def path(self, root: str = "$") -> str:
        """The path to the fault, as `$.items[3].when`."""
        return root + "".join(map(step, reversed(self._steps)))


class Blemish:
    """Stands in a parsed tree for something that a parser's hook must refuse without knowing where it is.

    It is not a Value, so whoever checks the tree finds it, and then knows its path.
    """

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        self.message = message


def step(key: str | int) -> str:
    """One step of a path: `[3]`, `.when`, or `["odd key"]`, shortened where the key is long."""
    if isinstance(key, int):
        return f"[{key}]"
    if len(key) > _SHOWN:
        key = key[:_SHOWN] + "…"
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{json.dumps(key)}]"


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Blemish:
    """What an `object_pairs_hook` answers: the dict of the pairs, or a Blemish if a key occurs twice."""
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            break
        seen.add(key)
    return Blemish(f"expected each key of an object once, found {key[:80]!r} twice")
