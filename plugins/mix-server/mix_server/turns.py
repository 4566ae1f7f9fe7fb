"""Who is next: callers in turn, and of each caller what came first."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Turns"]


class Turns:
    """Those that wait. Whoever has many of them waiting has them between those of others, and not before them."""

    __slots__ = ("_of", "_waiting")

    def __init__(self) -> None:
        # The first caller is the next.
        self._of: OrderedDict[str | None, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, whose: str | None, turn: asyncio.Future[None]) -> None:
        """One more of a caller's."""
        self._of.setdefault(whose, deque()).append(turn)
        self._waiting += 1

    def next(self) -> asyncio.Future[None]:
        """Take the next one out. There must be one."""
        whose, turns = next(iter(self._of.items()))
        turn = turns.popleft()
        self._waiting -= 1
        if turns:
            self._of.move_to_end(whose)
        else:
            del self._of[whose]
        return turn

    def remove(self, whose: str | None, turn: asyncio.Future[None]) -> None:
        """Take one out, unless it was taken out before."""
        turns = self._of.get(whose)
        if turns is not None and turn in turns:
            turns.remove(turn)
            self._waiting -= 1
            if not turns:
                del self._of[whose]
