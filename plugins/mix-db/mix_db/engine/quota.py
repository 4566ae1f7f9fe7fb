"""How much a database may take where it is kept."""

from __future__ import annotations

from collections.abc import Callable

from mix_db.versions.state import State
from mixkit.errors import QuotaExceeded

__all__ = ["Quota"]


class Quota:
    """Knows what a database takes without a look at its files at each save.

    They are looked at when others are in force: after a flush, a merge or a compaction, by whomever. What is in the
    write log is counted as it comes.

    Args:
        most: bytes that it may take; 0 for no end.
        measure: answers the bytes of the files in force, but for the write log.
    """

    def __init__(self, most: int, measure: Callable[[], int]) -> None:
        self.most = most
        self._measure = measure
        self._measured: tuple[object, object] = None, None
        self._size = 0

    def used(self, state: State) -> int:
        """Bytes that are taken in that state."""
        view = state.view
        if self._measured[0] is not view.log or self._measured[1] is not view.segments:
            self._size = self._measure()
            self._measured = view.log, view.segments
        size = self._size
        for tail in state.tails:
            size += tail.size
        return size

    def check(self, state: State, more: int) -> None:
        """Raise `QuotaExceeded` if so many bytes more are too many."""
        if self.most and (used := self.used(state)) + more > self.most:
            raise QuotaExceeded(used, more, self.most, "settings.db.quota")
