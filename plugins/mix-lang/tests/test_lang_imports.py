"""What a compilation imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import sys
from mix_lang.compiler import build
build({"main.mix": sys.argv[1]})
print("mix_lang.evaluator" in sys.modules)
"""


@pytest.mark.parametrize(
    ("expression", "evaluated"), [("[-1, -2.5, not true, p.a + 1]", False), ("1 + 2", True)]
)
def test_the_evaluator_is_imported_for_operators_between_constants(expression: str, evaluated: bool) -> None:
    text = f"module main(p: data)\n  cell output = {expression}\nmodule end\n"
    done = subprocess.run([sys.executable, "-c", _SCRIPT, text], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{evaluated}\n", "")
