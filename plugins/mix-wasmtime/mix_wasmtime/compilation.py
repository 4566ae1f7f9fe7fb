"""Compiling under limits: what the child of `compiler.py` is given, and what becomes of its end."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from mix_wasmtime import compiler
from mix_wasmtime.settings import WasmtimeSettings
from mixkit.errors import EngineError
from mixkit.vm.wasm import WasmModule

__all__ = ["compile_apart", "invalid", "is_small"]

_SMALL: Final = 2048
"""Bytes of code, and of everything else that is compiled, which are done in milliseconds whatever they say."""
_SMALL_LOCALS: Final = 500
_SMALL_SIGNATURE: Final = 16

_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
"""Variables without which the child may not start, or would name files otherwise."""

_TYPES, _CODE, _DATA = 1, 10, 11

_NO_HEAP: Final = "gc types are disallowed but found type which requires gc"
"""How Wasmtime says that a type needs a heap of its own."""


def is_small(module: WasmModule) -> bool:
    """Whether the module is compiled sooner than a child is started, even if it was made to take long.

    What stands in few bytes and is much to compile is counted: locals, and values that a block or a call has by
    its type.
    """
    if len(module.code) > 64 * _SMALL:
        return False
    size = sum(end - begin for number, _, begin, end in module.sections if number not in (0, _DATA))
    if size > _SMALL:
        return False
    return _has_small_types(module) and _has_few_locals(module)


def _has_small_types(module: WasmModule) -> bool:
    reader = module.reader(_TYPES)
    types = [] if reader is None else reader.vector("types", reader.functype)
    return all(max(len(kind.params), len(kind.results)) <= _SMALL_SIGNATURE for kind in types)


def _has_few_locals(module: WasmModule) -> bool:
    reader = module.reader(_CODE)
    if reader is None:
        return True
    total = 0
    for _ in range(reader.u32()):
        size = reader.u32()
        end = reader.at + size
        for _ in range(reader.u32()):
            total += reader.u32()
            reader.take(1)
        if total > _SMALL_LOCALS or end < reader.at:
            return False
        reader.take(end - reader.at)
    return True


def compile_apart(code: bytes, stack: int, exceptions: bool, settings: WasmtimeSettings) -> bytes:
    """The machine code of a module, made in a child that is stopped when it takes too long or too much.

    Raises:
        EngineError: not valid, or a limit was reached; the message names the setting.
    """
    import wasmtime

    seconds, memory = settings.compile_time, settings.compile_memory
    child = [
        sys.executable,
        "-I",
        str(Path(compiler.__file__)),
        str(Path(wasmtime.__file__).parent.parent),
        *map(str, (stack, int(settings.optimize), int(exceptions), math.ceil(seconds), memory)),
    ]
    try:
        # `run` kills and reaps the child when its time is over, and when this thread is interrupted.
        done = subprocess.run(
            child, input=code, env=_environment(), capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise _too_long(seconds) from None
    except OSError as exc:
        raise EngineError(
            f"no process can be started to compile in: {exc.strerror}; free some, or set "
            "settings.wasmtime.compile_time to 0 to compile in this one, without limits"
        ) from None
    kind, answer = done.stdout[:1], done.stdout[1:]
    if done.returncode == 0 and kind == compiler.MACHINE_CODE:
        return answer
    if done.returncode == 0 and kind == compiler.INVALID:
        raise invalid(answer.decode("utf-8", "replace"))
    if done.returncode == 0 and kind == compiler.TOO_LARGE:
        raise EngineError(
            f"the Wasm module becomes {answer.decode()} bytes of machine code, expected at most "
            f"{compiler.MOST_CODE}; make it smaller"
        )
    if done.returncode == -signal.SIGXCPU:
        raise _too_long(seconds)
    words = done.stderr.decode("utf-8", "replace").strip()
    # Killed from outside is the work of a system that runs out of memory.
    if kind == compiler.NO_MEMORY or "memory" in words.lower() or done.returncode == -signal.SIGKILL:
        raise EngineError(
            f"compiling the Wasm module takes more than {memory} bytes of memory; make its functions smaller, or "
            "raise settings.wasmtime.compile_memory in the profile"
        )
    raise EngineError(f"the compiler ended with status {done.returncode}: {words[-500:] or 'no message'}")


def _environment() -> dict[str, str]:
    """What the child needs to start: the server's variables hold secrets, and the code is anybody's."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def invalid(message: str) -> EngineError:
    """The error for code that Wasmtime refuses, from its words."""
    text = ": ".join(line.strip() for line in message.splitlines() if line.strip())
    text = text.replace(_NO_HEAP, "external references (externref) are switched off here")
    return EngineError(f"the Wasm module is not valid: {text}")


def _too_long(seconds: float) -> EngineError:
    return EngineError(
        f"compiling the Wasm module takes more than {seconds:g} seconds; make its functions smaller, or raise "
        "settings.wasmtime.compile_time in the profile"
    )
