"""Tasks that begin at once: what they see is what a task of asyncio's shows them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from mixkit.vm import begun

Begin = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]


def alone(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return begun.begin(asyncio.get_running_loop(), coroutine)


def after_another(coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
    """Begun as the task as which another one has begun, and ended."""
    loop = asyncio.get_running_loop()
    beginner = begun.Beginner(loop)
    assert beginner.begin(nothing()) is None
    task = beginner.begin(coroutine)
    beginner.close()
    if task is not None:
        return task
    ended: asyncio.Future[None] = loop.create_future()
    ended.set_result(None)
    return ended


async def nothing() -> None:
    pass


@pytest.fixture(params=[alone, after_another])
def begin(request: pytest.FixtureRequest) -> Begin:
    begin: Begin = request.param
    return begin


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_the_first_step_is_made_at_once(begin: Begin, turns: int) -> None:
    steps = []

    async def work() -> None:
        for number in range(turns):
            steps.append(number)
            await asyncio.sleep(0)
        steps.append(turns)

    task = begin(work())
    assert steps == [0]
    await task
    assert steps == list(range(turns + 1))


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_what_is_raised_comes_out(begin: Begin, turns: int, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await begin(fail())
    gc.collect()
    assert caplog.text == ""


async def test_waits_of_every_kind_are_waited_for(begin: Begin) -> None:
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(3)]
    seen: list[int] = []

    async def wait() -> None:
        with pytest.raises(ZeroDivisionError):
            await futures[0]
        await asyncio.sleep(0.001)
        assert await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0.001, 2)) == [1, 2]
        seen.append(await futures[1])
        with pytest.raises(asyncio.CancelledError):
            await futures[2]

    task = begin(wait())
    futures[0].set_exception(ZeroDivisionError())
    futures[1].set_result(7)
    futures[2].cancel()
    await task
    assert seen == [7]


async def test_it_is_the_current_task_from_the_first_moment(begin: Begin) -> None:
    outside = asyncio.current_task()
    seen = []

    async def look() -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    task = begin(look())
    assert asyncio.current_task() is outside
    await task
    assert seen == [task, task]


async def test_a_timeout_inside_reaches_it_and_nobody_else(begin: Begin) -> None:
    async def wait() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)

    await begin(wait())
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_its_variables_are_its_own(begin: Begin) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=1)
    variable.set(2)

    async def change() -> None:
        assert variable.get() == 2
        variable.set(3)
        await asyncio.sleep(0)
        assert variable.get() == 3

    task = begin(change())
    assert variable.get() == 2
    await task
    assert variable.get() == 2


@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize("bare", [True, False])
async def test_cancelling_reaches_what_it_waits_for(begin: Begin, turns: int, bare: bool) -> None:
    """Also before the loop has come to it, and where it waits for nothing but its turn."""
    cleaned = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        try:
            while bare:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await future
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    task = begin(wait())
    for _ in range(turns):
        await asyncio.sleep(0)
    assert isinstance(task, asyncio.Task)
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]
    assert future.cancelled() is not bare


@pytest.mark.parametrize("waits", [True, False])
async def test_one_that_cancels_itself_in_its_first_step(waits: bool) -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if waits:
            await asyncio.sleep(3600)

    with pytest.raises(asyncio.CancelledError):
        await alone(work())


async def test_one_that_does_not_let_itself_be_cancelled_goes_on(begin: Begin) -> None:
    seen = []

    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            seen.append("still here")

    task = begin(wait())
    assert isinstance(task, asyncio.Task)
    task.cancel()
    await task
    assert seen == ["still here"]


async def test_those_that_end_at_once_leave_nothing_to_the_next() -> None:
    """Not a variable, and not that they have cancelled themselves; and no task when all is over."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=1)
    before = asyncio.all_tasks()
    beginner = begun.Beginner(asyncio.get_running_loop())
    seen: list[tuple[int, int]] = []

    async def work(how: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append((variable.get(), task.cancelling()))
        if how == "sets":
            variable.set(2)
        if how == "cancels":
            task.cancel()
        if how == "fails":
            raise KeyError("mine")

    for how in ("sets", "cancels", "fails", "ends", "ends"):
        if how == "fails":
            with pytest.raises(KeyError, match="mine"):
                beginner.begin(work(how))
        else:
            assert beginner.begin(work(how)) is None
    assert seen == [(1, 0)] * 5
    beginner.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_two_wait_for_the_same_future_each_as_its_own_task() -> None:
    beginner = begun.Beginner(asyncio.get_running_loop())
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seen = []

    async def wait() -> None:
        seen.append(asyncio.current_task())
        await future

    tasks = [beginner.begin(wait()), beginner.begin(wait()), alone(wait()), alone(wait())]
    beginner.close()
    assert seen == tasks
    assert len(set(tasks)) == 4
    asyncio.get_running_loop().call_later(0.001, future.set_result, None)
    await asyncio.gather(*filter(None, tasks))
