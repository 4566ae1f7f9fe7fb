"""How many may be at something at once, whatever threads and event loops they are in."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections import deque

__all__ = ["Gate"]


class Gate:
    """Lets a few in; others wait in turn. After a fork nobody is in, as their threads are not there."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._waiting: deque[concurrent.futures.Future[None]] = deque()

    async def enter(self, most: int) -> None:
        """Wait until fewer than `most` are in, and go in. Who is cancelled meanwhile is not in."""
        import asyncio

        with self._lock:
            if self._inside < most:
                self._inside += 1
                return
            turn: concurrent.futures.Future[None] = concurrent.futures.Future()
            self._waiting.append(turn)
        try:
            await asyncio.wrap_future(turn)
        except BaseException:
            # Let in and called away at the same moment.
            if not turn.cancel() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Go out, from any thread: the next one that still waits comes in."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._inside -= 1
