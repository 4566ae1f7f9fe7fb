"""Builds the machine: `mixrt.wasm` for the engines, and a program of its own for its tests.

    python mixrt/build.py [--check]      writes plugins/mix-rt/mix_rt/mixrt.wasm, or says whether that is up to date
    python mixrt/build.py --native OUT   the same machine as a program that is spoken to over stdin and stdout

Its mathematics are those of the C library that Zig brings for WASI, of which nothing is linked that would be
imported. The module has no imports, and is the same byte for byte wherever it is built, with the Zig compiler of
PyPI in the version below. The native program has the address and undefined-behaviour sanitizers, unless
MIXRT_SANITIZERS is empty; CC is its compiler.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WASM = HERE.parent / "plugins" / "mix-rt" / "mix_rt" / "mixrt.wasm"
ZIG = "0.17.1"
STACK = 256 * 1024
"""Bytes for what C keeps in memory: comparing and encoding values of 256 levels recurses."""

WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wno-implicit-fallthrough")


def sources() -> list[str]:
    return sorted(path.name for path in HERE.glob("*.c"))


def build_wasm(out: Path) -> None:
    """Compile and link `mixrt.wasm`. SystemExit if the compiler is missing, of another version, or fails."""
    if importlib.util.find_spec("ziglang") is None:
        sys.exit(f"the compiler is missing: pip install ziglang=={ZIG}")
    if importlib.metadata.version("ziglang") != ZIG:
        sys.exit(f"expected ziglang {ZIG}, found {importlib.metadata.version('ziglang')}")
    subprocess.run(
        [
            *(sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-mcpu=lime1"),
            *(*WARNINGS, "-O2", "-g0", "-s", "-DNDEBUG", "-fno-sanitize=all", "-ffile-prefix-map=.=mixrt"),
            f"-Wl,-z,stack-size={STACK}",
            *(name for name in sources() if name != "native.c"),
            *("-o", str(out)),
        ],
        cwd=HERE,
        check=True,
    )  # fmt: skip


def build_native(out: Path) -> None:
    """Compile the machine as a program for this computer."""
    sanitizers = os.environ.get("MIXRT_SANITIZERS", "address,undefined")
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"] if sanitizers else ["-O2"]
    command = [os.environ.get("CC", "cc"), *WARNINGS, "-O1", "-g", *flags, *sources(), "-lm", "-o", str(out)]
    subprocess.run(command, cwd=HERE, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if mixrt.wasm is out of date"
    )
    parser.add_argument("--native", type=Path, metavar="OUT", help="build the program for tests instead")
    arguments = parser.parse_args()
    if arguments.native:
        build_native(arguments.native.resolve())
    elif arguments.check:
        with tempfile.TemporaryDirectory() as scratch:
            build_wasm(Path(scratch) / "mixrt.wasm")
            if (Path(scratch) / "mixrt.wasm").read_bytes() != WASM.read_bytes():
                sys.exit(f"{WASM.name} is out of date: run python mixrt/build.py")
    else:
        build_wasm(WASM)


if __name__ == "__main__":
    main()
