"""The name that was meant by one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["meant"]

_MOST: Final = 80
"""Longest name that is looked at: the search takes longer with each letter, and names come from strangers."""


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
