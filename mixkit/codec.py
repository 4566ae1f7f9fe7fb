"""The u32 codec: the binary form in which values cross the border to a guest.

The format is in docs/values.md. `mixkit._codec` (C) and `mixkit._codec_py` (the reference, in Python) do the
same with the same errors; this module exports the C one, or the reference where the extension was not built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["count", "decode", "encode", "implementation", "scan"]

implementation: str
"""Which one this is: `"C"` or `"Python"`."""

if TYPE_CHECKING:
    from mixkit._codec_py import count, decode, encode, scan
else:
    try:
        from mixkit._codec import count, decode, encode, scan

        implementation = "C"
    except ModuleNotFoundError:
        from mixkit._codec_py import count, decode, encode, scan

        implementation = "Python"
