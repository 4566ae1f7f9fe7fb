"""The pages that show Mix by example: each line behind `> ` has the value that stands below it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mix_lang import library

from mixkit.kernel import Kernel
from mixkit.storage import Place

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["mix-tour.md", "mix-for-others.md"]
_BLOCK = re.compile(r"^```mix\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROMPT = "> "


def _blocks(page: str) -> list[str]:
    return _BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def _read(block: str) -> tuple[str, list[tuple[str, str]]]:
    """The definitions of a block, and its expressions with their values."""
    before, *parts = re.split(r"^> ", block, flags=re.MULTILINE)
    examples = []
    for part in parts:
        lines = part.rstrip().split("\n")
        # An expression goes on in lines that are indented.
        end = next(
            (index for index, line in enumerate(lines) if index and not line.startswith("  ")), len(lines)
        )
        examples.append((" ".join(lines[:end]), " ".join(lines[end:])))
    return before, examples


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel("all", environ={}) as kernel:
        yield kernel


CASES = [(page, number) for page in PAGES for number in range(len(_blocks(page)))]


@pytest.mark.parametrize(("page", "number"), CASES, ids=lambda of: str(of))
def test_each_line_has_its_value(kernel: Kernel, page: str, number: int, tmp_path: Path) -> None:
    block = _blocks(page)[number]
    definitions, examples = _read(block)
    assert examples, f"nothing to look at:\n{block}"
    used = [name for name in library.sources() if re.search(rf"\b{name}\.\w", block)]
    imports = "".join(f"import {name}\n" for name in used if f"import {name}\n" not in definitions)
    pairs = ",\n".join(f"[({example}), ({value})]" for example, value in examples)
    path = tmp_path / "shown.mix"
    path.write_text(f"{imports}{definitions}\ncell output = [\n{pairs}\n]\n")
    answer = kernel.run_sync(kernel.load(path), "shown", None, place=Place("office", "tour", tmp_path / "db"))
    for (example, _), (found, expected) in zip(examples, answer.value, strict=True):
        assert found == expected, example


def test_there_is_much_to_see() -> None:
    assert sum(len(_read(block)[1]) for page in PAGES for block in _blocks(page)) > 120
