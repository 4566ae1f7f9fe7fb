"""A run on an event loop that is not over within its first turn.

On the loop a run has turns of a few milliseconds. Where it is to wait, it holds nothing but memory; where it asks for a
thread, or its turn is over and it still computes, it goes on in one, until it has to wait again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from types import CoroutineType
from typing import Any, Generic, TypeVar

from mixkit.errors import CancelledRun
from mixkit.octets import Answer
from mixkit.vm.begun import begin
from mixkit.vm.loop import Future, Pause, Run, Steps, Where
from mixkit.vm.slow import SLOW, tell
from mixkit.vm.spawned import CLEANUP
from mixkit.vm.threads import Threads
from mixkit.vm.turn import take_turn
from mixkit.vm.watchdog import watchdog

__all__ = ["Driven"]

_log = logging.getLogger("mixkit.vm")
T = TypeVar("T")
_TURN = 0.02
"""Seconds after which a run in a thread makes room for others that wait for one."""
_MOMENT = 0.0005
"""Seconds of a turn on the loop of a run that has used one up."""


@dataclass(slots=True)
class _Outcome:
    """How a turn in a thread ended."""

    wanted: Pause = Where.THREAD
    error: BaseException | None = None
    ended: bool = False

    def take(self) -> Pause:
        """What it wants now. Raises what ended it, StopIteration with the result too."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            # It leads to this frame.
            del error
        return self.wanted


class Driven(Generic[T]):
    """In its caller's task until it calls an async FFI; from then on in a task of its own, in which that is awaited.

    So whoever cancels the caller stops the run, and what the run waits for is cancelled once, and has the time to end.

    Args:
        turn: seconds; 0 for all that can be done in a thread.
    """

    __slots__ = (
        "_back", "_cancelled", "_coroutine", "_ended", "_error", "_go_on", "_home", "_left", "_loop", "_next", "_run",
        "_seconds", "_steps", "_task", "_threads", "_ticket", "_timer", "_turn", "_value", "_waits", "_wake",
        "_yielded",
    )  # fmt: skip

    def __init__(self, run: Run, steps: Steps[T], threads: Threads, turn: float) -> None:
        self._run = run
        self._steps = steps
        self._threads = threads
        self._turn = self._seconds = turn or _TURN
        self._home = Where.LOOP if turn > 0 else Where.THREAD
        self._loop = asyncio.get_running_loop()
        self._next: Callable[[], Pause] = partial(next, steps)
        self._go_on: Callable[[], Pause] = self._next
        # How it ended, and that its caller was cancelled meanwhile.
        self._ended = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._cancelled: asyncio.CancelledError | None = None
        # Its own task; its caller waits for one future, it for the other while it is in a thread.
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._back: asyncio.Future[None] | None = None
        self._ticket: list[_Outcome] = []
        # An async FFI that has begun, and what that waits for.
        self._coroutine: Coroutine[Any, Any, Answer] | None = None
        self._yielded: Any = None
        # Whether it ends what it waits for to cancel its task; when that is given up, and that it has been.
        self._waits = False
        self._timer: asyncio.TimerHandle | None = None
        self._left = False

    async def take(self, wanted: Pause) -> T:
        """Take it from what it wants now to its end. As `drive_async`."""
        alarm = watchdog.add(self._run.deadline, self._run.expire)
        self._run.on_stop(self._hear)
        try:
            needed = await self._go(wanted)
            if needed is not None:
                await self._go_apart(needed)
            if self._cancelled is not None:
                raise self._cancelled
        except Exception as exc:
            raise self._cancelled or exc from exc.__cause__
        finally:
            watchdog.cancel(alarm)
            self._run.on_stop(None)
            # Both lead to frames that lead here: nobody but the garbage collector would free the run.
            self._cancelled = None
            self._run.over()
        value: T = self._value
        return value

    # -- where it goes on ---------------------------------------------------------------------

    async def _go(self, wanted: Pause) -> Pause:
        """Go on to the end, and answer None; or to what only a task of its own can wait for."""
        try:
            while True:
                if wanted is Where.LOOP:
                    wanted = take_turn(self._run, self._step_here, self._seconds)
                    if wanted is None:
                        # Until it has waited it comes back from its thread for no more than to call what is async.
                        self._seconds = _MOMENT
                elif wanted is None or wanted is Where.THREAD:
                    wanted = (await self._in_thread()).take()
                elif self._task is None:
                    return wanted
                elif isinstance(wanted, set):
                    await self._first(wanted)
                    wanted = self._after_waiting()
                elif wanted is self._coroutine:
                    await self._attend(wanted)
                    wanted = self._after_waiting()
                else:
                    self._go_on = partial(self._begin, wanted)
                    wanted = Where.LOOP
        except StopIteration as done:
            self._value = done.value
            return None

    async def _go_apart(self, wanted: Pause) -> None:
        """The same in a task of its own, to the end."""
        # It begins at once: a run that waits now is not to be taken for one that computes.
        begin(self._loop, self._apart(wanted))
        while not self._ended:
            self._wake = self._loop.create_future()
            try:
                await self._wake
            except asyncio.CancelledError as exc:
                self._cancelled = exc
                self._run.stop(CancelledRun("the caller went away"))
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error

    async def _apart(self, wanted: Pause) -> None:
        self._task = asyncio.current_task()
        try:
            await self._go(wanted)
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._error = exc
        self._ended = True
        if self._wake is not None and not self._wake.done():
            # PERF: who waits for a task itself hears of its end a turn later.
            self._wake.set_result(None)

    def _step(self) -> Pause:
        """Go on with the steps, which may have been promised an answer."""
        go_on, self._go_on = self._go_on, self._next
        try:
            return go_on()
        finally:
            # It may be to throw what leads to this frame.
            del go_on

    def _step_here(self) -> Pause:
        """The same on the loop, where async FFIs begin; answers one that waits."""
        wanted = self._step()
        while type(wanted) is CoroutineType and self._task is not None and wanted is not self._coroutine:
            wanted = self._begin(wanted)
        return wanted

    def _begin(self, coroutine: Coroutine[Any, Any, Answer]) -> Pause:
        """Call an async FFI; go on with the steps, unless it waits, which is answered."""
        if self._run.stopped is not None:
            coroutine.close()
            return self._steps.throw(self._run.stopped)
        try:
            self._yielded = _step_of(coroutine, coroutine.send, None)
        except StopIteration as end:
            answer = end.value
        except (Exception, asyncio.CancelledError) as exc:
            return self._steps.throw(self._failure(exc))
        else:
            self._coroutine = coroutine
            return coroutine
        return self._steps.send(answer)

    # -- what it waits for --------------------------------------------------------------------

    @types.coroutine
    def _attend(self, coroutine: Coroutine[Any, Any, Answer]) -> Generator[Any, Any, None]:
        """Wait for an async FFI that has begun, in its own task."""
        pauses = self._run.state.budget.pauses
        if pauses is not None:
            pauses(True)
        self._waits = True
        if self._run.stopped is not None:
            self._stopped()
        try:
            while True:
                go_on: Callable[[Any], Any] = coroutine.send
                given: Any = None
                try:
                    yield self._yielded
                except BaseException as exc:
                    if self._left:
                        self._leave(coroutine)
                        raise
                    go_on, given = coroutine.throw, exc
                self._yielded = _step_of(coroutine, go_on, given)
        except StopIteration as end:
            self._go_on = partial(self._steps.send, end.value)
        except (Exception, asyncio.CancelledError) as exc:
            self._go_on = partial(self._steps.throw, self._failure(exc))
        finally:
            self._coroutine = self._yielded = given = None
            self._waited()
            if pauses is not None:
                pauses(False)

    async def _first(self, futures: set[Future]) -> None:
        """Wait for the first of several calls that overlap, each of which has a task of its own."""
        pauses = self._run.state.budget.pauses
        if pauses is not None:
            pauses(True)
        # Once the run is stopped, they have been cancelled already, and are waited for as long as they may clean up.
        stopped = self._run.stopped is not None
        self._waits = not stopped
        tasks: Any = futures
        try:
            await asyncio.wait(
                tasks, timeout=CLEANUP if stopped else None, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError as exc:
            self._run.stop(self._failure(exc))
        finally:
            self._waited()
            if pauses is not None:
                pauses(False)

    def _after_waiting(self) -> Pause:
        self._seconds = self._turn
        return self._home if self._run.stopped is None else Where.LOOP

    def _waited(self) -> None:
        self._waits = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _failure(self, exc: BaseException) -> Exception:
        """What an exception means that came out of a call."""
        if self._run.stopped is not None:
            return self._run.stopped
        if isinstance(exc, Exception):
            return exc
        # It cancelled itself, or was cancelled by something that it waited for.
        while self._task is not None and self._task.uncancel():
            pass
        return CancelledRun("the host call was cancelled")

    # -- stopping -----------------------------------------------------------------------------

    def _hear(self) -> None:
        _on(self._loop, self._stopped)

    def _stopped(self) -> None:
        """The run was stopped, and this is the event loop: end what it waits for."""
        if self._waits and self._task is not None:
            if self._timer is None:
                self._timer = self._loop.call_later(CLEANUP, self._give_up)
                self._task.cancel()
        else:
            with contextlib.suppress(IndexError):
                outcome = self._ticket.pop()
                outcome.wanted = Where.LOOP
                self._came_back(outcome)

    def _give_up(self) -> None:
        self._left = True
        if self._task is not None:
            self._task.cancel()

    def _leave(self, coroutine: Coroutine[Any, Any, Answer]) -> None:
        """Its time to clean up is over."""
        _log.error(
            "run %s of %s has ended without an FFI that was cancelled and has not ended within %g s",
            self._run.state.run_id, self._run.state.code, CLEANUP,
        )  # fmt: skip
        with contextlib.suppress(Exception, asyncio.CancelledError):
            coroutine.close()

    # -- in a thread --------------------------------------------------------------------------

    async def _in_thread(self) -> _Outcome:
        """Go on in a thread until the run waits or has ended. One that is stopped before a thread was free goes on
        here, where it ends."""
        outcome = _Outcome()
        # Who takes it goes on with the run: the thread, or the loop once the run is stopped.
        self._ticket = ticket = [outcome]

        def work() -> Callable[[], object] | None:
            try:
                ticket.pop()
            except IndexError:
                return None
            self._turns(outcome)
            return partial(_on, self._loop, partial(self._came_back, outcome))

        # Before the thread has it, where what the guest waits for is told to stop by the same way.
        self._run.on_stop(self._hear)
        self._threads.submit(work)
        if self._run.stopped is not None:
            self._stopped()
        while not outcome.ended:
            self._back = self._loop.create_future()
            try:
                await self._back
            except asyncio.CancelledError as exc:
                # The guest stops within milliseconds; its instance must be back before we leave.
                if self._task is None:
                    self._cancelled = exc
                self._run.stop(CancelledRun("the caller went away"))
        return outcome

    def _turns(self, outcome: _Outcome) -> None:
        """Go on until the thread is to be left: for others that want one, or because the run waits or is over."""
        try:
            while outcome.wanted is Where.THREAD:
                self._run.late = False
                watchdog.begin(time.monotonic() + _TURN, self._run.alarm)
                try:
                    wanted = self._step()
                finally:
                    watchdog.end()
                if wanted is not None:
                    outcome.wanted = wanted
                elif self._threads.crowded:
                    return
        except BaseException as exc:
            outcome.error = exc

    def _came_back(self, outcome: _Outcome) -> None:
        outcome.ended = True
        if self._back is not None and not self._back.done():
            self._back.set_result(None)


def _step_of(coroutine: Coroutine[Any, Any, Answer], go_on: Callable[[Any], Any], given: Any) -> Any:
    """Go on with an async FFI until it waits. One that holds the loop is named."""
    began = time.monotonic()
    try:
        return go_on(given)
    finally:
        # An exception that was thrown in leads to this frame.
        del given
        if (taken := time.monotonic() - began) > SLOW:
            name = getattr(coroutine, "__qualname__", repr(coroutine))
            tell(name, taken, "is async and held the event loop; what blocks belongs in asyncio.to_thread")


def _on(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Have it called there, unless the loop is closed, where nobody waits any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
