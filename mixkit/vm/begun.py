"""A task whose first step is made at once, and not when the loop comes round."""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["begin"]


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
    current = asyncio.current_task(loop)
    if current is not None:
        asyncio.tasks._leave_task(loop, current)
    asyncio.tasks._enter_task(loop, task)
    try:
        first.yielded = context.run(coroutine.send, None)
    except StopIteration:
        first.ended = True
    except BaseException as exc:
        first.ended, first.error = True, exc
    finally:
        asyncio.tasks._leave_task(loop, task)
        if current is not None:
            asyncio.tasks._enter_task(loop, current)
    return task


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
        while True:
            try:
                yield yielded
                break
            except BaseException as exc:
                yielded = coroutine.throw(exc)
    except StopIteration:
        return
    yield from coroutine
