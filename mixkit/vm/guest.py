"""Wasm guests as machines: the guest interface (module `mix`), and an instance that runs one entry at a time."""

from __future__ import annotations

import secrets
import time
from typing import Any

from mixkit.contracts import FuncType, HostFunction, HostImports, Instance
from mixkit.errors import GuestError, InternalError, LimitExceeded, guest_text
from mixkit.vm.machine import Event, Host, Idle, Panic, Timeout
from mixkit.vm.manifest import ENTRY_PREFIX
from mixkit.vm.wasi import WASI

__all__ = ["HOST_IMPORTS", "GuestMachine"]

_MAX_NAME = 256
_MAX_RANDOM = 1 << 20
_MAX_LINE = 1 << 16
_UNSIGNED = 0xFFFFFFFF


class GuestMachine:
    """An instance, ready to be entered. `step` blocks until the entry has finished.

    Attributes:
        host: answers FFI calls; swapped between init and run.
        used_random: whether the guest has drawn random numbers, which a snapshot must not repeat.
        healthy: False once anything failed: the instance is then not used again.
    """

    __slots__ = (
        "_answer",
        "_direct",
        "_entry",
        "_lines",
        "_words",
        "healthy",
        "host",
        "instance",
        "used_random",
    )

    def __init__(self, instance: Instance, host: Host, *, direct: bool) -> None:
        self.instance = instance
        self.host = host
        self.used_random = False
        self.healthy = True
        self._direct = direct
        self._entry = ""
        self._words = b""
        self._answer: bytes | None = None
        self._lines: dict[int, bytes] = {}
        instance.owner = self

    def initialize(self, env: bytes) -> None:
        """Run the start function, `_initialize` (a WASI reactor's), and `mix_init` with the environment."""
        self.instance.start()
        exports = self.instance.exports
        if "_initialize" in exports:
            self.instance.call("_initialize")
        if "mix_init" in exports:
            ptr = self.instance.call("mix_alloc", len(env))
            self.instance.write(int(ptr or 0), env)
            self.instance.call("mix_init", int(ptr or 0), len(env))

    def enter(self, entry: str, words: bytes) -> None:
        self._entry, self._words = entry, words

    def step(self, budget: int) -> Event:
        try:
            if self._direct:
                result = self.instance.call_bytes(ENTRY_PREFIX + self._entry, self._words)
            else:
                result = self.instance.call_bytes("mix_call", self._entry.encode(), self._words)
        except GuestError as exc:
            self.healthy = False
            return Timeout() if exc.trap == "interrupt" else Panic(exc)
        except Exception as exc:
            self.healthy = False
            return Panic(exc)
        if self._lines:
            self._flush_lines()
        return Idle(result)

    def answer(self, call_id: int, words: bytes | None, error: Exception | None = None) -> None:
        raise InternalError("a Wasm guest gets its answers inside its step")

    def interrupt(self) -> None:
        self.instance.interrupt()

    # -- what host functions use --------------------------------------------------------------

    def ffi(self, name: bytes, words: bytes) -> int:
        """Call an FFI and keep the answer for `take`; answers its length."""
        self._answer = None
        self._answer = answer = self.host.call(name, words)
        return len(answer)

    def take(self) -> bytes:
        """The answer of the last FFI, once."""
        answer, self._answer = self._answer, None
        if answer is None:
            raise GuestError("the guest called take without an answer waiting for it", trap="interface")
        return answer

    def log(self, level: int, message: str) -> None:
        self.host.log(level, message)

    def output(self, fd: int, data: bytes) -> None:
        """Bytes written to stdout (1) or stderr (2): logged by line."""
        data = self._lines.pop(fd, b"") + data
        start = 0
        # One after the other: the limit on the log ends it before a list of all lines would have been made.
        while (end := data.find(b"\n", start)) >= 0 or len(data) - start >= _MAX_LINE:
            end = min(end, start + _MAX_LINE) if end >= 0 else start + _MAX_LINE
            self.host.log(1 if fd == 1 else 2, data[start:end].decode("utf-8", "replace"))
            start = end + (data[end : end + 1] == b"\n")
        if start < len(data):
            self._lines[fd] = data[start:]

    def _flush_lines(self) -> None:
        for fd in list(self._lines):
            self.output(fd, b"\n")


def _ffi(instance: Instance, name: int, name_len: int, args: int, args_len: int) -> int:
    if not 0 <= name_len <= _MAX_NAME:
        raise GuestError(
            f"an FFI name has at most {_MAX_NAME} bytes, found {name_len & _UNSIGNED}", trap="interface"
        )
    machine: Any = instance.owner
    answer: int = machine.ffi(instance.read(name, name_len), instance.read(args, args_len))
    return answer


def _take(instance: Instance, ptr: int) -> None:
    machine: Any = instance.owner
    instance.write(ptr, machine.take())


def _log(instance: Instance, level: int, ptr: int, size: int) -> None:
    machine: Any = instance.owner
    machine.log(level, instance.read(ptr, min(size & _UNSIGNED, _MAX_LINE)).decode("utf-8", "replace"))


def _now(instance: Instance) -> float:
    return time.time()


def _random(instance: Instance, ptr: int, size: int) -> None:
    if not 0 <= size <= _MAX_RANDOM:
        raise GuestError(f"random gives at most {_MAX_RANDOM} bytes at once", trap="interface")
    machine: Any = instance.owner
    machine.used_random = True
    instance.write(ptr, secrets.token_bytes(size))


def _panic(instance: Instance, ptr: int, size: int) -> None:
    text = instance.read(ptr, min(size & _UNSIGNED, _MAX_LINE)).decode("utf-8", "replace")
    if instance.memory_refused:
        # As when it traps: what it says is true, but not what to do.
        raise LimitExceeded("memory", instance.memory_limit, "bytes", guest_text(text, _MAX_NAME))
    raise GuestError(text, trap="panic")


HOST_IMPORTS: HostImports = {
    ("mix", "ffi"): HostFunction(FuncType(("i32", "i32", "i32", "i32"), ("i32",)), _ffi),
    ("mix", "take"): HostFunction(FuncType(("i32",), ()), _take),
    ("mix", "log"): HostFunction(FuncType(("i32", "i32", "i32"), ()), _log),
    ("mix", "now"): HostFunction(FuncType((), ("f64",)), _now),
    ("mix", "random"): HostFunction(FuncType(("i32", "i32"), ()), _random),
    ("mix", "panic"): HostFunction(FuncType(("i32", "i32"), ()), _panic),
    **WASI,
}
"""Everything that a guest may import; one mapping for all, so that engines link it once per module."""
