"""Ids of records: 32 random characters of `[0-9A-Za-z]`."""

from __future__ import annotations

import os
import string
from typing import Final

__all__ = ["LENGTH", "is_well_formed", "new_ids"]

LENGTH: Final = 32

_ALPHABET: Final = (string.digits + string.ascii_uppercase + string.ascii_lowercase).encode()
_FAIR: Final = 256 - 256 % len(_ALPHABET)
_CHARACTERS: Final = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
# Bytes that would make some characters likelier than others.
_UNFAIR: Final = bytes(range(_FAIR, 256))


def is_well_formed(text: str) -> bool:
    """Whether the text could be an id that `new_ids` made."""
    return len(text) == LENGTH and text.isascii() and text.isalnum()


def new_ids(count: int) -> list[str]:
    """Ids that nobody has seen and nobody can guess, 190 bits each."""
    size = count * LENGTH
    text = b""
    while len(text) < size:
        # One byte of thirty is dropped; so one draw nearly always does.
        drawn = os.urandom((size - len(text)) * 17 // 16 + LENGTH)
        text += drawn.translate(_CHARACTERS, _UNFAIR)
    characters = text[:size].decode()
    return [characters[start : start + LENGTH] for start in range(0, size, LENGTH)]
