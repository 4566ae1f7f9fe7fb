"""The machine's commands and events as Python calls, whatever carries their words (see mixrt/machine.h)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from mix_rt.errors import QCodeError
from mixkit import codec

__all__ = ["Address", "Call", "Done", "Event", "Failed", "Gave", "Result", "Stats", "Virtual", "Waits"]

_STEP, _LOAD, _INIT, _ENTER, _ANSWER, _FAIL, _LIMITS, _STATS, _COLLECT, _CODEC, _TEST = range(11)
_RUNNING, _FFI, _IDLE, _DONE, _PANIC, _REFUSED = range(6)
_CODES: Final = ("raised", "memory", "stack", "deadlock")
_BUDGET_MAX: Final = 2**31 - 1


class Address(NamedTuple):
    """A call: index of the function, of the instruction in it, and whether it was left by a tail call before."""

    function: int
    instruction: int
    tailed: bool


@dataclass(frozen=True, slots=True)
class Gave:
    """The budget is used up."""


class Call(NamedTuple):
    """An FFI is called: the call's id, the FFI's index, and the codec array of arguments."""

    id: int
    ffi: int
    words: bytes


class Result(NamedTuple):
    """The entry has ended with the result in codec words. `awaits`: a coroutine waits for an FFI; `runs`: can run."""

    words: bytes
    awaits: bool
    runs: bool


@dataclass(frozen=True, slots=True)
class Waits:
    """No coroutine can run. `awaits`: one waits for an FFI."""

    awaits: bool


@dataclass(frozen=True, slots=True)
class Done:
    """A command that runs nothing is done."""

    words: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A panic: its code, the calls innermost first, and the value raised in codec words."""

    code: str
    addresses: tuple[Address, ...]
    words: bytes


_CALL: Final = struct.Struct("<3I")
_GAVE: Final = Gave()
_WAITS: Final = (Waits(False), Waits(True))

Event: TypeAlias = Gave | Call | Result | Waits | Done | Failed


class Stats(NamedTuple):
    """Of the heap: bytes in use, collections, major ones among them, objects made."""

    used: int
    collections: int
    majors: int
    objects: int


class Virtual:
    """One machine. `step` carries a command's words to it and answers the event's.

    Methods raise `QCodeError` where the machine refuses a command: with what is wrong, or "out of memory".
    """

    def __init__(self, step: Callable[[bytes], bytes]) -> None:
        self._step = step

    def limits(self, memory: int, stack: int) -> None:
        """Bytes of all memory, and registers of each coroutine's stack. Before `load`."""
        self._command(struct.pack("<3I", _LIMITS, min(memory, 2**32 - 1), stack))

    def load(self, code: bytes) -> None:
        """Load an executable."""
        self._command(struct.pack("<I", _LOAD) + code)

    def init(self, budget: int) -> Event:
        """Begin what runs at init; `Done` if nothing does."""
        return self._command(struct.pack("<2I", _INIT, min(budget, _BUDGET_MAX)))

    def enter(self, function: int, words: bytes, budget: int, seed: int = 0) -> Event:
        """Begin a function with the codec array of its arguments. `seed`, of 64 bits, is for its random numbers."""
        return self._command(struct.pack("<3IQ", _ENTER, min(budget, _BUDGET_MAX), function, seed) + words)

    def step(self, budget: int) -> Event:
        """Go on."""
        return self._command(struct.pack("<2I", _STEP, min(budget, _BUDGET_MAX)))

    def answer(self, call: int, words: bytes | memoryview, budget: int, *, raises: bool = False) -> Event:
        """Answer a call of an FFI, or make it raise the value, and go on. Nothing if nobody waits for it any more."""
        command = _FAIL if raises else _ANSWER
        return self._command(_CALL.pack(command, min(budget, _BUDGET_MAX), call) + words)

    def stats(self) -> Stats:
        """Figures of the heap."""
        event = self._command(struct.pack("<I", _STATS))
        assert isinstance(event, Done)
        return Stats(*struct.unpack("<4Q", event.words))

    def collect(self) -> None:
        """Make the heap as small as it gets."""
        self._command(struct.pack("<I", _COLLECT))

    def echo(self, words: bytes) -> bytes:
        """A value in codec words through the machine's own codec."""
        event = self._command(struct.pack("<I", _CODEC) + words)
        assert isinstance(event, Done)
        return event.words

    def test(self, *, stress: bool = False, fail_from: int = 0, fail_until: int = 0) -> None:
        """For tests: collect all after each allocation; let those from one number up to another fail."""
        self._command(struct.pack("<4I", _TEST, stress, fail_from, fail_until))

    def _command(self, command: bytes) -> Event:
        answer = self._step(command)
        event = answer[0]
        # PERF: the commonest first.
        if event == _FFI:
            _, call, ffi = _CALL.unpack_from(answer)
            return Call(call, ffi, answer[12:])
        if event == _RUNNING:
            return _GAVE
        if event == _IDLE:
            flags = answer[4]
            if flags & 1:
                return Result(answer[8:], flags & 2 != 0, flags & 4 != 0)
            return _WAITS[flags >> 1 & 1]
        rest = answer[4:]
        if event == _DONE:
            return Done(rest)
        if event == _PANIC:
            code, count = struct.unpack_from("<2I", rest)
            numbers = struct.unpack_from(f"<{3 * count}I", rest, 8)
            addresses = tuple(
                Address(numbers[at], numbers[at + 1], bool(numbers[at + 2])) for at in range(0, 3 * count, 3)
            )
            return Failed(_CODES[code], addresses, rest[8 + 12 * count :])
        text = codec.decode(rest) if rest else "out of memory"
        raise QCodeError(str(text))
