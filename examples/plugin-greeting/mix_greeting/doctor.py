"""Checks for `mixkit doctor`."""

from __future__ import annotations

from mix_greeting.settings import GreetingSettings
from mixkit.contracts import Check

__all__ = ["checks"]


def checks(settings: GreetingSettings) -> list[Check]:
    """Whether the words can be said."""
    if settings.greeting.isprintable():
        return [Check("words", "ok", f"people are greeted with {settings.greeting!r}")]
    return [
        Check(
            "words",
            "error",
            f"expected printable text, found {settings.greeting!r}",
            "set settings.greeting.greeting",
        )
    ]
