"""Statements whose value nothing uses: an expression without an effect, or a call with too few arguments."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.walk import every

__all__ = ["is_unused"]

_EFFECTS: Final = (s.Call, s.Try, s.Do, s.Let)


def is_unused(value: s.Expr) -> bool:
    """Whether an expression has surely no effect. What is made in it is not run."""
    if isinstance(value, s.Lambda | s.Action):
        return True
    return not any(isinstance(node, _EFFECTS) for node in every(value))
