"""What each code of a diagnostic is about: the sections of `codes.md`."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

__all__ = ["codes"]


@cache
def codes() -> dict[str, str]:
    """Code to its text; the first paragraph is what it is about, the others why, and what to write."""
    text = resources.files("mix_lang").joinpath("codes.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (M\d{4})$", text, flags=re.MULTILINE)[1:]
    return {code: body.strip() for code, body in zip(parts[::2], parts[1::2], strict=True)}
