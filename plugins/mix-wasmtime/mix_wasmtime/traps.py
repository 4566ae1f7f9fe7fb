"""What Wasmtime's trap codes are called in `GuestError.trap`."""

from __future__ import annotations

from typing import Final

from mixkit.errors import GuestError
from mixkit.vm.demangle import demangled

__all__ = ["TRAPS", "trap_error"]

TRAPS: Final = (
    "stack_overflow",
    "memory_out_of_bounds",
    "heap_misaligned",
    "table_out_of_bounds",
    "indirect_call_to_null",
    "bad_signature",
    "integer_overflow",
    "integer_division_by_zero",
    "bad_conversion_to_integer",
    "unreachable",
    "interrupt",
    "out_of_fuel",
    "atomic_wait_non_shared_memory",
    "null_reference",
    "array_out_of_bounds",
    "allocation_too_large",
    "cast_failure",
)
"""In the order of `wasmtime_trap_code_enum`. Later codes belong to components, which do not run here."""

_FRAMES: Final = 32

Frame = tuple[int, str | None, int]
"""Function index, its name if the module has one, and the offset of the instruction in the code, in bytes."""


def trap_error(code: int | None, message: str, frames: list[Frame]) -> GuestError:
    """The error for a trap, or for a failure without a code. Frames stand innermost first."""
    trap = TRAPS[code] if code is not None and code < len(TRAPS) else None
    # Wasmtime's text goes on with its own rendering of the backtrace.
    reason = message.split("wasm trap: ")[-1].split("\n", 1)[0] or "trap"
    if trap is None and "thrown Wasm exception" in message:
        trap, reason = "exception", "an exception that nothing caught"
    backtrace = [
        f"{demangled(name) if name else f'function {index}'} at {offset:#x}"
        for index, name, offset in frames[:_FRAMES]
    ]
    if len(frames) > _FRAMES:
        backtrace.append(f"… {len(frames) - _FRAMES} more")
    where = f", in {backtrace[0]}" if backtrace else ""
    return GuestError(f"the guest trapped: {reason}{where}", trap=trap, backtrace=backtrace)
