"""Checks for `mixkit doctor`."""

from __future__ import annotations

from typing import Any

from mix_lang.kept import MixCompiler
from mixkit.contracts import Check
from mixkit.errors import MixError

__all__ = ["checks"]


def checks(kernel: Any) -> list[Check]:
    """Whether compiled programs can be kept on disk."""
    kept = MixCompiler(kernel.settings("lang")).cache
    if kept is None:
        return [Check("lang.cache", "ok", "compiled programs are not kept on disk (cache_dir = off)")]
    try:
        kept.check()
    except (MixError, OSError) as exc:
        return [
            Check(
                "lang.cache",
                "warning",
                f"compiled programs are not kept, every start compiles again: {exc}",
                "set settings.lang.cache_dir to a directory that only this user can write, or to off",
            )
        ]
    return [Check("lang.cache", "ok", f"compiled programs are kept in {kept.directory}")]
