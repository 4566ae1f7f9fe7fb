"""The children of a node, for walks that look for something everywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final

from mix_lang import syntax as s

_NO_NODES: Final = frozenset(("Span", "str", "bool", "int", "Any", "tuple[str, ...]"))
"""Types of fields in which there are none."""

__all__ = ["children", "every", "mapped"]

_FIELDS: Final[dict[type, tuple[str, ...]]] = {}


def _names(node: Any) -> tuple[str, ...]:
    """The fields of a node that may hold others."""
    names = _FIELDS.get(type(node))
    if names is None:
        found = dataclasses.fields(node)
        names = _FIELDS[type(node)] = tuple(field.name for field in found if field.type not in _NO_NODES)
    return names


def children(node: Any) -> list[Any]:
    """What a node consists of, in the order of the text; of a tuple its items."""
    if isinstance(node, tuple):
        return list(node)
    if not isinstance(node, s.Node | s.Part):
        return []
    names = _names(node)
    values = [getattr(node, name) for name in names]
    return [value for value in values if isinstance(value, tuple | s.Node | s.Part)]


def every(root: Any) -> Iterator[Any]:
    """The node and all below it, outside before inside, in the order of the text."""
    todo = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, s.Node | s.Part):
            yield node
        todo.extend(reversed(children(node)))


def mapped(root: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with each node changed, inside before outside; what nothing was changed in stays the same."""
    if isinstance(root, tuple):
        items = tuple(mapped(item, change) for item in root)
        return items if any(new is not old for new, old in zip(items, root, strict=True)) else root
    if not isinstance(root, s.Node | s.Part):
        return root
    changed = {}
    for name in _names(root):
        old = getattr(root, name)
        new = mapped(old, change)
        if new is not old:
            changed[name] = new
    return change(dataclasses.replace(root, **changed) if changed else root)
