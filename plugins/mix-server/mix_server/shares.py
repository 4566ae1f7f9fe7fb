"""What one caller may have of what all have together in a process, so that nobody keeps all others from theirs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["ASKING", "Shares", "share_of"]

ASKING: Final[ContextVar[str | None]] = ContextVar("ASKING", default=None)
"""Who asks for what is being done, as `rates.bucket_of` names callers. None is the operator or the server itself, and
may have all."""


def share_of(most: int, part: float) -> int:
    """How many of so many one caller may have."""
    return max(1, int(most * part))


class Shares:
    """How many each caller has.

    Args:
        most: that all may have together.
        part: of them that one caller may have.

    Attributes:
        each: so many are that.
    """

    __slots__ = ("_of", "each")

    def __init__(self, most: int, part: float) -> None:
        self.each = share_of(most, part)
        self._of: dict[str, int] = {}

    def full(self, whose: str | None) -> bool:
        """Whether that caller has all that it may have."""
        return whose is not None and self._of.get(whose, 0) >= self.each

    def take(self, whose: str | None) -> None:
        """Count one more."""
        if whose is not None:
            self._of[whose] = self._of.get(whose, 0) + 1

    def give(self, whose: str | None) -> None:
        """Count one less."""
        if whose is None:
            return
        if self._of[whose] > 1:
            self._of[whose] -= 1
        else:
            del self._of[whose]
