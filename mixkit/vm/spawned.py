"""A coroutine on an event loop, as a thread sees it that waits for its answer."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["CLEANUP", "Spawned"]

T = TypeVar("T")
_log = logging.getLogger("mixkit.vm")
CLEANUP: Final = 2.0
"""Seconds that what a run has called gets to end once it was cancelled: the run waits for it so long, and no longer."""


class Spawned(concurrent.futures.Future[T]):
    """Done when the coroutine has ended, also when it is cancelled, which may take it a while: at most `CLEANUP`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        self._cancelled = False
        loop.call_soon_threadsafe(self._begin, coroutine)

    def cancel(self) -> bool:
        """Cancel the coroutine; callable from any thread. False if it has ended."""
        if self.done():
            return False
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            # The loop is closed, and nobody goes on with the coroutine.
            self._be_cancelled()
        return True

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        # Once, as it would interrupt what cleans up. `_begin` was called before: a loop keeps the order of calls.
        if not self._cancelled and self._task is not None and not self._task.done():
            self._cancelled = True
            self._task.cancel()
            self._loop.call_later(CLEANUP, self._give_up)

    def _give_up(self) -> None:
        if not self.done():
            _log.error(
                "an FFI that was cancelled has not ended within %g s; its run ends without it", CLEANUP
            )
            super().cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        error = None if task.cancelled() else task.exception()
        if self.done():
            pass
        elif task.cancelled():
            self._be_cancelled()
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())

    def _be_cancelled(self) -> None:
        super().cancel()
        # Who waits for several futures hears of it only now.
        self.set_running_or_notify_cancel()
