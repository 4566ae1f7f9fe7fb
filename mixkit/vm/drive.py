"""Who takes a run to its end: a thread that does all of it, or an event loop (see `mixkit.vm.driven`)."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from mixkit.vm.loop import Future, Pause, Run, Steps, Where
from mixkit.vm.spawned import CLEANUP
from mixkit.vm.threads import Threads
from mixkit.vm.turn import take_turn
from mixkit.vm.watchdog import watchdog

__all__ = ["drive", "drive_async"]

T = TypeVar("T")


def drive(run: Run, steps: Steps[T]) -> T:
    """Take a run to its end on this thread.

    Raises:
        Exception: what the steps raise.
    """
    watchdog.begin(run.deadline, run.expire)
    go_on: Callable[[], Pause] = partial(next, steps)
    try:
        while True:
            wanted = go_on()
            go_on = partial(next, steps)
            if isinstance(wanted, set):
                _wait(run, wanted)
            elif wanted is not None and not isinstance(wanted, Where):
                try:
                    go_on = partial(steps.send, run.wait_for(wanted))
                except Exception as exc:
                    go_on = partial(steps.throw, exc)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        watchdog.end()
        steps.close()
        run.over()
        # It may have been to throw what leads to this frame.
        del go_on


def _wait(run: Run, futures: set[Future]) -> None:
    """Until one of them is done, or all are cancelled because the run is stopped, which are waited for as long as they
    may clean up."""
    stopped = not run.on_stop(lambda: [future.cancel() for future in futures])
    try:
        concurrent.futures.wait(
            futures,  # type: ignore[arg-type]
            CLEANUP if stopped else None,
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
    wanted: Pause = Where.THREAD
    if turn > 0:
        try:
            # PERF: most runs are over within it, and need nothing of what can wait.
            wanted = take_turn(run, partial(next, steps), turn)
        except StopIteration as done:
            result: T = done.value
            return result
        except BaseException:
            run.over()
            raise
    from mixkit.vm.driven import Driven

    return await Driven(run, steps, threads, turn).take(wanted)
