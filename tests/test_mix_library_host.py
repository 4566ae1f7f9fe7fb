"""Modules of Mix's library, in the kernel with all plugins: their examples, each in a run of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mix_lang import library

from mixkit.environment import Env
from mixkit.kernel import Kernel
from mixkit.storage import Place

MODULES = [
    "db", "query", "http", "logging", "env", "crypto", "secrets", "file", "websocket", "mqtt", "duckdb", "wasm", "binary", "agent", "messaging",
    "regex", "calendar", "csv", "random", "util", "xml", "mime", "co", "stream",
    "number", "option", "result", "array", "string",
]  # fmt: skip
_DEFINED = re.compile(r"  (?:foreign )?(?:def|case) (\w+)")


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
        found, expected = kernel.run_sync(
            kernel.load(path), "example", None, env=Env(workspace="office", app="notes"), place=place
        ).value
        assert (found, type(found)) == (expected, type(expected)), example


@pytest.mark.parametrize("name", MODULES)
def test_every_function_has_an_example(name: str) -> None:
    """But for what only the compiler calls."""
    internal = {"filterQuery", "mapQuery", "likePattern", "prefixPattern", "suffixPattern"}
    documented = False
    for line in library.sources()[name].split("\n"):
        found = _DEFINED.match(line)
        if line.startswith("  ///"):
            documented = documented or line.startswith("  /// > ")
        elif found is not None:
            assert documented or found.group(1) in internal, found.group(1)
            documented = False
