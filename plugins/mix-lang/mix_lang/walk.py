"""The children of a node, for walks that look for something everywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final

from mix_lang import syntax as s

__all__ = ["children", "every", "mapped"]

_NO_NODES: Final = frozenset(("Span", "str", "bool", "int", "Any", "tuple[str, ...]"))
"""Types of fields in which there are none."""
# PERF: tuples, since `A | B` makes a type anew at each call.
_NODES: Final = (s.Node, s.Part)
_HOLDING: Final = (tuple, s.Node, s.Part)
_FIELDS: Final[dict[type, tuple[str, ...]]] = {tuple: ()}


def _names(kind: type) -> tuple[str, ...]:
    """The fields of a kind of node that may hold others; none of what is no node."""
    names: tuple[str, ...] = ()
    if issubclass(kind, _NODES):
        found = dataclasses.fields(kind)
        names = tuple(field.name for field in found if field.type not in _NO_NODES)
    _FIELDS[kind] = names
    return names


def children(node: Any) -> list[Any]:
    """What a node consists of, in the order of the text; of a tuple its items."""
    kind = type(node)
    if kind is tuple:
        return list(node)
    names = _FIELDS.get(kind)
    if names is None:
        names = _names(kind)
    return [value for name in names if isinstance(value := getattr(node, name), _HOLDING)]


def every(root: Any) -> Iterator[Any]:
    """The node and all below it, outside before inside, in the order of the text."""
    todo = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, _NODES):
            yield node
        below = children(node)
        below.reverse()
        todo += below


def mapped(root: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with each node changed, inside before outside; what nothing was changed in stays the same."""
    kind = type(root)
    if kind is tuple:
        items = tuple(mapped(item, change) for item in root)
        return items if any(new is not old for new, old in zip(items, root, strict=True)) else root
    names = _FIELDS.get(kind)
    if names is None:
        names = _names(kind)
    if not names and not isinstance(root, _NODES):
        return root
    changed = {}
    for name in names:
        old = getattr(root, name)
        new = mapped(old, change)
        if new is not old:
            changed[name] = new
    return change(dataclasses.replace(root, **changed) if changed else root)
