"""What `foreign def … = "%name"` may name: built-ins of the machine, and instructions that are called like them."""

from __future__ import annotations

from typing import Final

from mix_rt.opcodes import BUILTINS

__all__ = ["MOST_SLOTS", "NAMES", "NUMBERED", "params_of"]

_INSTRUCTIONS: Final = {
    "length": 1, "raise": 1, "raise_again": 1, "argument": 1, "hold": 0, "unhold": 0, "cancel": 1, "yield": 0,
    "park": 0, "current": 0, "wake": 2, "stop": 1, "spawn": 1, "stream_next": 1, "stream_of": 1,
}  # fmt: skip
NUMBERED: Final = {"slots": 0, "slot": 1, "set_slot": 2}
"""Those that have a number behind their name: how many slots an object has, or which one is meant."""
MOST_SLOTS: Final = 65_535

NAMES: Final = (*BUILTINS, *_INSTRUCTIONS, *NUMBERED)


def params_of(ffi: str) -> int | None:
    """How many arguments `%name` or `%name number` takes; None if there is no such built-in."""
    name, space, number = ffi.removeprefix("%").partition(" ")
    if name in NUMBERED:
        fits = number.isdecimal() and number.isascii() and len(number) <= 5 and int(number) <= MOST_SLOTS
        return NUMBERED[name] if fits else None
    if space:
        return None
    return len(BUILTINS[name].split()) if name in BUILTINS else _INSTRUCTIONS.get(name)
