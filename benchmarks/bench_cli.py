"""What a command costs before it does anything, with all plugins, against an empty Python.

    python benchmarks/bench_cli.py [--beside COMMIT]

`mixkit --help` at most 8 times `python -c pass`, and `mixkit ffi list`, which loads all plugins, at most 6 times.
All are measured in turn in one run, so that whatever else the machine does meets all. Wall time is the median,
processor time the best, which a busy machine disturbs least; the ratios are of processor time.

`--beside` measures an earlier commit of this repository in the same turns.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path

from wasmtime import wat2wasm

ROUNDS = 15
ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MIXKIT = str(BIN / "mixkit")
GUEST = """(module (memory (export "memory") 1)
  (func (export "mix_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "mix_call") (param i32 i32) (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  (@custom "mix.manifest" "{\\"version\\": 1, \\"entries\\": {\\"echo\\": {}}}"))"""
EMPTY = "python -c pass"
COMMANDS = {
    EMPTY: [sys.executable, "-c", "pass"],
    "mixkit --version": [MIXKIT, "--version"],
    "mixkit --help": [MIXKIT, "-p", "all", "--help"],
    "mixkit codec check": [MIXKIT, "codec", "check", "--hex"],
    "mixkit ffi list": [MIXKIT, "-p", "all", "ffi", "list"],
    "mixkit run": [MIXKIT, "run", "echo.wasm", "echo", "{}"],
}
WANTED = {"mixkit --help": 8, "mixkit ffi list": 6}


def seconds(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor time of one run, which must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        command, check=True, input=b"01000000", stdout=subprocess.DEVNULL, cwd=folder, env=environment
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def checked_out(commit: str, folder: Path) -> list[str]:
    """The commit in a folder, with its C modules built; answers what PYTHONPATH has to have for it."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    packages = [folder, *(folder / "plugins").iterdir()]
    for package in packages:
        if (package / "setup.py").is_file():
            build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
            subprocess.run(build, cwd=package, check=True, stdout=subprocess.DEVNULL)
    return [str(package) for package in packages]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--beside", metavar="COMMIT", help="measure that commit as well")
    commit = parser.parse_args().beside
    # As an installation has it: compiled beforehand, whatever this shell says about that.
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MIXKIT_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "echo.wasm").write_bytes(wat2wasm(GUEST))
        environments = {"this": {**mine, "PYTHONPYCACHEPREFIX": str(folder / "this")}}
        if commit is not None:
            path = os.pathsep.join(checked_out(commit, folder / "commit"))
            environments[commit] = {
                **mine, "PYTHONPYCACHEPREFIX": str(folder / "that"), "PYTHONPATH": path,
            }  # fmt: skip
        measure(folder, environments)


def measure(folder: Path, environments: dict[str, dict[str, str]]) -> None:
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            for which, environment in environments.items():
                times.setdefault((which, name), []).append(seconds(command, folder, environment))
    for which in environments:
        # The first round compiles, and fills the caches of the file system.
        walls = {name: statistics.median(wall for wall, _ in times[which, name][1:]) for name in COMMANDS}
        best = {name: min(processor for _, processor in times[which, name][1:]) for name in COMMANDS}
        print(f"{which:20} {'wall ms':>10} {'processor':>10} {'× python':>10}")
        for name in COMMANDS:
            ratio = best[name] / best[EMPTY]
            wanted = WANTED.get(name)
            met = "" if wanted is None else f"  wanted {wanted}: {'ok' if ratio <= wanted else 'MISSED'}"
            print(f"{name:20} {walls[name] * 1e3:10.1f} {best[name] * 1e3:10.1f} {ratio:10.1f}{met}")
        print()


if __name__ == "__main__":
    main()
