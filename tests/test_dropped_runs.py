"""The short form of the soak of runs that are dropped; the long one is `python benchmarks/soak_dropped.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parent.parent / "benchmarks" / "soak_dropped.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--drops", "2000", "--requests", "0", "--stops", "0"), id="in a process"),
        pytest.param(("--drops", "0", "--requests", "700", "--stops", "1"), id="by a server"),
    ],
)
def test_runs_dropped_at_random_moments_leave_nothing(options: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK), *options], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
