"""What the loop sees of running code: states, events, and the contract of a machine.

A machine is stepped until there is something to say. A Wasm guest on an engine that cannot suspend it blocks the
thread that steps it instead, and asks its `Host`.
"""

from __future__ import annotations

import enum
from typing import Protocol, TypeAlias

import msgspec

from mixkit.errors import InternalError
from mixkit.octets import Answer

__all__ = [
    "TERMINAL",
    "TRANSITIONS",
    "Event",
    "Exit",
    "FFICall",
    "Idle",
    "Machine",
    "Panic",
    "RunState",
    "Running",
    "Sleep",
    "Timeout",
    "check_transition",
]


class RunState(enum.StrEnum):
    """Where a run is."""

    INIT_DONE = "InitDone"
    RUNNING = "Running"
    IDLE = "Idle"
    FFI_CALL = "FFICall"
    PANIC = "Panic"
    EXIT = "Exit"
    TIMEOUT = "Timeout"


_S = RunState
TERMINAL = frozenset({_S.PANIC, _S.EXIT, _S.TIMEOUT})
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    _S.INIT_DONE: frozenset({_S.RUNNING, _S.PANIC, _S.TIMEOUT}),
    _S.RUNNING: frozenset({_S.RUNNING, _S.FFI_CALL, _S.IDLE, _S.EXIT, _S.PANIC, _S.TIMEOUT}),
    _S.FFI_CALL: frozenset({_S.RUNNING, _S.PANIC, _S.TIMEOUT}),
    _S.IDLE: frozenset({_S.RUNNING, _S.EXIT, _S.PANIC, _S.TIMEOUT}),
    _S.PANIC: frozenset(),
    _S.EXIT: frozenset(),
    _S.TIMEOUT: frozenset(),
}
"""What may follow what. Anything else is an error of ours."""


def check_transition(old: RunState, new: RunState) -> None:
    """Raise `InternalError` unless `new` may follow `old`."""
    if new not in TRANSITIONS[old]:
        raise InternalError(f"illegal transition of a run from {old.value} to {new.value}")


class Running(msgspec.Struct, frozen=True, gc=False):
    """The step's budget is used up; others get a turn, then the machine is stepped again."""


class FFICall(msgspec.Struct, frozen=True, gc=False):
    """The machine calls an FFI. `words` is the codec array of arguments; `answer(call_id, …)` continues it.

    With `blocks` it does nothing more until it is answered, nor does it wait for anything else.
    """

    call_id: int
    name: bytes
    words: bytes
    blocks: bool = False


class Sleep(msgspec.Struct, frozen=True, gc=False):
    """The machine does nothing more and wants to be answered after so many seconds. The words are ignored."""

    call_id: int
    seconds: float


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing to do until an FFI is answered or an action enters the machine again.

    `words` is the result of the entry that has just finished, None if none has. Of several entries of a run the first
    one's is the answer, unless a later one is `latest`: it stands for what they have all come to. Unless it `awaits`
    the answers of FFIs that are under way, the run ends without them. If it `runs`, it has more to do and is stepped.
    """

    words: bytes | None = None
    latest: bool = False
    awaits: bool = True
    runs: bool = False


class Exit(msgspec.Struct, frozen=True, gc=False):
    """The machine is done for good, with the codec words of its result."""

    words: bytes


class Panic(msgspec.Struct, frozen=True):
    """The code failed. `error` is the exception that says why."""

    error: Exception


class Timeout(msgspec.Struct, frozen=True, gc=False):
    """The machine was stopped from outside: the deadline passed, or the run was cancelled."""


Event: TypeAlias = Running | FFICall | Sleep | Idle | Exit | Panic | Timeout


class Host(Protocol):
    """What a machine may ask of its run while it is being stepped; to wait is for machines that block."""

    def call_quick(self, name: bytes, words: bytes) -> Answer | None:
        """Call an FFI that answers at once; None if it is to be an `FFICall`, and nothing else comes before that."""
        ...

    def call(self, name: bytes, words: bytes) -> Answer:
        """Call an FFI and wait for the answer's codec words."""
        ...

    def log(self, level: int, message: str) -> None:
        """A line of guest output."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait so long. Raises what ends the run, as soon as it is stopped."""
        ...


class Machine(Protocol):
    """Loaded and linked code after `init`. Used by one run; `interrupt` alone may come from another thread."""

    def enter(self, entry: str, words: bytes) -> None:
        """Begin an entry with the codec words of its parameters; the next `step` runs it."""
        ...

    def step(self, budget: int) -> Event:
        """Run until there is something to say. `budget` counts instructions, for machines that count."""
        ...

    def answer(self, call_id: int, words: Answer | None, error: Exception | None = None) -> None:
        """Answer an `FFICall`: with codec words, or with the error that it failed with."""
        ...

    def give_way(self) -> None:
        """Make the running step end soon, as `Running`, if the machine can. Callable from any thread."""
        ...

    def interrupt(self) -> None:
        """Make the running step end within 50 ms, as `Timeout`."""
        ...
