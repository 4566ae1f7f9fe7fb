"""What the standard library of AssemblyScript imports from its host, in the module `env`."""

from __future__ import annotations

import secrets
import struct
import time
from typing import Final

from mixkit.contracts import FuncType, HostFunction, HostImports, Instance
from mixkit.errors import GuestError

__all__ = ["ASSEMBLYSCRIPT"]

_MAX_TEXT: Final = 1 << 13
"""Bytes of a text that is read."""
_UNSIGNED: Final = 0xFFFFFFFF


def _abort(instance: Instance, message: int, file: int, line: int, column: int) -> None:
    said = _text(instance, message) or "abort"
    where = f" at {_text(instance, file)}:{line & _UNSIGNED}:{column & _UNSIGNED}" if file else ""
    raise GuestError(f"{said}{where}", trap="panic")


def _text(instance: Instance, ptr: int) -> str:
    """A string object: UTF-16, its length in bytes before it; 0 is none."""
    if ptr == 0:
        return ""
    (size,) = struct.unpack("<I", instance.read(ptr - 4, 4))
    return instance.read(ptr, min(size, _MAX_TEXT) & ~1).decode("utf-16-le", "replace")


def _seed(instance: Instance) -> float:
    """From which `Math.random` begins: every bit of it counts, and it is no infinity or NaN."""
    instance.owner.unique = True
    return float(secrets.randbits(53))


def _date_now(instance: Instance) -> float:
    instance.owner.unique = True
    return float(time.time_ns() // 1_000_000)


ASSEMBLYSCRIPT: HostImports = {
    ("env", "abort"): HostFunction(FuncType(("i32", "i32", "i32", "i32"), ()), _abort),
    ("env", "seed"): HostFunction(FuncType((), ("f64",)), _seed),
    ("env", "Date.now"): HostFunction(FuncType((), ("f64",)), _date_now),
}
"""The host functions. The calling instance's `owner` is the `GuestMachine` (`unique`)."""
