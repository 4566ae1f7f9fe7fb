"""The names of the library, which `library_names.toml` lists: each is there, or is listed as missing and is not."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from mix_lang import library
from mix_lang.documentation import of_library

LISTED: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("library_names.toml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", sorted(LISTED))
def test_names(name: str) -> None:
    entry = LISTED[name]
    names = entry.get("names", "").split()
    assert len(names) == len(set(names)), "listed twice"
    if entry.get("missing") is True:
        assert name not in library.sources(), f"there is a module {name}: take `missing` out of its list"
        return
    assert name in library.sources(), f"there is no module {name}"
    found = of_library(name).members
    missing = entry.get("missing", "").split()
    assert set(missing) <= set(names)
    assert [each for each in missing if each in found] == [], "listed as missing, and there"
    assert [each for each in names if each not in found and each not in missing] == [], (
        "listed, and not there"
    )


def test_every_module_is_listed() -> None:
    assert set(library.sources()) <= set(LISTED)
