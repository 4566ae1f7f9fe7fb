"""Runs whose caller does not wait for them: each settles a signal, and ends when the signal is canceled.

Whichever process that is told to: all that serve the same workspaces have the same signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mixkit.errors import FFIError, MixError, NotFound
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
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def start(self, owner: Owner, work: Callable[[], Awaitable[Case]]) -> str:
        """Begin something; answers the id of the signal that is settled with what it answers.

        Raises:
            FFIError: the owner has too many signals.
        """
        id = await self._signals().create(owner, self._seconds + _LATE)
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._run(id, work))
        watching = loop.create_task(self._watch(id, owner, task))
        self._tasks.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            watching.cancel()

        task.add_done_callback(ended)
        return id

    async def stop(self, seconds: float) -> None:
        """Wait for all so long, and stop what is left."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        left = list(self._tasks)
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

    async def _watch(self, id: str, owner: Owner, task: asyncio.Task[None]) -> None:
        """Stop a run when its signal is canceled."""
        try:
            _, outcome = await self._signals().wait([id], owner, self._seconds + _LATE)
        except (MixError, TimeoutError) as exc:
            log.warning("a run cannot be stopped by canceling its signal: %s", exc)
            return
        if outcome == CANCELED:
            task.cancel()

    async def _settle(self, id: str, outcome: Case) -> None:
        with contextlib.suppress(Settled, NotFound):
            try:
                await self._signals().settle(id, outcome)
            except (Settled, NotFound):
                raise
            except FFIError as exc:
                # Too large, or what cannot be kept.
                await self._signals().settle(id, error(str(exc)))
