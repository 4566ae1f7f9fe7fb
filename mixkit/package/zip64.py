"""What a zip has beside its headers where their numbers lack the bits for what they say (APPNOTE.TXT 4.3.14, 4.5.3).

Read for exports alone, and as narrowly as all else: what says a number twice must say the same, and no number is there
that its header does not send for.

    end      PK\\6\\6 size(8)=44 made-by version disk(4) first-disk(4) entries-here(8) entries(8) central-size(8)
             central-offset(8)
    locator  PK\\6\\7 disk(4) offset-of-end(8) disks(4); right before the end record of the zip
    extra    0x0001 size; the numbers (8) for which the header has 0xFFFFFFFF, in the order size packed offset
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from mixkit.errors import PackageError

__all__ = ["FULL", "end_before", "numbers_for", "without"]

FULL: Final = 0xFFFFFFFF
"""What a header has where the number stands in the extra field."""

_KIND: Final = 0x0001
_END: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR: Final = struct.Struct("<4sIQI")
_MAGIC_END, _MAGIC_LOCATOR = b"PK\6\6", b"PK\6\7"
assert (_END.size, _LOCATOR.size) == (56, 20)


def end_before(data: memoryview, at: int) -> tuple[int, int, int, int] | None:
    """Number of entries, size and start of the central directory, and where this record begins; None if there is none
    before the end record at `at`.

    Raises:
        PackageError: it is not as it must be.
    """
    locator = at - _LOCATOR.size
    if locator < 0 or data[locator : locator + 4] != _MAGIC_LOCATOR:
        return None
    _, disk, start, disks = _LOCATOR.unpack_from(data, locator)
    if (disk, disks) != (0, 1) or start + _END.size != locator:
        raise PackageError("the zip64 locator does not lead to the record before it")
    magic, size, _, _, disk, first, here, count, central, offset = _END.unpack_from(data, start)
    if magic != _MAGIC_END or size != _END.size - 12 or (disk, first, here) != (0, 0, count):
        raise PackageError("the zip64 end record is damaged, or speaks of several disks")
    return count, central, offset, start


def numbers_for(extra: bytes, wanted: Sequence[bool], name: str) -> list[int | None]:
    """The numbers that an extra field has for those of a header that are `FULL`; None for the others.

    Raises:
        PackageError: there are others, or too few.
    """
    found = _field(extra)
    expected = 8 * sum(wanted)
    if (found is None) is not (expected == 0) or len(found or b"") != expected:
        raise PackageError(
            "the extra field for zip64 does not have just the numbers that its header lacks", name
        )
    numbers = iter(struct.unpack(f"<{expected // 8}Q", found or b""))
    return [next(numbers) if each else None for each in wanted]


def without(extra: bytes) -> bytes:
    """The extra fields but the first for zip64."""
    start, stop = _place(extra)
    return extra[:start] + extra[stop:]


def _field(extra: bytes) -> bytes | None:
    """What the first extra field for zip64 has; None if there is none, or one that is cut off."""
    start, stop = _place(extra)
    return extra[start + 4 : stop] if start < stop <= len(extra) else None


def _place(extra: bytes) -> tuple[int, int]:
    """Where the first extra field for zip64 begins and ends; nowhere, if there is none."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == _KIND:
            return at, at + 4 + size
        at += 4 + size
    return len(extra), len(extra)
