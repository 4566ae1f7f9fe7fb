"""Coroutines of async FFIs, started where they are called: one that need not wait is done before any task has run."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from mixkit.vm.slow import SLOW, tell

if TYPE_CHECKING:
    import asyncio

__all__ = ["Started", "start"]


class Started(Coroutine[Any, Any, None]):
    """A coroutine that has been started, and what becomes of it. A task goes on with it, if there is more to do.

    Everything of it happens on the event loop.
    """

    __slots__ = ("_calls", "_coroutine", "_done", "_error", "_fresh", "_result", "_task", "_yielded")

    def __init__(self, coroutine: Coroutine[Any, Any, bytes]) -> None:
        self._coroutine = coroutine
        self._fresh = True
        self._yielded: Any = None
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._calls: list[Callable[[Any], object]] = []
        self._task: asyncio.Task[None] | None = None

    # -- for who waits ------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it has answered, raised or was cancelled."""
        return self._done

    def cancelled(self) -> bool:
        """Whether it was cancelled, by us or by itself."""
        if self._error is None:
            return False
        import asyncio

        return isinstance(self._error, asyncio.CancelledError)

    def cancel(self) -> bool:
        """Cancel it: what it waits for raises CancelledError there."""
        return not self._done and self._task is not None and self._task.cancel()

    def result(self) -> Any:
        """What it answered. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def add_done_callback(self, call: Callable[[Any], object], /) -> None:
        """Have `call(self)` called in the moment in which it ends, or now."""
        if self._done:
            call(self)
        else:
            self._calls.append(call)

    # -- for its task -------------------------------------------------------------------------

    def begin(self) -> None:
        """Run it until it waits for the first time."""
        self._yielded = self._step(self._coroutine.send, None)

    def send(self, value: Any) -> Any:
        """Go on, for the task. Its first step has been made already: it only waits for what that waits for."""
        if self._fresh:
            self._fresh = False
            if not self._done and self._yielded is not None:
                yielded, self._yielded = self._yielded, None
                return yielded
        if not self._done:
            yielded = self._step(self._coroutine.send, value)
            if not self._done:
                return yielded
        raise StopIteration

    def throw(self, *error: Any) -> Any:
        """Go on with an exception, for the task."""
        self._fresh = False
        if not self._done:
            yielded = self._step(self._coroutine.throw, *error)
            if not self._done:
                return yielded
        raise StopIteration

    def close(self) -> None:
        """Nobody goes on with it."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("what is started has a task already")

    def _step(self, go_on: Callable[..., Any], *args: Any) -> Any:
        began = time.monotonic()
        try:
            return go_on(*args)
        except StopIteration as end:
            self._result = end.value
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            self._error = exc
        finally:
            if (taken := time.monotonic() - began) > SLOW:
                name = getattr(self._coroutine, "__qualname__", repr(self._coroutine))
                tell(
                    name, taken, "is async and held the event loop; what blocks belongs in asyncio.to_thread"
                )
        self._done = True
        calls, self._calls = self._calls, []
        for call in calls:
            call(self)
        return None


def start(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, bytes]) -> Started:
    """Start a coroutine on the running loop, as the task that it is from now on: it sees that one as the current task.

    PERF: a task begins in the next turn of the loop, and who waits for it hears of its end in the one after.
    """
    import asyncio

    started = Started(coroutine)
    context = contextvars.copy_context()
    started._task = task = asyncio.Task(started, loop=loop, context=context)
    current = asyncio.current_task(loop)
    if current is not None:
        asyncio.tasks._leave_task(loop, current)
    asyncio.tasks._enter_task(loop, task)
    try:
        context.run(started.begin)
    finally:
        asyncio.tasks._leave_task(loop, task)
        if current is not None:
            asyncio.tasks._enter_task(loop, current)
    return started
