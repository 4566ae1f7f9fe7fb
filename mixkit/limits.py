"""Limits of a run, on by default, and the budget that a run spends from them.

One `Budget` is made for a run and shared by everything that the run starts, nested agent calls included.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from mixkit.codec import count
from mixkit.errors import FFIError, LimitExceeded

__all__ = ["UNITS", "Budget", "Limits", "Purse", "purse"]

KIB = 1024
MIB = 1024 * KIB

Positive = Annotated[int, Meta(ge=0)]
Words: TypeAlias = "bytes | bytearray | memoryview"
Purse: TypeAlias = "array[int]"
"""What instances take their memory from, which may run at the same time: the bytes left, and 1 once any were refused.

Two signed numbers of 64 bits in the order of the machine. Engines change them with atomic additions.
"""


def purse(size: int) -> Purse:
    """A purse with so many bytes."""
    full = _PURSES.get(size)
    if full is None:
        full = array("q", (size, 0))
        if len(_PURSES) < _SIZES:
            _PURSES[size] = full
    return full[:]


_PURSES: dict[int, Purse] = {}
_SIZES: Final = 100
# PERF: each run has one, and a copy is made in half the time.


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one run may use. Set in a profile's `[limits]`, by `MIXKIT_LIMITS_<KEY>`, or per run."""

    wall_time: Annotated[float, Meta(gt=0, description="Seconds from start to result; host calls count.")] = (
        60.0
    )
    memory: Annotated[
        int,
        Meta(
            ge=64 * KIB,
            description="Bytes over all linear memories of the run, nested agents included; what the host keeps for it "
            "(queued actions, large arguments of FFIs under way) has as much again.",
        ),
    ] = 256 * MIB
    stack: Annotated[int, Meta(ge=16 * KIB, le=4 * MIB, description="Bytes of guest call stack.")] = 1 * MIB
    table: Annotated[Positive, Meta(description="Elements over all tables of an instance.")] = 100_000
    host_calls: Annotated[Positive, Meta(description="FFI calls.")] = 100_000
    handles: Annotated[Positive, Meta(description="Host objects held at once.")] = 1_000
    params_size: Annotated[Positive, Meta(description="Bytes of encoded parameters.")] = 16 * MIB
    result_size: Annotated[Positive, Meta(description="Bytes of the encoded result.")] = 16 * MIB
    call_size: Annotated[
        Positive, Meta(description="Bytes of one FFI call's encoded arguments or answer.")
    ] = 32 * MIB
    values: Annotated[
        Positive, Meta(description="Values, keys included, in the parameters or the result.")
    ] = 250_000
    call_values: Annotated[
        Positive, Meta(description="Values, keys included, in one FFI call's arguments or answer.")
    ] = 100_000
    log_size: Annotated[
        Positive, Meta(description="Bytes of log output; each line counts 64 more than it has.")
    ] = MIB
    actions: Annotated[Positive, Meta(description="Actions queued over the run.")] = 1_000
    outgoing_bytes: Annotated[Positive, Meta(description="Bytes sent to and received from the network.")] = (
        256 * MIB
    )
    lookups: Annotated[Positive, Meta(description="Different host names that are looked up.")] = 256
    database_rows: Annotated[Positive, Meta(description="Database rows read and written.")] = 1_000_000
    database_bytes: Annotated[
        Positive, Meta(description="Bytes of the versions of records that are stored, deletions included.")
    ] = 128 * MIB
    depth: Annotated[Positive, Meta(description="Nested agent calls.")] = 16
    file_bytes: Annotated[Positive, Meta(description="Bytes of files that are read, written and copied.")] = (
        4096 * MIB
    )

    def narrowed(self, other: Limits) -> Limits:
        """The smaller of both, key by key: what a package asks for never raises what the profile allows."""
        return Limits(
            **{name: min(getattr(self, name), getattr(other, name)) for name in self.__struct_fields__}
        )


UNITS = {
    "wall_time": "s",
    "memory": "bytes",
    "stack": "bytes",
    "table": "elements",
    "host_calls": "calls",
    "handles": "handles",
    "params_size": "bytes",
    "result_size": "bytes",
    "call_size": "bytes",
    "values": "values",
    "call_values": "values",
    "log_size": "bytes",
    "actions": "actions",
    "outgoing_bytes": "bytes",
    "lookups": "names",
    "database_rows": "rows",
    "database_bytes": "bytes",
    "depth": "calls",
    "file_bytes": "bytes",
}
"""Unit of each limit, for messages and the reference."""


class Budget:
    """What a run has left. Thread-safe, because host calls of one run may overlap.

    Attributes:
        limits: the limits that this budget was made from.
        deadline: `time.monotonic()` at which the run must have ended; by default `wall_time` from now.
        purse: what all instances of the run take their memory from, those of nested runs included.
        pauses: called on the event loop, with True when the run or a nested one begins to wait there, which holds no
            thread, and with False when it goes on; None for nobody.
        turn: `time.monotonic()` at which the turn on the event loop ends that is being taken; 0.0 between two.
    """

    __slots__ = ("_lock", "_names", "_spent", "deadline", "limits", "pauses", "purse", "turn")

    def __init__(self, limits: Limits, deadline: float | None = None) -> None:
        self.limits = limits
        self.deadline = time.monotonic() + limits.wall_time if deadline is None else deadline
        self.purse = purse(limits.memory)
        self.pauses: Callable[[bool], None] | None = None
        self.turn = 0.0
        self._spent: dict[str, int] = {}
        self._names: set[str] | None = None
        self._lock = threading.Lock()

    def spend(self, limit: str, amount: int = 1) -> None:
        """Count `amount` against the limit.

        Raises:
            LimitExceeded: the limit is used up; the amount is not counted then.
            ValueError: a negative amount, which would raise the limit.
        """
        if amount < 0:
            raise ValueError(f"an amount of {limit} is not negative, found {amount}")
        with self._lock:
            spent = self._spent.get(limit, 0) + amount
            if spent > getattr(self.limits, limit):
                raise self.exceeded(limit)
            self._spent[limit] = spent

    def check_left(self, limit: str, amount: int = 1) -> None:
        """Raise `LimitExceeded` when `amount` more would be too much. Nothing is counted; see `note`."""
        if self._spent.get(limit, 0) + amount > getattr(self.limits, limit):
            raise self.exceeded(limit)

    def look_up(self, name: str) -> None:
        """Count a host name before it is looked up, once however often. Raises `LimitExceeded` for one too many."""
        with self._lock:
            if self._names is None:
                self._names = set()
            if name not in self._names:
                if len(self._names) >= self.limits.lookups:
                    raise self.exceeded("lookups")
                self._names.add(name)

    def note(self, limit: str, amount: int) -> None:
        """Count what has been used already, if need be beyond the limit: nothing more is to be had then."""
        with self._lock:
            self._spent[limit] = self._spent.get(limit, 0) + amount

    def release(self, limit: str, amount: int = 1) -> None:
        """Give back what `spend` took, for limits on what is held at once (`handles`, `depth`)."""
        with self._lock:
            self._spent[limit] = max(0, self._spent.get(limit, 0) - amount)

    def spent(self, limit: str) -> int:
        """How much of the limit has been used so far."""
        return self._spent.get(limit, 0)

    def check_size(self, limit: str, size: int) -> None:
        """Raise `LimitExceeded` when one thing of `size` bytes is larger than the limit allows."""
        if size > getattr(self.limits, limit):
            raise self.exceeded(limit, f"{size} bytes")

    def check_values(self, words: Words, limit: str = "values") -> None:
        """Raise `LimitExceeded` when codec words hold more values than allowed: each takes memory of its own, and time.

        To be called before they are decoded.
        """
        most: int = getattr(self.limits, limit)
        if len(words) > 4 * most and (found := count(words)) > most:
            raise self.exceeded(limit, f"{found} values")

    def spend_call(self, words: Words) -> None:
        """Count one FFI call with the codec words of its arguments. Raises `LimitExceeded` as `spend`, `check_call`."""
        with self._lock:
            calls = self._spent.get("host_calls", 0) + 1
            if calls > self.limits.host_calls:
                raise self.exceeded("host_calls")
            self._spent["host_calls"] = calls
        self.check_call(words)

    def check_call(self, words: Words) -> None:
        """Raise `LimitExceeded` when the arguments or the answer of a call are larger, or more, than allowed."""
        size, limits = len(words), self.limits
        if size > limits.call_size:
            raise self.exceeded("call_size", f"{size} bytes")
        # PERF: what is so small cannot be too many.
        if size > 4 * limits.call_values:
            self.check_values(words, "call_values")

    def remaining(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.deadline - time.monotonic())

    def wait(self, timeout_ms: float | None) -> float:
        """Seconds that a call may wait which asks for so many milliseconds, or for all that there are.

        Raises:
            FFIError: it asks for a negative time, or for none that is a number.
        """
        if timeout_ms is None:
            return self.remaining()
        if not timeout_ms >= 0:
            raise FFIError(f"expected milliseconds from 0 on, found {timeout_ms}")
        return min(self.remaining(), timeout_ms / 1000)

    def check_time(self) -> None:
        """Raise `LimitExceeded` when the deadline has passed."""
        if time.monotonic() >= self.deadline:
            raise self.exceeded("wall_time")

    def exceeded(self, limit: str, detail: str = "") -> LimitExceeded:
        """The error that names the limit, its value and the setting that raises it."""
        return LimitExceeded(limit, getattr(self.limits, limit), UNITS[limit], detail)
