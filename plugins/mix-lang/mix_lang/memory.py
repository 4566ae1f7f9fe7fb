"""What the compiler remembers of what it has made, so that a change makes anew only what depends on it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

__all__ = ["remembered"]

T = TypeVar("T")

_MOST: Final = 6 << 20
"""Weight of what is remembered; then all is forgotten."""
_WEIGHT: Final = 1_000
_known: dict[Hashable, Any] = {}
_weight = 0


def remembered(key: Hashable, make: Callable[[], T], weight: int = _WEIGHT) -> T:
    """What was made for that key, or is made now.

    Args:
        key: all that it depends on.
        weight: characters of text that are kept alive by it, about.
    """
    global _weight
    found: T
    try:
        found = _known[key]
    except KeyError:
        found = make()
        _weight += weight
        if _weight > _MOST:
            _known.clear()
            _weight = weight
        _known[key] = found
    return found
