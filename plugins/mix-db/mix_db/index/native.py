"""The twins in C of the loops of the segments that cost most, where the extension was built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

__all__ = ["Native", "native"]


class Native(Protocol):
    """`mix_db._native`: what `pack_python`, `unite_python`, `bisect_left` and `SegmentColumn.lookup` say,
    faster."""

    pack: Callable[[Any, Any, Any, int, int], None]
    unite: Callable[[Any, Any, int], bool]
    seek: Callable[[memoryview, int], int]
    find: Callable[[memoryview, memoryview, bytearray, int, int, int, bytes], int]


def _load() -> Native | None:
    try:
        from mix_db import _native
    except ImportError:
        return None
    return cast(Native, _native)


native = _load()
