"""What runs have put off until their answers are sent: done then, in the places for runs, until the server stops."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mix_server.errors import Overloaded, Stopping

if TYPE_CHECKING:
    from mix_server.admission import Admission
    from mix_server.response import Response
    from mixkit.job import RunResult
    from mixkit.kernel import Kernel

__all__ = ["IdleRuns"]

_log = logging.getLogger("mixkit.server")


class IdleRuns:
    """Idle actions of agents.

    Args:
        seconds: that those of one answer may take together, the wait for a place not counted.
    """

    def __init__(self, kernel: Kernel, admission: Admission, seconds: float) -> None:
        self._kernel = kernel
        self._admission = admission
        self._seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def after(self, resp: Response, result: RunResult) -> None:
        """Run what `result` has put off, as soon as the answer `resp` is sent."""

        async def begin() -> None:
            self.begin(result)

        resp.schedule(begin)

    def begin(self, result: RunResult) -> None:
        """Run what `result` has put off, now: nobody waits for an answer."""
        task = asyncio.create_task(self._run(result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, result: RunResult) -> None:
        of = result.postponed[0].entry
        try:
            async with self._admission:
                await self._kernel.run_postponed(result, self._seconds, self._admission.pauses())
        except (Overloaded, Stopping) as exc:
            _log.warning("idle actions of %s were not run: %s", of, exc)

    async def stop(self, seconds: float) -> None:
        """Wait for those that run, at most so long; then end them."""
        if not self._tasks:
            return
        _, left = await asyncio.wait(self._tasks, timeout=max(seconds, 0.0))
        for task in left:
            task.cancel()
        if left:
            _log.warning("%d idle runs had not ended in time, and were cancelled", len(left))
            await asyncio.wait(left)
