"""How long a query may still work, and whether it is still wanted."""

from __future__ import annotations

import time

from mixkit.errors import QueryCancelled, QueryTimeout

__all__ = ["Clock"]


class Clock:
    """Counts the seconds in which a query works. `cancel` may be called from any thread, the rest from one.

    Args:
        seconds: how long the query may work; None for any length of time.
    """

    __slots__ = ("_cancelled", "_end", "_left", "_seconds", "_start")

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._left = float("inf") if seconds is None else seconds
        self._start = time.perf_counter()
        self._end = self._start + self._left
        self._cancelled = ""

    def go(self) -> None:
        """Work begins, or goes on."""
        self._start = time.perf_counter()
        self._end = self._start + self._left

    def rest(self) -> None:
        """Work pauses, and time that passes does not count."""
        self._left = self._end - time.perf_counter()

    def tick(self) -> None:
        """Called at least every millisecond or so of work.

        Raises:
            QueryTimeout: the time is used up.
            QueryCancelled: `cancel` was called.
        """
        if self._cancelled:
            raise QueryCancelled(self._cancelled)
        if time.perf_counter() >= self._end:
            raise QueryTimeout(self._seconds or 0.0, "narrow its filter, or give it more time")

    def cancel(self, why: str) -> None:
        """Make the next `tick` raise `QueryCancelled`."""
        self._cancelled = self._cancelled or why
