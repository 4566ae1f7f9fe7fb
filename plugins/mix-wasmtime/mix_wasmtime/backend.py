"""Wasmtime itself: its configuration, its engines, its compiled modules. Imported on first use."""

from __future__ import annotations

import ctypes
import threading
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from mix_wasmtime import _native
from mix_wasmtime.compilation import invalid
from mix_wasmtime.compiler import make_config
from mix_wasmtime.traps import trap_error
from mixkit import distributions
from mixkit.contracts import LATER
from mixkit.errors import EngineError, GuestError, LimitExceeded

__all__ = ["CONFIG", "HAS_FIBERS", "Backend", "Compiled", "check_version"]

SUPPORTED: Final = 50
"""The major version of Wasmtime whose C interface `_native.h` declares."""

CONFIG: Final = "6"
"""Changes with every change of `make_config`: compiled code of another configuration is not used."""


def check_version() -> str:
    """The version of the installed Wasmtime.

    Raises:
        EngineError: it is not one whose C interface we know; calling it would corrupt memory.
    """
    found = distributions.version("wasmtime")
    if int(found.split(".")[0]) != SUPPORTED:
        raise EngineError(
            f"mix-wasmtime needs wasmtime {SUPPORTED}.x, found {found}: "
            f"pip install 'wasmtime>={SUPPORTED},<{SUPPORTED + 1}'"
        )
    return found


check_version()
HAS_FIBERS: Final = _native.load(str(ffi.filename), EngineError, GuestError, LimitExceeded, trap_error, LATER)
"""Whether this build of Wasmtime has calls on fibers."""


def _address(pointer: object) -> int:
    value = ctypes.cast(pointer, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert value is not None
    return value


class Backend:
    """A Wasmtime engine for guests with `stack` bytes of call stack, with or without exceptions."""

    def __init__(self, stack: int, *, exceptions: bool, optimize: bool) -> None:
        self.stack = stack
        self.exceptions = exceptions
        config = make_config(stack, optimize, exceptions)
        _native.own_memories(_address(config.ptr()))
        self.engine = wasmtime.Engine(config)


class Compiled:
    """Machine code of a module on one backend; `on` answers the same for another."""

    def __init__(self, backend: Backend, module: wasmtime.Module) -> None:
        self.backend = backend
        self.module = module
        self._lock = threading.Lock()
        self._others: dict[int, Compiled] = {}

    @classmethod
    def compile(cls, backend: Backend, code: bytes) -> Compiled:
        """Raises EngineError if the code is not valid."""
        try:
            return cls(backend, wasmtime.Module(backend.engine, code))
        except wasmtime.WasmtimeError as exc:
            raise invalid(str(exc)) from None

    @classmethod
    def load(cls, backend: Backend, serialized: bytes | bytearray) -> Compiled:
        """What `serialize` gave. The bytes must come from us: they are run as they are.

        Raises:
            EngineError: made by another version, configuration or processor.
        """
        try:
            return cls(backend, wasmtime.Module.deserialize(backend.engine, serialized))
        except wasmtime.WasmtimeError as exc:
            raise EngineError(f"compiled code is not usable here: {_one_line(exc)}") from None

    def serialize(self) -> bytearray:
        """The machine code, for `load`."""
        return self.module.serialize()

    def on(self, backend: Backend) -> Compiled:
        """The same code on another engine, without compiling again."""
        if backend is self.backend:
            return self
        with self._lock:
            other = self._others.get(backend.stack)
            if other is None:
                other = self._others[backend.stack] = Compiled.load(backend, self.serialize())
            return other

    @property
    def engine_pointer(self) -> int:
        """Address of the `wasm_engine_t`."""
        return _address(self.backend.engine.ptr())

    @property
    def pointer(self) -> int:
        """Address of the `wasmtime_module_t`."""
        return _address(self.module.ptr())


def _one_line(error: wasmtime.WasmtimeError) -> str:
    return ": ".join(line.strip() for line in str(error).splitlines() if line.strip())
