"""How many runs compute at once, how many wait for what they called or for a turn, and when all have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from mix_server.errors import Overloaded, Stopping
from mix_server.shares import ASKING, Shares
from mix_server.turns import Turns

__all__ = ["Admission"]


class Admission:
    """A bounded number of places, and a bounded queue before them, in which callers take turns.

        async with admission:
            ...

    Entering raises `Overloaded` when the queue is full or does not move, or the caller (`ASKING`) has its share of it,
    and `Stopping` after `stop`. A run that waits for what it called gives its place to others for that time, see
    `pauses`.

    Args:
        max_runs: places.
        max_paused: runs that wait for what they called, beyond which nobody is let in.
        max_waiting: length of the queue.
        max_wait: seconds that anybody stands in it.
        share: part of the queue, and of those that wait for what they called, that one caller may have.
        watch: called with `active`, `waiting` and `paused` whenever one of them has changed.
        what: is let in, in messages.

    Attributes:
        active: runs that have a place. More than there are, when several go on at once after a pause.
        paused: runs that wait for what they called.
        stopping: nobody is let in any more.
    """

    __slots__ = (
        "_empty",
        "_paused_of",
        "_turns",
        "_waiting_of",
        "_watch",
        "_what",
        "active",
        "max_paused",
        "max_runs",
        "max_wait",
        "max_waiting",
        "paused",
        "stopping",
    )

    def __init__(
        self,
        max_runs: int,
        max_paused: int,
        max_waiting: int,
        max_wait: float,
        share: float,
        watch: Callable[[int, int, int], None],
        what: str = "run",
    ) -> None:
        self.max_runs = max_runs
        self.max_paused = max_paused
        self.max_waiting = max_waiting
        self.max_wait = max_wait
        self._watch = watch
        self.active = 0
        self.paused = 0
        self.stopping = False
        self._what = what
        self._turns = Turns()
        self._waiting_of = Shares(max_waiting, share)
        self._paused_of = Shares(max_paused, share)
        self._empty: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Runs that wait for a place."""
        return len(self._turns)

    async def __aenter__(self) -> None:
        if not self.enter():
            await self.queue()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def enter(self) -> bool:
        """Take a place, if one is free, to be given back by `leave`; else `queue` waits for one. Raises as entering."""
        if self.stopping:
            raise Stopping
        if self.paused >= self.max_paused:
            raise Overloaded(f"{self.paused} runs wait for what they called, of at most {self.max_paused}")
        # PERF: nobody has a whole share while all together have less.
        if self.paused >= self._paused_of.each and self._paused_of.full(ASKING.get()):
            raise Overloaded(f"{self._paused_of.each} runs of yours wait for what they called")
        if self.active >= self.max_runs:
            return False
        self.active += 1
        self._changed()
        return True

    async def queue(self) -> None:
        """Wait for a place when none is free. Raises as entering."""
        whose, shares = ASKING.get(), self._waiting_of
        if len(self._turns) >= self.max_waiting:
            raise Overloaded(f"{len(self._turns)} {self._what}s are waiting already")
        if shares.full(whose):
            raise Overloaded(f"{shares.each} {self._what}s of yours are waiting already")
        turn = asyncio.get_running_loop().create_future()
        self._turns.add(whose, turn)
        shares.take(whose)
        self._changed()
        try:
            async with asyncio.timeout(self.max_wait):
                await turn
        except BaseException as exc:
            if not turn.cancelled():
                # It had been given a place in the same moment.
                self.leave()
            self._turns.remove(whose, turn)
            self._changed()
            if isinstance(exc, TimeoutError):
                raise Overloaded(f"no {self._what} ended within {self.max_wait:g} s") from None
            raise
        finally:
            shares.give(whose)

    def pauses(self) -> Callable[[bool], None]:
        """For a run that has a place: to be called with True when it, or a run nested in it, begins to wait for what it
        called, and with False when that goes on. All must have gone on before the place is left."""
        working, whose = 1, ASKING.get()

        def pause(begins: bool) -> None:
            nonlocal working
            working += -1 if begins else 1
            if begins and working == 0:
                self.paused += 1
                self._paused_of.take(whose)
                self._hand_on()
            elif not begins and working == 1:
                # At once and not in the queue: it holds memory, and what it has begun is best ended.
                self.paused -= 1
                self._paused_of.give(whose)
                self.active += 1
                self._changed()

        return pause

    def _changed(self) -> None:
        self._watch(self.active, len(self._turns), self.paused)

    def _hand_on(self) -> None:
        """A place is free. It goes from hand to hand, so that nobody who comes later can take it in between."""
        while self._turns and self.active <= self.max_runs:
            turn = self._turns.next()
            if not turn.done():
                turn.set_result(None)
                self._changed()
                return
        self.active -= 1
        self._changed()

    def leave(self) -> None:
        """Give a place back."""
        self._hand_on()
        if not (self.active or self.paused) and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def stop(self, seconds: float) -> int:
        """Let nobody in any more and wait for all to leave; answers how many had not after that time."""
        self.stopping = True
        if self.active or self.paused:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._empty], timeout=seconds)
        return self.active + self.paused
