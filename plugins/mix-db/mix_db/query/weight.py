"""How large rows are, as far as it matters for keeping many of them in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mixkit.value import Case, Ref

__all__ = ["weigh", "weigh_python"]

_EACH: Final = 16
_DEEPEST: Final = 600


def weigh_python(value: object, most: int) -> int:
    """About how many bytes a value takes: the texts and binaries in it, and a little for each part.

    Counting stops soon after `most`. `mix_db._version.weigh` is the twin in C.
    """
    size = 0
    todo: list[tuple[object, int]] = [(value, 0)]
    while todo:
        part, depth = todo.pop()
        size += _EACH
        if isinstance(part, str | bytes):
            size += len(part)
        if size > most:
            break
        if depth >= _DEEPEST:
            continue
        match part:
            case dict():
                todo += [(each, depth + 1) for item in part.items() for each in item]
            case list():
                todo += [(each, depth + 1) for each in part]
            case Ref(id=inner) | Case(arg=inner):
                todo.append((inner, depth + 1))
    return size


def _weigher() -> Callable[[object, int], int]:
    try:
        from mix_db._version import weigh
    except ImportError:
        return weigh_python
    return weigh


weigh: Final = _weigher()
"""About how many bytes a value takes."""
