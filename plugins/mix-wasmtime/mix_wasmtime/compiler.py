"""Wasmtime's compiler in a process of its own, and the configuration that both sides share.

A few kilobytes of Wasm can keep the compiler busy for a minute and take gigabytes, and nothing interrupts it. So
it runs in a child that the system stops. The child is this file, run as a script, and imports nothing else of ours:
the module comes through its standard input, and the machine code goes out through its standard output.

    python -I compiler.py <folder with wasmtime> <stack> <optimize: 0 or 1> <exceptions: 0 or 1> <seconds> <bytes>

It answers one byte and what that announces: `=` the machine code, `!` why the module is not valid, `-` that the
memory did not suffice, `+` the size of machine code that is too large to be handed over.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wasmtime

__all__ = ["INVALID", "MACHINE_CODE", "MOST_CODE", "NO_MEMORY", "TOO_LARGE", "make_config"]

MACHINE_CODE, INVALID, NO_MEMORY, TOO_LARGE = b"=", b"!", b"-", b"+"

MOST_CODE = 256 * 1024 * 1024
"""Bytes of machine code that a module may have: the process that runs it holds them."""


HOST_STACK = 256 * 1024
"""Bytes of a fiber's stack beside the guest's. Address space, of which what is used takes memory."""


def make_config(stack: int, optimize: bool, exceptions: bool) -> wasmtime.Config:
    """The configuration for guests with `stack` bytes of call stack, but for what creates their memories."""
    import wasmtime
    from wasmtime import _ffi as ffi

    config = wasmtime.Config()
    raw = config.ptr()

    # What a guest may use. Left out is what cannot be saved and restored (threads, continuations, external references
    # and collected objects in globals and tables), what differs between processors (relaxed SIMD), and what nobody
    # needs. Exceptions live in a heap that Wasmtime collects, which only modules that have some get; since none is kept
    # in a global or a table, which `mixkit.vm.wasm` sees to, none outlives the call that threw it.
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
    config.wasm_exceptions = exceptions
    config.wasm_function_references = False
    config.wasm_gc = False
    ffi.wasmtime_config_gc_support_set(raw, exceptions)
    config.wasm_wide_arithmetic = False
    config.wasm_custom_page_sizes = False
    config.wasm_stack_switching = False
    config.wasm_component_model = False
    ffi.wasmtime_config_wasm_compact_imports_set(raw, False)

    # A run is a function of its input: the bits of a NaN would depend on the processor.
    config.cranelift_nan_canonicalization = True
    config.cranelift_opt_level = "speed" if optimize else "none"
    # Threads of a compilation do not survive a fork, and the forked process would wait for them for ever.
    config.parallel_compilation = False
    config.epoch_interruption = True
    config.native_unwind_info = False

    # On a fiber's stack the guest has what Wasmtime itself needs below it; nothing else runs there.
    ffi.wasmtime_config_async_stack_size_set(raw, stack + HOST_STACK)
    config.max_wasm_stack = stack

    # Memories are mappings of our own (_region.c), which never move and are not made from images.
    config.memory_may_move = False
    config.memory_reservation = 1 << 32
    config.memory_guard_size = 32 << 20
    config.memory_init_cow = False
    return config


def main(stack: int, optimize: bool, exceptions: bool, seconds: int, memory: int) -> None:
    """Compile standard input within those limits."""
    import wasmtime

    config = make_config(stack, optimize, exceptions)
    engine = wasmtime.Engine(config)
    code = sys.stdin.buffer.read()
    _limit(seconds, memory)
    try:
        made = wasmtime.Module(engine, code).serialize()
        answer = MACHINE_CODE + made if len(made) <= MOST_CODE else TOO_LARGE + str(len(made)).encode()
    except wasmtime.WasmtimeError as exc:
        message = str(exc)
        # The system's words for a mapping that the limit does not allow.
        answer = NO_MEMORY if "Cannot allocate memory" in message else INVALID + message.encode()
    except MemoryError:
        answer = NO_MEMORY
    sys.stdout.buffer.write(answer)


def _limit(seconds: int, memory: int) -> None:
    """`memory` bytes more than the process has now, and `seconds` of processor time; no core dump."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        present = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The second more is for SIGXCPU, which says why, before SIGKILL.
    for which, soft, hard in (
        (resource.RLIMIT_AS, present + memory, present + memory),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
    ):
        most = resource.getrlimit(which)[1]
        if most == resource.RLIM_INFINITY or hard < most:
            resource.setrlimit(which, (soft, hard))


def _end_with_parent() -> None:
    """Whoever waits for the answer may be killed; nobody else would end us."""
    import ctypes

    library: Any = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):
        library.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    _end_with_parent()
    sys.path.append(sys.argv[1])
    main(int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4] == "1", int(sys.argv[5]), int(sys.argv[6]))
