"""Code of Mix as a machine of the kernel: driven by the loop in slices, in an instance of the module on any engine."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Final

from mix_rt.errors import QCodeError
from mix_rt.instance import virtual
from mix_rt.qcode import Code, address, addresses
from mix_rt.vm import Call, Done, Failed, Gave, Result, Waits
from mix_rt.vm import Event as Said
from mixkit import codec
from mixkit.contracts import Instance
from mixkit.errors import GuestError, InternalError, LimitExceeded, NotFound
from mixkit.near import meant
from mixkit.octets import Answer
from mixkit.vm.machine import Event, FFICall, Host, Idle, Panic, Running, Timeout

__all__ = ["CodeMachine"]

_ONE: Final = b"\x09\x01\x00\x00"
"""The header of a codec array of one value: an entry has one parameter."""
_TWO: Final = b"\x09\x02\x00\x00"
"""The same of two: an action has a name besides."""
_INVOKE: Final = "$invoke"
"""The export that runs actions."""
_STACK: Final = 1 << 17
"""Registers that a coroutine may have."""
_BUDGET: Final = 100_000
_QUICK: Final = 32
"""Quick FFIs in a row that one step answers itself."""


class CodeMachine:
    """An instance of the machine with code in it. An FFI call suspends its coroutine only, and holds no thread.

    An entry is an export that takes one argument: the parameters. What is no entry is the name of an action, if the
    code has the export `$invoke`, which takes that name and the parameters; what it answers takes the place of the
    answer of the entry before.

    Attributes:
        host: answers quick FFIs inside a step, if it is set: that spares the way through the loop.
        healthy: False once anything failed: the instance is then not used again.
    """

    __slots__ = ("_acts", "_code", "_names", "_stopped", "_todo", "_virtual", "healthy", "host", "instance")

    def __init__(self, instance: Instance, code: Code) -> None:
        self.instance = instance
        self.healthy = True
        self.host: Host | None = None
        self._code = code
        self._names = [ffi.name.encode() for ffi in code.ffis]
        self._virtual = virtual(instance)
        self._todo: deque[Callable[[int], Said]] = deque()
        self._stopped = False
        self._acts = False

    def load(self, data: bytes) -> None:
        """Load the container into a fresh instance, and run what runs at init. It may call no FFI.

        Raises:
            QCodeError: the machine refuses the code.
            Exception: what a panic or a stop in init is to the loop.
        """
        self._virtual.limits(self.instance.memory_limit, _STACK)
        self._virtual.load(data)
        answer = self._virtual.init(_BUDGET)
        while isinstance(answer, Gave):
            if self._stopped:
                raise GuestError("the machine was stopped", trap="interrupt")
            answer = self._virtual.step(_BUDGET)
        if isinstance(answer, Failed):
            raise self._explained(answer)
        if not isinstance(answer, (Done, Result)):
            raise GuestError(
                "an FFI was called, or a coroutine left waiting, while the program initialises; FFIs are for entries, "
                "since what init does is frozen and shared",
                trap="interface",
            )
        self._virtual.collect()

    def enter(self, entry: str, words: bytes) -> None:
        exports = self._code.exports
        index = exports.get(entry)
        words = _ONE + words
        self._acts = index is None and _INVOKE in exports
        if self._acts:
            index = exports[_INVOKE]
            words = _TWO + codec.encode(entry) + words[len(_ONE) :]
        if index is None or entry.startswith("$"):
            entries = [name for name in sorted(exports) if not name.startswith("$")]
            known = ", ".join(entries) or "none"
            raise NotFound(f"the code has no entry {entry!r}; it has {known}{meant(entry, entries)}")
        seed = int.from_bytes(os.urandom(8), "little")
        at = index
        self._todo.append(lambda budget: self._virtual.enter(at, words, budget, seed))

    def step(self, budget: int) -> Event:
        try:
            if self._stopped:
                return Timeout()
            answer = self._todo.popleft()(budget) if self._todo else self._virtual.step(budget)
            if self.host is not None:
                answer = self._quick(answer, self.host, budget)
            if type(answer) is Call:
                return FFICall(answer.id, self._names[answer.ffi], answer.words)
        except Exception as exc:
            self.healthy = False
            if isinstance(exc, GuestError) and exc.trap == "interrupt":
                return Timeout()
            if isinstance(exc, QCodeError) and str(exc) == "out of memory":
                return Panic(LimitExceeded("memory", self.instance.memory_limit, "bytes"))
            return Panic(exc)
        match answer:
            case Gave():
                return Running()
            case Result(words, awaits, runs):
                return Idle(words, self._acts, awaits, runs)
            case Failed():
                self.healthy = False
                return Panic(self._explained(answer))
            case Waits(awaits):
                # An answer that has come meanwhile may change that.
                return Running() if self._todo else Idle(awaits=awaits)
            case _:
                return Idle()

    def _quick(self, answer: Said, host: Host, budget: int) -> Said:
        """Answer FFIs that are quick, until there is something else to say.

        PERF: the way of a call through the loop costs as much as such an FFI does.
        """
        for _ in range(_QUICK):
            if type(answer) is not Call:
                break
            words = host.call_quick(self._names[answer.ffi], answer.words)
            if words is None:
                break
            answer = self._virtual.answer(answer.id, words, budget)
        return answer

    def answer(self, call_id: int, words: Answer | None, error: Exception | None = None) -> None:
        if words is None:
            failure = codec.encode(str(error or InternalError("a call was answered with nothing")))
            self._todo.append(lambda budget: self._virtual.answer(call_id, failure, budget, raises=True))
        else:
            self._todo.append(lambda budget: self._virtual.answer(call_id, words, budget))

    def give_way(self) -> None:
        """It does so after each slice."""

    def interrupt(self) -> None:
        self._stopped = True
        self.instance.interrupt()

    def leave(self) -> None:
        """The run has failed or was stopped: the instance is not used again."""
        self.healthy = False

    def _explained(self, failed: Failed) -> Exception:
        """The error of a panic, with the places of its calls."""
        frames = []
        places = addresses(self._code, [(each.function, each.instruction) for each in failed.addresses])
        for around, each in zip(places, failed.addresses, strict=True):
            for number, (name, file, line, column) in enumerate(around, 1):
                if not file and self._code.files:
                    # The compiler made it of no line of a source: whoever reads this wrote none of it.
                    continue
                where = (
                    f" ({file}:{line}:{column})" if file else f" ({address(each.function, each.instruction)})"
                )
                tailed = each.tailed and number == len(around)
                frames.append(f"{name}{where}{', after tail calls' if tailed else ''}")
        if failed.code == "memory":
            return LimitExceeded("memory", self.instance.memory_limit, "bytes", _first(frames))
        if failed.code == "stack":
            return LimitExceeded("stack", _STACK, "registers of a coroutine", _first(frames))
        if failed.code == "deadlock":
            return GuestError("the entry waits for ever: nothing is left that could wake it", trap="deadlock")
        value = codec.decode(failed.words)
        message = value if isinstance(value, str) else f"raised {value!r}"
        return GuestError(message, trap="panic", backtrace=frames)


def _first(frames: list[str]) -> str:
    return f"in {frames[0]}" if frames else ""
