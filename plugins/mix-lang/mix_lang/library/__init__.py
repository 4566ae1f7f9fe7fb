"""Modules of the standard library, written in Mix over the built-ins of the machine."""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["sources"]


@cache
def sources() -> dict[str, str]:
    """Names of the modules to their text."""
    found = {}
    for entry in resources.files(__package__).iterdir():
        if entry.name.endswith(".mix"):
            found[entry.name.removesuffix(".mix")] = entry.read_text(encoding="utf-8")
    return found
