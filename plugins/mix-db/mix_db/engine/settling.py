"""Fewer index segments for a database that has been flushed and then left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mix_db.engine.background import worker

__all__ = ["Settling"]

_QUIET: Final = 0.5


class Settling:
    """A job of the background, which settles a database if nothing is committed for half a second behind a flush.

    Args:
        last: number of the last commit.
        settle: does it; it does not raise.
    """

    def __init__(self, last: Callable[[], int], settle: Callable[[], object]) -> None:
        self._last = last
        self._settle = settle
        self._flushed = 0

    def begin(self) -> None:
        """There has been a flush. If it goes on, the next one begins it again."""
        self._flushed = self._last()
        worker.schedule(self, _QUIET)

    def cancel(self) -> None:
        """Not any more; returns when what is under way has ended."""
        worker.cancel(self)

    def maintain(self) -> None:
        if self._last() == self._flushed:
            self._settle()
