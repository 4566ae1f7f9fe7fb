"""Whether two texts are the same program."""

from __future__ import annotations

from typing import Any

from mix_lang.diagnostic import Report
from mix_lang.parser import parse
from mix_lang.record import Record
from mix_lang.source import Source, Span
from mix_lang.syntax import TVar

__all__ = ["same"]


def same(one: str, other: str) -> bool:
    """Whether both are read as the same tree, wherever its parts stand; not if one of them is no Mix."""
    left, right = _tree(one), _tree(other)
    return left is not None and right is not None and _alike(left, right)


def _tree(text: str) -> Any:
    source = Source("", text)
    report = Report(source)
    modules = parse(source, "", report)
    return None if report.failed else modules


def _alike(one: Any, other: Any) -> bool:
    todo = [(one, other)]
    while todo:
        left, right = todo.pop()
        kind = type(left)
        if kind is not type(right):
            return False
        if kind is Span or (kind is TVar and left.name[0] == right.name[0] == "_"):
            # Each `_` among types is called after its place.
            continue
        if kind is list or kind is tuple:
            if len(left) != len(right):
                return False
            todo += zip(left, right, strict=True)
        elif kind is dict:
            if list(left) != list(right):
                return False
            todo += zip(left.values(), right.values(), strict=True)
        elif isinstance(left, Record):
            todo += [(getattr(left, name), getattr(right, name)) for name in left.__match_args__]
        # Zero has a sign, and NaN equals nothing.
        elif repr(left) != repr(right):
            return False
    return True
