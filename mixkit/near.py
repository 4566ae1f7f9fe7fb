"""The name that was meant by one that is not known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

__all__ = ["meant", "meant_file"]

_MOST_FILES: Final = 10_000
"""Names of a folder that are looked at."""
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


def meant_file(path: str | os.PathLike[str]) -> str:
    """What a message says after a path that leads nowhere: the near name in the same folder."""
    place = Path(path)
    try:
        with os.scandir(place.parent) as entries:
            known = [entry.name for entry in islice(entries, _MOST_FILES)]
    except (OSError, ValueError):
        # It may be the folder that is misspelt.
        return meant_file(place.parent) if place.parent != place else ""
    near = meant(place.name, (other for other in known if other != place.name))
    return near if str(place.parent) == "." else near.replace("mean '", f"mean '{place.parent / '_'}"[:-1], 1)
