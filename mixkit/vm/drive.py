"""Who takes a run to its end: a thread that does all of it, or an event loop that waits and threads that compute.

On the loop a run has turns of a few milliseconds. Where it is to wait, it holds nothing but memory; where it asks for a
thread, or its turn is over and it still computes, it goes on in one, until it has to wait again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mixkit.errors import CancelledRun
from mixkit.vm.loop import Future, Pause, Run, Steps, Where
from mixkit.vm.threads import Threads
from mixkit.vm.watchdog import watchdog

if TYPE_CHECKING:
    import asyncio

__all__ = ["drive", "drive_async"]

T = TypeVar("T")
_TURN = 0.02
"""Seconds after which a run in a thread makes room for others that wait for one."""
_MOMENT = 0.0005
"""Seconds of a turn on the loop of a run that has used one up."""


def drive(run: Run, steps: Steps[T]) -> T:
    """Take a run to its end on this thread.

    Raises:
        Exception: what the steps raise.
    """
    alarm = watchdog.add(run.deadline, run.expire)
    try:
        while True:
            wanted = next(steps)
            if isinstance(wanted, set):
                _wait(run, wanted)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        watchdog.cancel(alarm)
        steps.close()


def _wait(run: Run, futures: set[Future]) -> None:
    try:
        if run.on_stop(lambda: [future.cancel() for future in futures]):
            concurrent.futures.wait(
                futures,  # type: ignore[arg-type]
                return_when=concurrent.futures.FIRST_COMPLETED,
            )
    finally:
        run.on_stop(None)


async def drive_async(run: Run, steps: Steps[T], threads: Threads, turn: float) -> T:
    """Take a run to its end on this event loop, which it never holds for much longer than a turn.

    Args:
        threads: where it goes on that would hold the loop.
        turn: seconds; 0 for all that can be done in a thread.

    Raises:
        CancelledError: this task was cancelled; the run has ended.
        Exception: what the steps raise.
    """
    pauses = run.state.budget.pauses
    home = Where.LOOP if turn > 0 else Where.THREAD
    seconds = turn or _TURN
    wanted: Pause = home
    alarm: int | None = None
    cancelled: BaseException | None = None
    try:
        while True:
            if wanted is Where.LOOP:
                wanted = _turn(run, steps, seconds)
                if wanted is None:
                    # Until it has waited it comes back from its thread for no more than to call what is async.
                    seconds = _MOMENT
                continue
            if alarm is None:
                # PERF: not before it is known that the run lasts longer than its first turn.
                alarm = watchdog.add(run.deadline, run.expire)
            if isinstance(wanted, set):
                if pauses is not None:
                    pauses(True)
                try:
                    cancelled = await _first(run, wanted) or cancelled
                finally:
                    if pauses is not None:
                        pauses(False)
                wanted = home if run.stopped is None else Where.LOOP
                seconds = turn or _TURN
            else:
                outcome = _Outcome()
                cancelled = await _in_thread(run, steps, threads, outcome) or cancelled
                if outcome.error is not None:
                    raise outcome.error
                if outcome.finished:
                    break
                wanted = outcome.wanted
        value = outcome.value
    except StopIteration as done:
        value = done.value
    except Exception as exc:
        raise cancelled or exc from exc.__cause__
    finally:
        if alarm is not None:
            watchdog.cancel(alarm)
    if cancelled is not None:
        raise cancelled
    result: T = value
    return result


def _turn(run: Run, steps: Steps[Any], seconds: float) -> Pause:
    """Go on, on the event loop, until something else is wanted. StopIteration has the result."""
    budget = run.state.budget
    before = budget.turn
    # A nested run begins in the turn of the run that calls it, and gets what is left of that.
    budget.turn = end = before or time.monotonic() + seconds
    run.late = False
    alarm = watchdog.add(min(run.deadline, end), run.alarm)
    try:
        while (wanted := next(steps)) is Where.LOOP:
            pass
        return wanted
    finally:
        budget.turn = before
        watchdog.cancel(alarm)


async def _first(run: Run, futures: set[Future]) -> BaseException | None:
    """Wait for the first of them, or until the run is stopped; with the cancellation of this task, if that came."""
    import asyncio

    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(done: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    for future in futures:
        future.add_done_callback(wake)
    try:
        if run.on_stop(partial(_on, loop, wake)):
            await waiter
    except asyncio.CancelledError as exc:
        run.stop(CancelledRun("the caller went away"))
        return exc
    finally:
        run.on_stop(None)
    return None


@dataclass(slots=True)
class _Outcome:
    """How a turn in a thread ended."""

    wanted: Pause = Where.THREAD
    finished: bool = False
    value: Any = None
    error: BaseException | None = None


async def _in_thread(
    run: Run, steps: Steps[Any], threads: Threads, outcome: _Outcome
) -> BaseException | None:
    """Go on in a thread until the run waits or has ended; with the cancellation of this task, if that came.

    A run that is stopped before a thread was free goes on on the loop, where it ends.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    # Who takes it goes on with the run: the thread, or the loop once the run is stopped.
    ticket = [outcome]

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def work() -> Callable[[], object] | None:
        try:
            _turns(run, steps, threads, ticket.pop())
        except IndexError:
            return None
        return partial(_on, loop, wake)

    def give_up() -> None:
        with contextlib.suppress(IndexError):
            ticket.pop().wanted = Where.LOOP
            wake()

    # Before the thread has it: what the guest waits for there is told to stop by the same way.
    stopped = not run.on_stop(partial(_on, loop, give_up))
    threads.submit(work)
    if stopped:
        give_up()
    cancelled: BaseException | None = None
    try:
        await asyncio.shield(waiter)
    except asyncio.CancelledError as exc:
        cancelled = exc
        run.stop(CancelledRun("the caller went away"))
        # The guest stops within milliseconds; its instance must be back before we leave.
        while not waiter.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([waiter])
    finally:
        run.on_stop(None)
    return cancelled


def _turns(run: Run, steps: Steps[Any], threads: Threads, outcome: _Outcome) -> None:
    """Go on, in a thread, until it is to be left: for others that want one, or because the run waits or is over."""
    try:
        while outcome.wanted is Where.THREAD:
            run.late = False
            alarm = watchdog.add(time.monotonic() + _TURN, run.alarm)
            try:
                wanted = next(steps)
            finally:
                watchdog.cancel(alarm)
            if wanted is not None:
                outcome.wanted = wanted
            elif threads.crowded:
                return
    except StopIteration as done:
        outcome.finished = True
        outcome.value = done.value
    except BaseException as exc:
        outcome.error = exc


def _on(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Have it called there, unless the loop is closed, where nobody waits any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
