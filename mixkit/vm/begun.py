"""Tasks whose first step is made at once, and not when the loop comes round."""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["Beginner", "begin"]


class _First:
    """What the first step came to: what the coroutine waits for, or that it has ended."""

    __slots__ = ("ended", "error", "yielded")

    def __init__(self) -> None:
        self.ended = False
        self.yielded: Any = None
        self.error: BaseException | None = None


def begin(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin a coroutine on the running loop as the task that it is from then on, and sees as the current one.

    It must have been able to begin: what its first step raises comes out of the task, later.
    """
    first = _First()
    context = contextvars.copy_context()
    going_on = _go_on(coroutine, first)
    # To where it can be told to go on, or be cancelled, and then knows what to do.
    going_on.send(None)
    task = loop.create_task(going_on, context=context)
    try:
        first.yielded = _step_as(task, loop, context, coroutine)
    except StopIteration:
        first.ended = True
    except BaseException as exc:
        first.ended, first.error = True, exc
    return task


class Beginner:
    """Begins coroutines, one after the other, each as the task that it is from then on if it does not end at once.

    PERF: one that ends with its first step costs no task and no turn of the loop. It has seen itself as a task that
    stands by for the next one then.

    Args:
        loop: the running one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._untouched = contextvars.copy_context()
        self._next: _StandBy | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """The task in which a coroutine goes on; None if it has ended. Raises what its first step raises."""
        if self._next is None:
            self._next = _StandBy(self._loop, self._untouched.copy())
        by = self._next
        try:
            by.yielded = _step_as(by.task, self._loop, by.context, coroutine)
        except StopIteration:
            if by.context != self._untouched or by.task.cancelling():
                # What it has left there is not for others.
                self.close()
            return None
        except BaseException:
            self.close()
            raise
        self._next = None
        by.coroutine = coroutine
        by.taken.set_result(None)
        return by.task

    def close(self) -> None:
        """Nothing more is begun; tasks that go on are their owners'."""
        if self._next is not None:
            self._next.task.cancel()
            self._next = None


class _StandBy:
    """A task for a coroutine that has made its first step as this task."""

    __slots__ = ("context", "coroutine", "taken", "task", "yielded")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self.context = context
        self.coroutine: Coroutine[Any, Any, None] | None = None
        self.yielded: Any = None
        self.taken: asyncio.Future[None] = loop.create_future()
        going_on = self._go_on()
        # As in `begin`.
        going_on.send(None)
        self.task = loop.create_task(going_on, context=context)

    async def _go_on(self) -> None:
        cancelled = None
        try:
            await _nothing()
            await self.taken
        except asyncio.CancelledError as exc:
            cancelled = exc
        if self.coroutine is not None:
            await _resumed(self.coroutine, self.yielded, cancelled)


def _step_as(
    task: asyncio.Task[None],
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, None],
) -> Any:
    """What a coroutine waits for after a step that it makes as a task. StopIteration says that it has ended."""
    current = asyncio.current_task(loop)
    if current is not None:
        asyncio.tasks._leave_task(loop, current)
    asyncio.tasks._enter_task(loop, task)
    try:
        yielded = context.run(coroutine.send, None)
        if yielded is not None:
            # As a task does, at once: a future can be awaited by one at a time until that has taken it.
            yielded._asyncio_future_blocking = False
        return yielded
    finally:
        asyncio.tasks._leave_task(loop, task)
        if current is not None:
            asyncio.tasks._enter_task(loop, current)


async def _go_on(coroutine: Coroutine[Any, Any, None], first: _First) -> None:
    try:
        await _nothing()
    except asyncio.CancelledError as exc:
        if first.ended:
            raise
        await _resumed(coroutine, first.yielded, exc)
    else:
        if first.error is not None:
            raise first.error
        if not first.ended:
            await _resumed(coroutine, first.yielded)


@types.coroutine
def _nothing() -> Generator[None, None, None]:
    yield


@types.coroutine
def _resumed(
    coroutine: Coroutine[Any, Any, None], yielded: Any, cancelled: BaseException | None = None
) -> Generator[Any, Any, None]:
    """Go on with a coroutine that waits for what it has yielded; with a cancellation that has come since."""
    try:
        # As a task does: what is waited for is cancelled, and says so; what cannot be is interrupted.
        if cancelled is not None and (yielded is None or not yielded.cancel()):
            yielded = coroutine.throw(cancelled)
        elif yielded is not None:
            yielded._asyncio_future_blocking = True
        while True:
            try:
                yield yielded
                break
            except BaseException as exc:
                yielded = coroutine.throw(exc)
    except StopIteration:
        return
    yield from coroutine
