"""Which alternatives before one may cover it: those that begin as it does, and those that fit much.

To compare each with all before it would take the square of their number, and tables of thousands are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Final, TypeAlias

from mix_lang import syntax as s

__all__ = ["Earlier"]

_MOST: Final = 200_000
"""Pairs of one list that are looked at: what comes behind may be unreachable unnoticed."""
Head: TypeAlias = tuple[object, ...]


class Earlier:
    """The alternatives so far, `all` of them and found by how their first patterns begin."""

    def __init__(self) -> None:
        self.all: list[s.Clause] = []
        self._left = _MOST
        self._headed: dict[Head, list[tuple[int, s.Clause]]] = {}
        self._any: list[tuple[int, s.Clause]] = []

    def add(self, clause: s.Clause) -> None:
        """One more, without a guard."""
        heads = _heads(clause.patterns[0]) if clause.patterns else None
        self.all.append(clause)
        if heads is None:
            self._any.append((len(self.all), clause))
        for head in heads or ():
            self._headed.setdefault(head, []).append((len(self.all), clause))

    def candidates(self, clause: s.Clause) -> Iterator[s.Clause]:
        """Those that may cover it, first ones first."""
        heads = _heads(clause.patterns[0]) if clause.patterns else set()
        if heads is None:
            # What fits much is covered by what fits much, or takes several heads apart.
            heads = set(_inside(clause.patterns[0]))
        lists = [self._any, *(self._headed[head] for head in heads if head in self._headed)]
        for _, other in islice(merge(*lists, key=lambda item: item[0]), self._left):
            self._left -= 1
            yield other


def _heads(pattern: s.Pattern) -> set[Head] | None:
    """How all begins that a pattern matches; None if that may be anything."""
    match pattern:
        case s.PAt(pattern=inner):
            return _heads(inner)
        case s.PConst(value=value):
            return {("const", type(value), value)}
        case s.PCase(name=name):
            return {("case", name)}
        case s.PArray(slots=slots):
            return {("array", len(slots))}
        case s.PMap():
            return {("map",)}
        case s.PAll(op="or", parts=parts):
            found = [_heads(part) for part in parts]
            return None if None in found else set().union(*(heads for heads in found if heads is not None))
    return None


def _inside(pattern: s.Pattern) -> Iterator[Head]:
    """Heads of what stands in a pattern, where one is enough."""
    if isinstance(pattern, s.PAll):
        for part in pattern.parts:
            yield from _heads(part) or _inside(part)
    elif isinstance(pattern, s.PAt):
        yield from _inside(pattern.pattern)
