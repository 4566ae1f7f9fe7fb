"""`poll_oneoff` of WASI preview 1: how runtimes sleep. The standard streams are always ready."""

from __future__ import annotations

import struct
import time
from typing import Any, Final

from mixkit.contracts import Instance

__all__ = ["poll_oneoff"]

SUCCESS, BADF, INVAL = 0, 8, 28
CLOCK, FD_READ, FD_WRITE = 0, 1, 2
_SUBSCRIPTION: Final = struct.Struct("<QBxxxxxxxIxxxxQQHxxxxxx")
"""What it is for, its kind, clock or descriptor, and of a clock: time and precision in nanoseconds, flags."""
_EVENT: Final = struct.Struct("<QHBxxxxxQHxxxxxx")
"""What it is for, error number, kind, bytes that can be read or written, flags."""
_ABSOLUTE: Final = 1
_HANGUP: Final = 1
_MOST: Final = 1024
_ROOM: Final = 1 << 16
_CLOCKS: Final = {0: time.time_ns, 1: time.monotonic_ns}


def poll_oneoff(instance: Instance, subscriptions: int, events: int, count: int, out: int) -> Any:
    """Wait for the first of some clocks, unless a stream is among them; write what has come, and how many.

    A wait ends with the run: at its deadline, or when it is stopped.
    """
    if not 0 < count <= _MOST:
        return INVAL
    asked = list(_SUBSCRIPTION.iter_unpack(instance.read(subscriptions, count * _SUBSCRIPTION.size)))
    waits = [_wait(kind, *of) for _, kind, *of in asked]
    shortest = min(waits)

    def answer() -> int:
        found = [
            _event(purpose, kind, of, instance.owner.waiting)
            for (purpose, kind, of, *_), wait in zip(asked, waits, strict=True)
            if wait <= max(shortest, 0)
        ]
        instance.write(events, b"".join(found))
        instance.write(out, struct.pack("<I", len(found)))
        return SUCCESS

    return instance.owner.sleep(shortest / 1e9, answer) if shortest > 0 else answer()


def _wait(kind: int, of: int, moment: int, precision: int, flags: int) -> int:
    """Nanoseconds until it comes; what is there already, or wrong, does not wait."""
    if kind != CLOCK or of not in _CLOCKS:
        return 0
    return moment - _CLOCKS[of]() if flags & _ABSOLUTE else moment


def _event(purpose: int, kind: int, of: int, waiting: int) -> bytes:
    error, size, flags = SUCCESS, 0, 0
    if kind == CLOCK:
        error = SUCCESS if of in _CLOCKS else INVAL
    elif kind == FD_READ:
        size = waiting if of == 0 else 0
        error, flags = (SUCCESS if of == 0 else BADF), (0 if size else _HANGUP)
    elif kind == FD_WRITE:
        error, size = (SUCCESS if of in (1, 2) else BADF), _ROOM
    else:
        error = INVAL
    return _EVENT.pack(purpose, error, kind, size, flags)
