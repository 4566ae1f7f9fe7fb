"""Varcodes: the lengths in front of records.

An unsigned number of at most 64 bits in groups of 7, the least significant first; the high bit of a byte is set
while more follow. 0 is `00`, 127 is `7f`, 128 is `80 01`. Only the shortest form is read, so that one number
has one spelling: the last byte is 0 only for the number 0.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_SIZE", "read", "write"]

MAX_SIZE: Final = 10
"""Bytes of the longest varcode."""

_LIMIT: Final = 1 << 64


def write(number: int) -> bytes:
    """The varcode of a number from 0 to 2^64 - 1. `ValueError` for any other."""
    if not 0 <= number < _LIMIT:
        raise ValueError(f"a varcode holds 0 to 2^64 - 1, found {number}")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read(data: memoryview | bytes, offset: int = 0) -> tuple[int, int]:
    """The number at `offset`, and the offset behind it. `ValueError` if it breaks off, is too long or padded."""
    number = 0
    for index, byte in enumerate(data[offset : offset + MAX_SIZE]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if number >= _LIMIT or (byte == 0 and index):
                raise ValueError("a varcode of more than 64 bits or not in its shortest form")
            return number, offset + index + 1
    raise ValueError("a varcode that does not end")
