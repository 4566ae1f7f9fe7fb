"""Runs tests over the C extensions built with AddressSanitizer and UBSan, in a folder of their own.

    python scripts/sanitize.py [NAME…]        mix-wasmtime, mix-wasm2c, mix-db, mixkit; all of them unless named
    MIXKIT_SOAK_SECONDS=3600 python scripts/sanitize.py mix-wasmtime

Needs a system C compiler with the sanitizers (GCC or Clang). What they find ends the tests with a report on stderr.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTED = {
    "mix-wasmtime": (
        "plugins/mix-wasmtime",
        "mix_wasmtime",
        ["plugins/mix-wasmtime/tests", "tests/test_suspended_runs.py", "tests/test_dropped_runs.py"],
    ),
    "mix-wasm2c": ("plugins/mix-wasm2c", "mix_wasm2c", ["plugins/mix-wasm2c/tests"]),
    "mix-db": (
        "plugins/mix-db",
        "mix_db",
        [
            f"plugins/mix-db/tests/test_db_{name}.py"
            for name in ("version", "public", "index", "segments", "records", "columns", "files", "room")
        ],
    ),
    "mixkit": (
        "",
        "mixkit",
        ["tests/test_codec.py", "tests/test_forms.py", "tests/test_rows.py", "tests/test_value.py"],
    ),
}
"""What is built: its folder and package, and the tests that go through its C code."""

# They measure memory, of which the sanitizer takes as much again.
LEFT_OUT = "not no_memory and not too_much_memory"
SANITIZERS = "-fsanitize=address,undefined"
FLAGS = f"{SANITIZERS} -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"


def build(folder: Path, package: str, target: Path) -> None:
    """The package in `target`, its extensions with the sanitizers."""
    with tempfile.TemporaryDirectory(prefix="mixkit-sanitize-") as scratch:
        subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", target, "--build-temp", scratch],
            cwd=folder,
            env={**os.environ, "CFLAGS": FLAGS, "LDFLAGS": SANITIZERS},
            check=True,
        )
    shutil.copytree(
        folder / package,
        target / package,
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
        dirs_exist_ok=True,
    )


def sanitizers() -> list[str]:
    """Paths of the compiler's sanitizer libraries.

    Raises:
        FileNotFoundError: there is no compiler, or it has none.
    """
    compiler = os.environ.get("CC", "cc")
    found = []
    for name in ("asan", "ubsan"):
        command = [compiler, f"-print-file-name=lib{name}.so"]
        path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        # A name that comes back as it was is not there.
        if not Path(path).is_absolute():
            raise FileNotFoundError(f"{compiler} has no lib{name}.so: install GCC's sanitizers, or set CC")
        found.append(path)
    return found


def environment(target: Path) -> dict[str, str]:
    """In which Python loads what was built, and the sanitizers before everything else."""
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(sanitizers()),
        "PYTHONPATH": str(target),
        # Python's own allocator would hide what happens to objects; and Python frees little at its end.
        "PYTHONMALLOC": "malloc",
        # Wasmtime handles the faults of guests by itself.
        "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:handle_sigill=0:handle_sigfpe=0:"
        "allocator_may_return_null=1:quarantine_size_mb=8",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def main(names: list[str]) -> int:
    """Build and test what is named; the exit status of the first tests that fail."""
    unknown = [name for name in names if name not in TESTED]
    if unknown:
        print(f"expected {', '.join(TESTED)}, found {unknown[0]}", file=sys.stderr)
        return 2
    try:
        sanitizers()
    except FileNotFoundError as exc:
        print(f"sanitize: {exc}", file=sys.stderr)
        return 2
    for name in names or TESTED:
        folder, package, tests = TESTED[name]
        with tempfile.TemporaryDirectory(prefix="mixkit-sanitized-") as target:
            print(f"== {name}", flush=True)
            build(ROOT / folder, package, Path(target))
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-n0",
                "-p",
                "no:cacheprovider",
                "-k",
                LEFT_OUT,
                *tests,
            ]
            status = subprocess.run(command, cwd=ROOT, env=environment(Path(target)), check=False).returncode
            if status != 0:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
