"""What a message says after a name that is not known, where that is certain enough."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from mixkit.near import meant

__all__ = ["counted", "near", "with_article"]


def near(name: str, known: Iterable[str]) -> str:
    """`did you mean 'length'?`, or nothing. Names of about the same length are looked at, and not more than 300."""
    like = (other for other in known if abs(len(other) - len(name)) <= 3 and not other.startswith("$"))
    return meant(name, islice(like, 300), 0.7).removeprefix("; ")


def counted(count: int, word: str) -> str:
    """`no arguments`, `1 argument`, `2 arguments`."""
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


def with_article(word: str) -> str:
    """`a def`, `an import`."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
