"""What a command costs before it does anything: `mixkit --help` with all plugins, against an empty Python.

At most 8 times `python -c pass`, and `mixkit ffi list`, which loads them all, at most 6 times. All are measured in turn
in one run, so that whatever else the machine does meets all.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mixkit --version": [str(BIN / "mixkit"), "--version"],
    "mixkit --help": [str(BIN / "mixkit"), "-p", "all", "--help"],
    "mixkit codec check": [str(BIN / "mixkit"), "codec", "check", "--hex"],
    "mixkit ffi list": [str(BIN / "mixkit"), "-p", "all", "ffi", "list"],
}

WANTED = {"mixkit --help": 8, "mixkit ffi list": 6}


def seconds(command: list[str]) -> float:
    """Wall time of one run, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, input=b"01000000", stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - started


ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # As an installation has it: compiled beforehand, whatever this shell says about that.
        ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
        ENVIRONMENT["PYTHONPYCACHEPREFIX"] = folder
        measure()


def measure() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    # The first round compiles, and fills the caches of the file system.
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    base = medians["python -c pass"]
    print(f"{'command':20} {'median ms':>10} {'best ms':>10} {'× python':>10}")
    for name, median in medians.items():
        print(f"{name:20} {median * 1e3:10.1f} {min(times[name][1:]) * 1e3:10.1f} {median / base:10.1f}")
    print()
    for name, most in WANTED.items():
        ratio = medians[name] / base
        met = "ok" if ratio <= most else "MISSED"
        print(f"{name}: {ratio:.1f} × python -c pass, wanted at most {most}: {met}")


if __name__ == "__main__":
    main()
