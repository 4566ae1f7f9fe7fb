"""Wasmtime itself: its configuration, its engines, its compiled modules. Imported on first use."""

from __future__ import annotations

import ctypes
import importlib.metadata
import threading
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from mix_wasmtime import _native
from mix_wasmtime.traps import trap_error
from mixkit.errors import EngineError, GuestError, LimitExceeded

__all__ = ["CONFIG", "Backend", "Compiled", "check_version"]

SUPPORTED: Final = 50
"""The major version of Wasmtime whose C interface `_native.h` declares."""

CONFIG: Final = "4"
"""Changes with every change of `_config`: compiled code of another configuration is not used."""


_NO_HEAP: Final = "gc types are disallowed but found type which requires gc"
"""How Wasmtime says that a type needs a heap of its own."""


def check_version() -> str:
    """The version of the installed Wasmtime.

    Raises:
        EngineError: it is not one whose C interface we know; calling it would corrupt memory.
    """
    found = importlib.metadata.version("wasmtime")
    if int(found.split(".")[0]) != SUPPORTED:
        raise EngineError(
            f"mix-wasmtime needs wasmtime {SUPPORTED}.x, found {found}: "
            f"pip install 'wasmtime>={SUPPORTED},<{SUPPORTED + 1}'"
        )
    return found


check_version()
_native.load(str(ffi.filename), EngineError, GuestError, LimitExceeded, trap_error)


def _address(pointer: object) -> int:
    value = ctypes.cast(pointer, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert value is not None
    return value


def _config(stack: int, optimize: bool) -> wasmtime.Config:
    config = wasmtime.Config()
    raw = config.ptr()

    # What a guest may use. Left out is what cannot be saved and restored (threads, exceptions, continuations,
    # external references and collected objects, for which Wasmtime makes a heap of its own), what differs between
    # processors (relaxed SIMD), and what nobody needs.
    config.wasm_simd = True
    config.wasm_bulk_memory = True
    config.wasm_reference_types = True
    config.wasm_multi_value = True
    config.wasm_multi_memory = True
    config.wasm_tail_call = True
    config.wasm_relaxed_simd = False
    config.wasm_threads = False
    config.shared_memory = False
    config.wasm_memory64 = False
    config.wasm_exceptions = False
    config.wasm_function_references = False
    config.wasm_gc = False
    ffi.wasmtime_config_gc_support_set(raw, False)
    config.wasm_wide_arithmetic = False
    config.wasm_custom_page_sizes = False
    config.wasm_stack_switching = False
    config.wasm_component_model = False
    ffi.wasmtime_config_wasm_compact_imports_set(raw, False)

    # A run is a function of its input: the bits of a NaN would depend on the processor.
    config.cranelift_nan_canonicalization = True
    config.cranelift_opt_level = "speed" if optimize else "none"
    # Threads of a compilation do not survive a fork, and the child would wait for them for ever.
    config.parallel_compilation = False
    config.epoch_interruption = True
    config.native_unwind_info = False

    # Wasmtime checks that the second is not below the first, even if nothing is asynchronous.
    ffi.wasmtime_config_async_stack_size_set(raw, 2 * stack)
    config.max_wasm_stack = stack

    # Memories are our own mappings (_region.c), which never move and are not made from images.
    config.memory_may_move = False
    config.memory_reservation = 1 << 32
    config.memory_guard_size = 32 << 20
    config.memory_init_cow = False
    _native.own_memories(_address(raw))
    return config


class Backend:
    """A Wasmtime engine for guests with `stack` bytes of call stack."""

    def __init__(self, stack: int, *, optimize: bool) -> None:
        self.stack = stack
        self.engine = wasmtime.Engine(_config(stack, optimize))


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
            raise EngineError(f"the Wasm module is not valid: {_one_line(exc)}") from None

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
    text = ": ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text.replace(_NO_HEAP, "external references (externref) are switched off here")
