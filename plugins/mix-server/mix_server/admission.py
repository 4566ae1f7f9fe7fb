"""How many runs there are at once, how many may wait, and when all have ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from types import TracebackType

from mix_server.errors import Overloaded, Stopping

__all__ = ["Admission"]


class Admission:
    """A bounded number of places, and a bounded queue before them, first come, first served.

        async with admission:
            ...

    Entering raises `Overloaded` when the queue is full or does not move, and `Stopping` after `stop`.

    Args:
        max_runs: places.
        max_waiting: length of the queue.
        max_wait: seconds that anybody stands in it.
        watch: called with `active` and `waiting` whenever one of them has changed.

    Attributes:
        active: runs that have a place.
        stopping: nobody is let in any more.
    """

    __slots__ = ("_empty", "_queue", "_watch", "active", "max_runs", "max_wait", "max_waiting", "stopping")

    def __init__(
        self, max_runs: int, max_waiting: int, max_wait: float, watch: Callable[[int, int], None]
    ) -> None:
        self.max_runs = max_runs
        self.max_waiting = max_waiting
        self.max_wait = max_wait
        self._watch = watch
        self.active = 0
        self.stopping = False
        self._queue: deque[asyncio.Future[None]] = deque()
        self._empty: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Runs that wait for a place."""
        return len(self._queue)

    async def __aenter__(self) -> None:
        if self.stopping:
            raise Stopping
        if self.active < self.max_runs:
            self.active += 1
            self._watch(self.active, 0)
            return
        if len(self._queue) >= self.max_waiting:
            raise Overloaded(f"{len(self._queue)} runs are waiting already")
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._watch(self.active, len(self._queue))
        try:
            async with asyncio.timeout(self.max_wait):
                await turn
        except BaseException as exc:
            if not turn.cancelled():
                # It had been given a place in the same moment.
                self._leave()
            with contextlib.suppress(ValueError):
                self._queue.remove(turn)
            self._watch(self.active, len(self._queue))
            if isinstance(exc, TimeoutError):
                raise Overloaded(f"no run ended within {self.max_wait:g} s") from None
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        # A place goes from hand to hand, so that nobody who comes later can take it in between.
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                self._watch(self.active, len(self._queue))
                return
        self.active -= 1
        self._watch(self.active, 0)
        if self.active == 0 and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def stop(self, seconds: float) -> int:
        """Let nobody in any more and wait for all to leave; answers how many had not after that time."""
        self.stopping = True
        if self.active:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._empty], timeout=seconds)
        return self.active
