"""The children of a node, for walks that look for something everywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from mix_lang import syntax as s

__all__ = ["children", "every"]

_FIELDS: Final[dict[type, tuple[str, ...]]] = {}


def children(node: Any) -> list[Any]:
    """What a node consists of, in the order of the text; of a tuple its items."""
    if isinstance(node, tuple):
        return list(node)
    if not isinstance(node, s.Node | s.Part):
        return []
    names = _FIELDS.get(type(node))
    if names is None:
        leave_out = ("span", "name_span", "module_span", "meta")
        found = dataclasses.fields(node)
        names = _FIELDS[type(node)] = tuple(field.name for field in found if field.name not in leave_out)
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
