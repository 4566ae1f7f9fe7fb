"""Wasm guests as machines: the guest interface (module `mix`), and an instance that runs one entry at a time."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from mixkit.contracts import DONE, GAVE_WAY, LATER, Call, FuncType, HostFunction, HostImports, Instance
from mixkit.errors import GuestError, InternalError, LimitExceeded
from mixkit.octets import Answer
from mixkit.vm.assemblyscript import ASSEMBLYSCRIPT
from mixkit.vm.machine import Event, FFICall, Host, Idle, Panic, Running, Sleep, Timeout
from mixkit.vm.manifest import ENTRY_PREFIX
from mixkit.vm.output import Output
from mixkit.vm.wasi import WASI

__all__ = ["HOST_IMPORTS", "GuestMachine", "SuspendedMachine"]

_MAX_NAME = 256
_MAX_RANDOM = 1 << 20
_MAX_LINE = 1 << 16
_UNSIGNED = 0xFFFFFFFF
_GIVEN_UP: Final = frozenset({"panic", "exit"})
"""Ends that a guest chooses itself."""
_SEED: Final = 32
"""Random bytes that `mix_resume` gets."""


class GuestMachine:
    """An instance, ready to be entered. `step` blocks until the entry has finished; see `SuspendedMachine`.

    Attributes:
        host: answers FFI calls; swapped between init and run.
        unique: whether the guest has drawn random numbers or read a clock, which a snapshot would repeat.
        healthy: False once anything failed: the instance is then not used again.
    """

    arguments: Final = ()
    variables: Final = ()
    terminal: Final = True
    waiting: Final = 0
    __slots__ = ("_answer", "_direct", "_entry", "_output", "_words", "healthy", "host", "instance", "unique")

    def __init__(self, instance: Instance, host: Host, *, direct: bool) -> None:
        self.instance = instance
        self.host = host
        self.unique = False
        self.healthy = True
        self._direct = direct
        self._entry = ""
        self._words = b""
        self._answer: Answer | None = None
        self._output: Output | None = None
        instance.owner = self

    def initialize(self, env: bytes) -> None:
        """Run the start function, `_initialize` (a WASI reactor's), and `mix_init` with the environment."""
        try:
            self.instance.start()
            exports = self.instance.exports
            if "_initialize" in exports:
                self.instance.call("_initialize")
            if "mix_init" in exports:
                ptr = self._given(env)
                self.instance.call("mix_init", ptr, len(env))
        except Exception as exc:
            raise self._explained(exc) from None
        self._flush()

    def resume(self) -> None:
        """Run `mix_resume` with random bytes, in the state after init, before the run's entry."""
        try:
            self.instance.call("mix_resume", self._given(secrets.token_bytes(_SEED)))
        except Exception as exc:
            raise self._explained(exc) from None

    def _given(self, data: bytes) -> int:
        """Where the data stands in memory of the guest's own."""
        ptr = int(self.instance.call("mix_alloc", len(data)) or 0)
        self.instance.write(ptr, data)
        return ptr

    def enter(self, entry: str, words: bytes) -> None:
        self._entry, self._words = entry, words

    def step(self, budget: int) -> Event:
        try:
            if self._direct:
                result = self.instance.call_bytes(ENTRY_PREFIX + self._entry, self._words)
            else:
                result = self.instance.call_bytes("mix_call", self._entry.encode(), self._words)
        except Exception as exc:
            return self._failed(exc)
        self._flush()
        return Idle(result)

    def _failed(self, exc: Exception) -> Event:
        """How the guest has ended. Not where it was caught: the exception leads there, and would to itself."""
        self.healthy = False
        error = self._explained(exc)
        return Timeout() if isinstance(error, GuestError) and error.trap == "interrupt" else Panic(error)

    def answer(self, call_id: int, words: Answer | None, error: Exception | None = None) -> None:
        raise InternalError("this Wasm guest gets its answers inside its step")

    def give_way(self) -> None:
        """It holds its thread; nothing is waiting for it."""

    def interrupt(self) -> None:
        self.instance.interrupt()

    def leave(self) -> None:
        """The run has failed or was stopped: what the guest has written is logged, and the instance not used again."""
        self.healthy = False
        with contextlib.suppress(LimitExceeded):
            self._flush()

    # -- what host functions use --------------------------------------------------------------

    def ffi(self, name: bytes, words: bytes) -> Any:
        """Call an FFI and keep the answer for `take`; answers its length, or `LATER`."""
        self._answer = None
        self._answer = answer = self.host.call(name, words)
        return len(answer)

    def take(self) -> Answer:
        """The answer of the last FFI, once."""
        answer, self._answer = self._answer, None
        if answer is None:
            raise GuestError("the guest called take without an answer waiting for it", trap="interface")
        return answer

    def log(self, level: int, message: str) -> None:
        self.host.log(level, message)

    def sleep(self, seconds: float, then: Callable[[], int]) -> Any:
        """Wait, at most until the run ends; answers what `then` does, or `LATER`."""
        self.host.sleep(seconds)
        return then()

    def output(self, fd: int, data: bytes) -> None:
        """Bytes written to stdout (1) or stderr (2): logged by line."""
        if self._output is None:
            self._output = Output()
        for level, line in self._output.lines(fd, data):
            self.host.log(level, line)

    def input(self, size: int) -> bytes:
        """Standard input is at its end."""
        return b""

    def exit(self, status: int) -> NoReturn:
        """A guest ends with its entry, not by itself."""
        raise GuestError(f"the guest called exit({status})", trap="exit")

    def _flush(self) -> None:
        if self._output is not None:
            for level, line in self._output.rest():
                self.host.log(level, line)

    def _explained(self, error: Exception) -> Exception:
        """The error that ended the guest, with its last words; what it wrote before is logged."""
        # A log that is full does not hide why the guest failed.
        with contextlib.suppress(LimitExceeded):
            self._flush()
        if not isinstance(error, GuestError) or error.trap == "interrupt":
            return error
        if self._output is not None:
            error = self._output.explain(error)
        if error.trap in _GIVEN_UP and self.instance.memory_refused:
            # As when it traps: what it says is true, but not what to do.
            return LimitExceeded("memory", self.instance.memory_limit, "bytes", str(error))
        return error


class SuspendedMachine(GuestMachine):
    """The same on an engine that suspends guests: no step waits for anything, and the thread is free meanwhile."""

    __slots__ = ("_call", "_calls", "_then", "_wanted")

    def __init__(self, instance: Instance, host: Host, *, direct: bool) -> None:
        super().__init__(instance, host, direct=direct)
        self._call: Call | None = None
        self._calls = 0
        self._wanted: FFICall | Sleep | None = None
        self._then: Callable[[], int] | None = None

    def step(self, budget: int) -> Event:
        call = self._call
        try:
            if call is None:
                if self._direct:
                    call = self.instance.begin_bytes(ENTRY_PREFIX + self._entry, self._words)
                else:
                    call = self.instance.begin_bytes("mix_call", self._entry.encode(), self._words)
                self._call = call
            elif self._wanted is not None:
                return Idle()
            event = call.step()
        except Exception as exc:
            self._call = None
            return self._failed(exc)
        if event == DONE:
            self._call = None
            self._flush()
            return Idle(call.result)
        if event == GAVE_WAY:
            return Running()
        assert self._wanted is not None, "the host functions that answer later are those below"
        return self._wanted

    def answer(self, call_id: int, words: Answer | None, error: Exception | None = None) -> None:
        call, wanted, then = self._call, self._wanted, self._then
        if call is None or wanted is None or wanted.call_id != call_id:
            raise InternalError(f"the guest does not wait for an answer to its call {call_id}")
        self._wanted = self._then = None
        if words is None:
            call.fail(error or InternalError("a call of the guest was answered with nothing"))
        elif then is None:
            self._answer = words
            call.resume(len(words))
        else:
            try:
                call.resume(then())
            except Exception as exc:
                call.fail(exc)

    def give_way(self) -> None:
        self.instance.give_way()

    def ffi(self, name: bytes, words: bytes) -> Any:
        self._answer = answer = self.host.call_quick(name, words)
        if answer is not None:
            return len(answer)
        self._calls += 1
        self._wanted = FFICall(self._calls, name, words, True)
        return LATER

    def sleep(self, seconds: float, then: Callable[[], int]) -> Any:
        if self._call is None:
            return super().sleep(seconds, then)
        self._calls += 1
        self._wanted, self._then = Sleep(self._calls, seconds), then
        return LATER


def _ffi(instance: Instance, name: int, name_len: int, args: int, args_len: int) -> Any:
    if not 0 <= name_len <= _MAX_NAME:
        raise GuestError(
            f"an FFI name has at most {_MAX_NAME} bytes, found {name_len & _UNSIGNED}", trap="interface"
        )
    machine: Any = instance.owner
    return machine.ffi(instance.read(name, name_len), instance.read(args, args_len))


def _take(instance: Instance, ptr: int) -> None:
    machine: Any = instance.owner
    instance.write(ptr, machine.take())


def _log(instance: Instance, level: int, ptr: int, size: int) -> None:
    machine: Any = instance.owner
    machine.log(level, instance.read(ptr, min(size & _UNSIGNED, _MAX_LINE)).decode("utf-8", "replace"))


def _now(instance: Instance) -> float:
    instance.owner.unique = True
    return time.time()


def _random(instance: Instance, ptr: int, size: int) -> None:
    if not 0 <= size <= _MAX_RANDOM:
        raise GuestError(f"random gives at most {_MAX_RANDOM} bytes at once", trap="interface")
    machine: Any = instance.owner
    machine.unique = True
    instance.write(ptr, secrets.token_bytes(size))


def _panic(instance: Instance, ptr: int, size: int) -> None:
    text = instance.read(ptr, min(size & _UNSIGNED, _MAX_LINE)).decode("utf-8", "replace")
    raise GuestError(text, trap="panic")


HOST_IMPORTS: HostImports = {
    ("mix", "ffi"): HostFunction(FuncType(("i32", "i32", "i32", "i32"), ("i32",)), _ffi),
    ("mix", "take"): HostFunction(FuncType(("i32",), ()), _take),
    ("mix", "log"): HostFunction(FuncType(("i32", "i32", "i32"), ()), _log),
    ("mix", "now"): HostFunction(FuncType((), ("f64",)), _now),
    ("mix", "random"): HostFunction(FuncType(("i32", "i32"), ()), _random),
    ("mix", "panic"): HostFunction(FuncType(("i32", "i32"), ()), _panic),
    **WASI,
    **ASSEMBLYSCRIPT,
}
"""Everything that a guest may import; one mapping for all, so that engines link it once per module."""
