"""A coroutine whose task can turn to something else while it waits, and leave it to another one."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

__all__ = ["Detached"]

T = TypeVar("T")


class Detached(Generic[T]):
    """Awaits a coroutine with `begin`; and in a task of its own, made by `go_on`, if `leave` was called in between.

    PERF: until it is left, this costs no task and no turn of the loop.

    Args:
        coroutine: what it answers is not None. When it is left it must hold nothing of its task, as `asyncio.timeout`
            does, and wait for a future of its own that may be woken for nothing, as a run's is (`mixkit.vm.driven`).
    """

    # PERF: of most, nothing but the coroutine is ever set.
    _left = False
    _waits_for: Any = None

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def leave(self) -> None:
        """Have `begin` answer as soon as the coroutine waits. Called on the event loop, and by what it waits for."""
        self._left = True
        if self._waits_for is not None and not self._waits_for.done():
            self._waits_for.set_result(None)

    def begin(self) -> Awaitable[T | None]:
        """What the coroutine answers, or None if it was left. Cancelling the task cancels the coroutine until then."""
        return self._steps(self._coroutine.send, None)

    def go_on(self) -> asyncio.Task[T]:
        """The task in which the coroutine that was left goes on, and whose result is what it answers."""
        self._left = False
        rest = self._rest()
        # To where it hears of it if the task is cancelled before its first step.
        rest.send(None)
        return asyncio.get_running_loop().create_task(rest)

    async def _rest(self) -> T:
        result = await self._resumed()
        assert result is not None
        return result

    @types.coroutine
    def _resumed(self) -> Generator[Any, Any, T | None]:
        step: Callable[[Any], Any] = self._coroutine.send
        given: Any = None
        try:
            yield None
            yield self._waits_for
        except BaseException as exc:
            step, given = self._coroutine.throw, exc
        self._waits_for = None
        return (yield from self._steps(step, given))

    @types.coroutine
    def _steps(self, step: Callable[[Any], Any], given: Any) -> Generator[Any, Any, T | None]:
        while True:
            try:
                waits_for = step(given)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                # An exception leads to this frame.
                given = None
            self._waits_for = waits_for
            if self._left:
                return None
            step = self._coroutine.send
            try:
                yield waits_for
            except BaseException as exc:
                step, given = self._coroutine.throw, exc
            # It is not woken while it goes on.
            self._waits_for = None
