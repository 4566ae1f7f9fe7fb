"""Work in threads that holds on to what its caller holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

__all__ = ["to_end"]

T = TypeVar("T")


async def to_end(
    work: Callable[[], T], cancel: Callable[[], None] | None = None, executor: Executor | None = None
) -> T:
    """Call `work` in a thread. A task that is cancelled leaves when `work` has ended, not before, as
    `asyncio.to_thread` lets it: what it closes behind itself, a file above all, `work` may still be using, and the
    number of a file that is closed is soon that of another.

    Args:
        work: what it does, it does once.
        cancel: makes `work` end soon; called when the task is cancelled.
        executor: whose threads; the loop's unless it is said.
    """
    done = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        if cancel is not None:
            cancel()
        await asyncio.wait([done])
        if not done.cancelled():
            # So that nobody is told of an error that nobody waits for.
            done.exception()
        raise
