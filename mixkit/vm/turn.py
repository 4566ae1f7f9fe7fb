"""Turns: how long a run may go on before others do, on an event loop and in threads."""

from __future__ import annotations

import time
from collections.abc import Callable

from mixkit.vm.loop import Pause, Run, Where
from mixkit.vm.watchdog import watchdog

__all__ = ["take_turn"]


def take_turn(run: Run, go_on: Callable[[], Pause], seconds: float) -> Pause:
    """Go on, on the event loop, until something else is wanted. StopIteration has the result."""
    budget = run.state.budget
    before = budget.turn
    # A nested run begins in the turn of the run that calls it, and gets what is left of that.
    budget.turn = end = before or time.monotonic() + seconds
    run.late = False
    watchdog.begin(end if end < run.deadline else run.deadline, run.alarm)
    try:
        while (wanted := go_on()) is Where.LOOP:
            pass
        return wanted
    finally:
        budget.turn = before
        watchdog.end()
