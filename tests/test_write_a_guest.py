"""docs/write-a-guest.md does what it says: each guest is built, each command run, each fragment compiled."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mix_wasm.build import build

from mixkit import Kernel

GUIDE = (Path(__file__).parents[1] / "docs" / "write-a-guest.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(c|c fragment|console)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
FRAGMENTS = [text for kind, text in BLOCKS if kind == "c fragment"]
PARAMS = {"address": {"city": "Bern"}, "price": 2.5, "tags": ["a", "b"]}
ANSWERS = [True, {"total": 3, "place": {"city": "Bern"}}, 2 * len("<a large text>")]

pytestmark = pytest.mark.slow


def test_guests_and_commands(tmp_path: Path) -> None:
    commands = 0
    for kind, text in BLOCKS:
        if kind == "c":
            (tmp_path / "agent.c").write_text(text, encoding="utf-8")
        elif kind == "console":
            command, _, expected = text.partition("\n")
            program, *arguments = shlex.split(command.removeprefix("$ "))
            assert program == "mixkit"
            done = subprocess.run(
                [sys.executable, "-m", "mixkit", "--profile", "wasi", *arguments],
                cwd=tmp_path,
                env={name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            assert (done.returncode, done.stdout) == (0, expected), done.stderr
            commands += 1
    assert commands == 2


@pytest.mark.parametrize(("text", "answer"), list(zip(FRAGMENTS, ANSWERS, strict=True)))
def test_fragment(mixkit_kernel: Kernel, tmp_path: Path, text: str, answer: object) -> None:
    source = tmp_path / "fragment.c"
    source.write_text(
        f'#include "mix.h"\nstatic mix_value try(mix_value params) {{\n{text}}}\nMIX_ENTRY("try", try)\n',
        encoding="utf-8",
    )
    value = mixkit_kernel.run_sync(build(source), "try", PARAMS).value
    if isinstance(answer, dict):
        assert value.pop("state").arg == PARAMS["price"]
    assert value == answer
