"""What the traps of `mix_module.h` are called in `GuestError.trap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mixkit.errors import GuestError

__all__ = ["trap_error"]

_TRAPS: Final = {
    2: ("memory_out_of_bounds", "out of bounds memory access"),
    3: ("table_out_of_bounds", "undefined element: out of bounds table access"),
    4: ("indirect_call_to_null", "uninitialized element"),
    5: ("bad_signature", "indirect call type mismatch"),
    6: ("integer_overflow", "integer overflow"),
    7: ("integer_division_by_zero", "integer divide by zero"),
    8: ("bad_conversion_to_integer", "invalid conversion to integer"),
    9: ("unreachable", "wasm `unreachable` instruction executed"),
    10: ("interrupt", "interrupted from outside"),
    11: ("null_reference", "null reference"),
    12: ("no_room", "the system has no more memory"),
}
"""By the numbers of `mix_module.h`; 1 is the stack, which is a limit."""


def trap_error(what: int, names: Callable[[int], str] | None, frames: list[int], more: int) -> GuestError:
    """The error for a trap. Frames are function indexes, innermost first; `more` are not told."""
    trap, reason = _TRAPS[what]
    named = (names(index) if names else f"function {index}" for index in frames)
    backtrace = [name for name in named if name]
    if more:
        backtrace.append(f"… {more} more")
    where = f", in {backtrace[0]}" if backtrace else ""
    return GuestError(f"the guest trapped: {reason}{where}", trap=trap, backtrace=backtrace)
