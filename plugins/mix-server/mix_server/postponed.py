"""Runs whose caller does not wait for them: each settles a signal, and ends when the signal is canceled.

Whichever process that is told to: all that serve the same workspaces have the same signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mixkit.errors import FFIError, MixError, NotFound
from mixkit.signals import CANCELED, QUESTION, TIMEOUT, Owner, Settled
from mixkit.value import Case, error

if TYPE_CHECKING:
    from mixkit.signals import Signals

__all__ = ["Going", "Postponed"]

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

    async def start(self, owner: Owner, work: Callable[[], Awaitable[Case]]) -> Going:
        """Begin something; answers what has the id of the signal that is settled with what it answers.

        Raises:
            FFIError: the owner has too many signals.
        """
        going = Going(self._signals, owner, self._seconds + _LATE)
        await going.begin()
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._run(going, work))
        watching = loop.create_task(self._watch(going, task))
        self._tasks.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            watching.cancel()

        task.add_done_callback(ended)
        return going

    async def stop(self, seconds: float) -> None:
        """Wait for all so long, and stop what is left."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _run(self, going: Going, work: Callable[[], Awaitable[Case]]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                outcome = await work()
        except TimeoutError:
            outcome = TIMEOUT
        except asyncio.CancelledError:
            outcome = CANCELED
        try:
            await going.settle(outcome)
        except Exception:
            log.exception("what a run has answered to nobody could not be kept")

    async def _watch(self, going: Going, task: asyncio.Task[None]) -> None:
        """Stop a run when its signal is canceled."""
        try:
            if await going.canceled():
                task.cancel()
        except (MixError, TimeoutError) as exc:
            log.warning("a run cannot be stopped by canceling its signal: %s", exc)


class Going:
    """What somebody waits for, as they see it: a signal, and after each question another one.

    Args:
        signals: answers where signals are.
        owner: of all of them.
        seconds: for which they are good altogether, from now.

    Attributes:
        id: of the signal that is settled next.
    """

    def __init__(self, signals: Callable[[], Signals], owner: Owner, seconds: float) -> None:
        self._signals = signals
        self._owner = owner
        self._until = time.monotonic() + seconds
        self._turn = asyncio.Lock()
        self.id = ""

    @property
    def shown(self) -> dict[str, str]:
        """Where it is awaited, as the caller gets it."""
        return {"id": self.id, "url": f"/v1/signals/{self.id}"}

    async def begin(self) -> None:
        """Make the first signal. `FFIError` if the owner has too many."""
        self.id = await self._signals().create(self._owner, self._left())

    async def ask(self, question: dict[str, Any]) -> None:
        """Settle the signal with a question, and name another.

        Raises:
            FFIError: the owner has too many; or what goes on is to end, and nobody waits for it.
        """
        async with self._turn:
            before = self.id
            self.id = await self._signals().create(self._owner, self._left())
            outcome = Case(QUESTION, {"question": question, **self.shown})
            # Whoever waits for the one must hear of the other, if the run is stopped now too.
            await asyncio.shield(asyncio.ensure_future(self._signals().settle(before, outcome)))

    async def settle(self, outcome: Case) -> None:
        """Settle the signal for good, with an error that says so if `outcome` cannot be kept."""
        with contextlib.suppress(Settled, NotFound):
            try:
                await self._signals().settle(self.id, outcome)
            except (Settled, NotFound):
                raise
            except FFIError as exc:
                # Too large, or what cannot be kept.
                await self._signals().settle(self.id, error(str(exc)))

    async def canceled(self) -> bool:
        """Wait until it is settled for good; whether that was done by canceling it."""
        while True:
            _, outcome = await self._signals().wait([self.id], self._owner, self._left())
            if outcome.name != QUESTION:
                return outcome == CANCELED

    def _left(self) -> float:
        return max(0.001, self._until - time.monotonic())
