"""The key by which texts are searched and sorted without regard to case and accents.

It is that of Unicode's compatibility decomposition and full case folding, without the accents: "Élan", "élan" and
"ELAN" have one, as have "Straße" and "STRASSE". No language's own rules are in it: "ä" sorts with "a" in Swedish
too, and what Unicode does not decompose, as "ø" and "ł", stays what it is.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from mix_db.query.errors import QueryError

__all__ = ["MAX_FOLDED", "fold"]

MAX_FOLDED: Final = 1 << 20
"""Longest text that is folded, in characters: it may become 18 times as long."""

_ACCENTS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")


def fold(text: str) -> str:
    """The key of a text. Raises `QueryError` for one longer than `MAX_FOLDED`."""
    if len(text) > MAX_FOLDED:
        raise QueryError(
            f"expected texts of at most {MAX_FOLDED} characters without regard to case and accents, found {len(text)}"
        )
    if text.isascii():
        return text.lower()
    # Folding can make letters that come apart again, as the Greek ones with an iota below do.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return _ACCENTS.sub("", folded)
