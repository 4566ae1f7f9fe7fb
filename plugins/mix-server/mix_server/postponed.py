"""Runs whose caller does not wait for them: each settles a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mixkit.errors import FFIError, NotFound
from mixkit.signals import CANCELED, TIMEOUT, Owner, Settled
from mixkit.value import Case, error

if TYPE_CHECKING:
    from mixkit.signals import Signals

__all__ = ["Postponed"]

_LATE = 10.0
"""Seconds that the deadline of a signal is behind the time of what settles it: it is for a process that was killed."""

log = logging.getLogger("mixkit.server")


class Postponed:
    """What goes on in this process after its answer was sent.

    Args:
        signals: answers where signals are.
        seconds: that it may take.
    """

    def __init__(self, signals: Callable[[], Signals], seconds: float) -> None:
        self._signals = signals
        self._seconds = seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def start(self, owner: Owner, work: Callable[[], Awaitable[Case]]) -> str:
        """Begin something; answers the id of the signal that is settled with what it answers.

        Raises:
            FFIError: the owner has too many signals.
        """
        id = await self._signals().create(owner, self._seconds + _LATE)
        task = self._tasks[id] = asyncio.get_running_loop().create_task(self._run(id, work))
        task.add_done_callback(lambda _: self._tasks.pop(id, None))
        return id

    def cancel(self, id: str) -> None:
        """Stop what is to settle a signal, if it goes on in this process."""
        if (task := self._tasks.get(id)) is not None:
            task.cancel()

    async def stop(self, seconds: float) -> None:
        """Wait for all so long, and stop what is left."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _run(self, id: str, work: Callable[[], Awaitable[Case]]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                outcome = await work()
        except TimeoutError:
            outcome = TIMEOUT
        except asyncio.CancelledError:
            outcome = CANCELED
        try:
            await self._settle(id, outcome)
        except Exception:
            log.exception("what a run has answered to nobody could not be kept")

    async def _settle(self, id: str, outcome: Case) -> None:
        with contextlib.suppress(Settled, NotFound):
            try:
                await self._signals().settle(id, outcome)
            except (Settled, NotFound):
                raise
            except FFIError as exc:
                # Too large, or what cannot be kept.
                await self._signals().settle(id, error(str(exc)))
