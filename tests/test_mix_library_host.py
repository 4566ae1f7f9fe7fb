"""Modules of Mix's library, in the kernel with all plugins: their examples, each in a run of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mix_lang import library
from mix_lang.documentation import Example, Manual, of_library

from mixkit.environment import Env
from mixkit.kernel import Kernel
from mixkit.storage import Place

MODULES = sorted(library.sources())
ONLY_IN_TESTS = {"generated"}
"""Modules whose examples run in blocks of `mixkit test`: test_dev_suite."""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel("all", environ={}) as kernel:
        yield kernel


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ONLY_IN_TESTS])
def test_examples(kernel: Kernel, name: str, tmp_path: Path) -> None:
    path = tmp_path / "example.mix"
    for number, (example, value) in enumerate(_examples(of_library(name))):
        used = [other for other in library.sources() if re.search(rf"\b{other}\.", example + value)]
        imports = "".join(f"import {other}\n" for other in used)
        path.write_text(f"{imports}cell output = [({example}), ({value})]\n")
        place = Place("office", f"app{number}", tmp_path / str(number))
        found, expected = kernel.run_sync(
            kernel.load(path), "example", None, env=Env(workspace="office", app="notes"), place=place
        ).value
        assert (found, type(found)) == (expected, type(expected)), example


def _examples(manual: Manual) -> list[Example]:
    return [example for each in (manual.module, *manual.members.values()) for example in each.examples]


@pytest.mark.parametrize("name", MODULES)
def test_everything_is_described_with_an_example(name: str) -> None:
    manual = of_library(name)
    for found in (manual.module, *manual.members.values()):
        assert found.text, f"{found.name}: no text above it"
        assert found.examples or found.kind == "type", f"{found.name}: no example"
        assert all(example.value for example in found.examples), f"{found.name}: an example without its value"
