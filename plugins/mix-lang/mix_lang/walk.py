"""The children of a node, for walks that look for something everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.record import changed

__all__ = ["children", "every", "mapped"]

_NO_NODES: Final = frozenset(("Span", "str", "bool", "int", "Any", "tuple[str, ...]"))
"""Types of fields in which there are none."""
# PERF: tuples, since `A | B` makes a type anew at each call.
_NODES: Final = (s.Node, s.Part)
_HOLDING: Final = (tuple, s.Node, s.Part)
_FIELDS: Final[dict[type, tuple[str, ...]]] = {tuple: ()}
_PARTS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {tuple: tuple}
"""What answers the values of these fields, of kinds of nodes; of tuples their items."""


def _names(kind: type) -> tuple[str, ...]:
    """The fields of a kind of node that may hold others; none of what is no node."""
    names: tuple[str, ...] = ()
    if issubclass(kind, _NODES):
        types = {
            name: text for of in kind.__mro__ for name, text in vars(of).get("__annotations__", {}).items()
        }
        names = tuple(name for name in kind.__match_args__ if types[name] not in _NO_NODES)
    _FIELDS[kind] = names
    return names


def _parts(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    names = _names(kind)
    found = attrgetter(*names) if names else _nothing
    _PARTS[kind] = found if len(names) != 1 else lambda node: (found(node),)
    return _PARTS[kind]


def _nothing(_: Any) -> tuple[Any, ...]:
    return ()


def children(node: Any) -> list[Any]:
    """What a node consists of, in the order of the text; of a tuple its items."""
    kind = type(node)
    if kind is tuple:
        return list(node)
    values = (_PARTS.get(kind) or _parts(kind))(node)
    return [value for value in values if isinstance(value, _HOLDING)]


def every(root: Any) -> Iterator[Any]:
    """The node and all below it, outside before inside, in the order of the text."""
    todo = [root]
    while todo:
        node = todo.pop()
        kind = type(node)
        parts = _PARTS.get(kind) or _parts(kind)
        if parts is _nothing:
            if isinstance(node, _NODES):
                yield node
            continue
        if kind is not tuple:
            yield node
        todo += parts(node)[::-1]


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
    other = {}
    for name in names:
        old = getattr(root, name)
        new = mapped(old, change)
        if new is not old:
            other[name] = new
    return change(changed(root, **other) if other else root)
