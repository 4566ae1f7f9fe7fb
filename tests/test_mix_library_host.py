"""Modules of Mix's library that stand on FFIs, in the kernel with all plugins: their examples, each in a run of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mix_lang import library

from mixkit.kernel import Kernel
from mixkit.storage import Place

MODULES = ["db", "query"]
_DEFINED = re.compile(r"^  (?:foreign )?(?:def|case) (\w+)", re.MULTILINE)


def examples(text: str) -> Iterator[tuple[str, str]]:
    """The expressions behind `/// > `, and the values below them."""
    lines = [line.strip() for line in text.split("\n")]
    for index, line in enumerate(lines):
        if line.startswith("/// > "):
            value = []
            for below in lines[index + 1 :]:
                if not below.startswith("/// ") or below.startswith("/// > "):
                    break
                value.append(below[4:])
            yield line[6:], " ".join(value)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel("all", environ={}) as kernel:
        yield kernel


@pytest.mark.parametrize("name", MODULES)
def test_examples(kernel: Kernel, name: str, tmp_path: Path) -> None:
    text = library.sources()[name]
    path = tmp_path / "example.mix"
    for number, (example, value) in enumerate(examples(text)):
        used = [other for other in library.sources() if re.search(rf"\b{other}\.", example + value)]
        imports = "".join(f"import {other}\n" for other in used)
        path.write_text(f"{imports}cell output = [({example}), ({value})]\n")
        place = Place("office", f"app{number}", tmp_path / str(number))
        found, expected = kernel.run_sync(kernel.load(path), "example", None, place=place).value
        assert (found, type(found)) == (expected, type(expected)), example


@pytest.mark.parametrize("name", MODULES)
def test_every_function_has_an_example(name: str) -> None:
    text = library.sources()[name]
    shown = {name for example, value in examples(text) for name in re.findall(r"\w+", example)}
    documented = re.findall(r"///[^\n]*\n  (?:foreign )?(?:def|case) (\w+)", text)
    assert documented and set(documented) <= shown
    internal = {"filterQuery", "mapQuery", "likePattern", "prefixPattern", "suffixPattern"}
    assert set(_DEFINED.findall(text)) - set(documented) <= internal
