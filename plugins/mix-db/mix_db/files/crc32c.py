"""CRC-32C (Castagnoli, RFC 3720 section 12.1), reflected, from tables of 16 bits.

Plain Python, because nothing that the plugin depends on computes this polynomial (zlib has another one). It takes
four bytes a step; the package `crc32c` has the same function in C, should this show in a profile.
"""

from __future__ import annotations

from array import array
from struct import unpack_from
from typing import Final

__all__ = ["crc32c"]

_POLYNOMIAL: Final = 0x82F63B78


def _table(width: int, zeros: int) -> array[int]:
    """Remainder of each number of `width` bits with `zeros` bits of zeros behind it."""
    table = array("I", [0])
    for bit in range(width):
        remainder = 1 << bit
        for _ in range(width + zeros):
            remainder = remainder >> 1 ^ (_POLYNOMIAL if remainder & 1 else 0)
        # Remainders are linear: those with this bit are those without it, plus its own.
        table.extend(array("I", [remainder ^ other for other in table]))
    return table


_LOW: Final = _table(16, 16)
_HIGH: Final = _table(16, 0)
_BYTE: Final = _table(8, 0)


def crc32c(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """The checksum of `data`, an int of 32 bits; `value` is that of what comes before it."""
    low, high = _LOW, _HIGH
    words = len(data) >> 2
    value ^= 0xFFFFFFFF
    for word in unpack_from(f"<{words}I", data):
        value ^= word
        value = low[value & 0xFFFF] ^ high[value >> 16]
    for byte in data[words << 2 :]:
        value = _BYTE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
