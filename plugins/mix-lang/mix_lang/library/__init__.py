"""Modules of the standard library, written in Mix over the built-ins of the machine.

`dataArray` and its like are the modules that they are named after, with `data` for all that is of any type.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

__all__ = ["TWINS", "sources", "twin"]

TWINS: Final = {f"data{name.capitalize()}": name for name in ("array", "map", "option", "result", "stream")}
"""Modules that are limited to data, to those that they are made of."""

_HEAD: Final = re.compile(r"^  (?:foreign )?def \w+(?:\(\n(?: {4}.*\n)*  \))?.*$", re.MULTILINE)
_VARIABLE: Final = re.compile(r"\b[A-Z]\b")


@cache
def sources() -> dict[str, str]:
    """Names of the modules to their text."""
    found = {}
    for entry in resources.files(__package__).iterdir():
        if entry.name.endswith(".mix"):
            found[entry.name.removesuffix(".mix")] = entry.read_text(encoding="utf-8")
    return found | {name: _limited(name, of, found[of]) for name, of in TWINS.items()}


def twin(name: str, text: str) -> str:
    """A text about a module, with the name of its twin in its place."""
    return re.sub(rf'\b{TWINS[name]}\.(?=[\w{{@]|" \+)', f"{name}.", text)


def _limited(name: str, of: str, text: str) -> str:
    """The text of a module for data alone, line by line: its heads have `data` for the variables of types."""
    text = _HEAD.sub(lambda head: _VARIABLE.sub("data", head.group()), twin(name, text))
    text = text.replace(f"module {of}\n", f"module {name}\n", 1)
    return f"/// As `{of}`, of data alone. {text.removeprefix('/// ')}"
