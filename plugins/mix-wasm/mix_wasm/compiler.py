"""The C compiler: Zig's, from its PyPI package, so that one pip command brings all of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mix_wasm.errors import BuildError
from mixkit.contracts import Check
from mixkit.disk_cache import default_directory

__all__ = ["REMEDY", "SLOW", "check", "compile", "has_libc", "make_libc", "sdk"]

_log = logging.getLogger("mixkit.wasm")

REMEDY = "pip install 'mix-wasm[build]'"
"""What brings the compiler."""

SLOW = "building the C library, which is kept: this takes half a minute, once"
"""What is said before the very first build of a machine."""

_TIMEOUT = 600
"""Seconds. The very first build of a machine also builds libc, which takes half a minute on a slow one."""
_MAX_OUTPUT = 20_000

_STACK = 1024 * 1024
"""Bytes for what C keeps on its stack in memory: interpreters and parsers recurse deeply."""

_COMMON = (
    *("-target", "wasm32-wasi", "-mexec-model=reactor", f"-Wl,-z,stack-size={_STACK}"),
    # setjmp and longjmp stand on exceptions, in the form that became part of WebAssembly.
    *("-mcpu=lime1+exception_handling", "-mllvm", "-wasm-enable-sjlj", "-mllvm", "-wasm-use-legacy-eh=false"),
    # There are no signals and no processor clock; interpreters only name them, and libc has stand-ins.
    *("-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_PROCESS_CLOCKS"),
    *("-lwasi-emulated-signal", "-lwasi-emulated-process-clocks"),
    # Zig switches assert() off together with its own checks when it optimises.
    *("-std=gnu11", "-Wall", "-Wextra", "-UNDEBUG"),
)
_RELEASE = ("-O2", "-g0", "-s")
_DEBUG = ("-O1", "-g", "-fsanitize=undefined", "-fsanitize-trap=undefined")

_KEPT = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME")
"""Variables that the compiler gets; others (CPATH, CFLAGS …) would make the output depend on who builds."""


def sdk() -> Path:
    """The folder of the C library: inside the installed package, or `sdk/c` of a checkout.

    Raises:
        BuildError: it is in neither place.
    """
    here = Path(__file__).resolve()
    places = [here.parent / "_sdk", here.parents[3] / "sdk" / "c"]
    for place in places:
        if (place / "mix.h").is_file():
            return place
    raise BuildError(f"expected mix.h in {' or '.join(map(str, places))}, found none: install mix-wasm again")


def check() -> Check:
    """Whether guests can be built here, for `mixkit doctor`."""
    if importlib.util.find_spec("ziglang") is None:
        return Check(
            "wasm.compiler", "ok", f"no C compiler; guests in C cannot be built here. {REMEDY} adds it"
        )
    return Check("wasm.compiler", "ok", f"ziglang {importlib.metadata.version('ziglang')}")


def compile(folder: Path, sources: Sequence[str], out: Path, *, debug: bool = False) -> None:
    """Compile and link C files of the folder, with the library, into the Wasm module `out`.

    The same sources, library and compiler version give the same bytes, wherever the folder lies.

    Raises:
        BuildError: no compiler, or it failed; `.output` is what it said.
    """
    library = sdk()
    flags = _flags(debug)
    make_libc(debug=debug)
    done = _zig(
        (
            *flags,
            *(f"-ffile-prefix-map={library}=mix-sdk", "-fdebug-compilation-dir=.", f"-I{library}"),
            *(f"./{source}" for source in sources),
            *(str(source) for source in sorted(library.glob("*.c"))),
            *("-o", str(out)),
        ),
        folder,
    )
    output = done.stderr.decode("utf-8", "replace").strip()[:_MAX_OUTPUT]
    if done.returncode != 0 or not out.is_file():
        raise BuildError(f"the C compiler failed with exit status {done.returncode}", output)
    for line in output.splitlines():
        _log.warning("%s", line)


def has_libc(*, debug: bool = False) -> bool:
    """Whether the C library was built on this machine, which takes half a minute once.

    Raises:
        BuildError: no compiler.
    """
    return _marker(_flags(debug)).exists()


def make_libc(*, debug: bool = False) -> None:
    """Have Zig build its libc, which it keeps, from the root folder; nothing if that was done.

    Its debug information names the folder in which it was first built; that of some guest would end up in all
    the others.

    Raises:
        BuildError: no compiler.
    """
    if has_libc(debug=debug):
        return
    flags = _flags(debug)
    _log.warning(SLOW)
    with tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch) / "empty.c"
        empty.write_text("")
        done = _zig((*flags, str(empty), "-o", str(empty.with_suffix(".wasm"))), Path("/"))
    if done.returncode == 0:
        _marker(flags).touch()


def _flags(debug: bool) -> tuple[str, ...]:
    return (*_COMMON, *(_DEBUG if debug else _RELEASE))


def _marker(flags: Sequence[str]) -> Path:
    """The file that says that libc was built with those flags."""
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError(f"the C compiler is missing; add it with: {REMEDY}")
    # Another installation of the same version builds its own.
    text = repr((importlib.metadata.version("ziglang"), sys.prefix, flags))
    return _cache() / f"libc-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _zig(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            (sys.executable, "-m", "ziglang", "cc", *arguments),
            cwd=folder, env=_environment(), capture_output=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BuildError(f"the C compiler did not finish within {_TIMEOUT} s") from None


def _cache() -> Path:
    return default_directory("zig")


def _environment() -> dict[str, str]:
    """What the compiler sees. Its caches, which are content-addressed, lie in a folder of ours."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    cache = str(_cache())
    return {**kept, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
