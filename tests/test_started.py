"""Coroutines that are started where they are called: what they see is what a task of asyncio's shows them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from mixkit.vm.started import Started, start


def begin(coroutine: Coroutine[Any, Any, Any]) -> Started:
    return start(asyncio.get_running_loop(), coroutine)


async def ended(started: Started) -> Started:
    done = asyncio.Event()
    started.add_done_callback(lambda _: done.set())
    await asyncio.wait_for(done.wait(), 10)
    return started


async def test_what_need_not_wait_is_done_at_once() -> None:
    async def answer() -> bytes:
        return b"now"

    started = begin(answer())
    assert started.done() and not started.cancelled()
    assert started.result() == b"now"
    seen: list[Started] = []
    started.add_done_callback(seen.append)
    assert seen == [started]
    assert not started.cancel()


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_what_is_raised_comes_out(turns: int, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> bytes:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise KeyError("mine")

    started = await ended(begin(fail()))
    with pytest.raises(KeyError, match="mine"):
        started.result()
    del started
    await asyncio.sleep(0)
    gc.collect()
    assert caplog.text == "", "asyncio complains of nobody having looked"


async def test_waits_of_every_kind_are_waited_for() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()
    loop.call_later(0.01, future.set_result, b"later")

    async def wait() -> bytes:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0.001, 2)) == [1, 2]
        return await future

    started = begin(wait())
    assert not started.done()
    assert (await ended(started)).result() == b"later"


async def test_it_is_a_task_of_its_own_from_the_first_moment() -> None:
    outside = asyncio.current_task()
    seen: list[Any] = []

    async def look() -> bytes:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        return b""

    started = begin(look())
    assert asyncio.current_task() is outside
    await ended(started)
    assert seen[0] is seen[1] is not outside
    assert seen[0] is not None


async def test_a_timeout_inside_reaches_it_and_nobody_else() -> None:
    async def wait() -> bytes:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)
        except TimeoutError:
            return b"in time"
        return b"never"

    started = begin(wait())
    assert (await ended(started)).result() == b"in time"
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_its_variables_are_its_own() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=1)
    variable.set(2)

    async def change() -> bytes:
        assert variable.get() == 2
        variable.set(3)
        await asyncio.sleep(0)
        assert variable.get() == 3
        return b""

    started = begin(change())
    assert variable.get() == 2
    (await ended(started)).result()
    assert variable.get() == 2


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_cancelling_reaches_what_it_waits_for(turns: int) -> None:
    cleaned = []

    async def wait() -> bytes:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)
        return b"never"

    started = begin(wait())
    for _ in range(turns):
        await asyncio.sleep(0)
    assert started.cancel()
    await ended(started)
    assert started.cancelled() and cleaned == [True]


async def test_one_that_does_not_let_itself_be_cancelled_has_its_answer() -> None:
    async def wait() -> bytes:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return b"still here"
        return b"never"

    started = begin(wait())
    started.cancel()
    assert (await ended(started)).result() == b"still here"
