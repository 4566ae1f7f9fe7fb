"""What an FFI does in its `finally` is awaited before the run has ended that was stopped, and nobody else's time is lost."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mixkit import Kernel, codec
from mixkit.errors import CancelledRun, LimitExceeded, RunError
from mixkit.ffi import FFIGroup, FFITable
from mixkit.grants import ALL
from mixkit.job import Agents, Target
from mixkit.limits import Limits
from mixkit.state import State
from mixkit.vm.program import Program

Guest = Callable[..., bytes]


def calling(guest: Guest, *names: str) -> bytes:
    """A guest whose entry `go` calls FFIs without arguments, one after the other."""
    words = codec.encode([])
    text = f'(data (i32.const 8) "{"".join(f"{chr(92)}{byte:02x}" for byte in words)}")'
    body = ""
    for number, name in enumerate(names, 1):
        text += f'(data (i32.const {64 * number}) "{name}")'
        arguments = (64 * number, len(name), 8, len(words))
        body += f"(drop (call $ffi {' '.join(f'(i32.const {value})' for value in arguments)}))"
    return guest(text, go=f"{body} (call $pair (local.get $p) (local.get $n))")


@pytest.fixture
def group() -> FFIGroup:
    return FFIGroup("test")


@pytest.fixture(params=[True, False], ids=["fibers", "threads"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with Kernel("test", environ={}, overrides={"settings.wasmtime.fibers": request.param}) as kernel:
        yield kernel


def calls(kernel: Kernel, guest: Guest, group: FFIGroup, *names: str) -> Program:
    """A program that calls FFIs of the group, in this kernel."""
    kernel.ffis = FFITable([group])
    return kernel.load(calling(guest, *names))


@pytest.fixture
def events(group: FFIGroup) -> list[str]:
    """What happened in `$test_wait`, which waits for ever and takes a while to clean up, several times in vain."""
    seen: list[str] = []

    @group.register("$test_wait")
    async def wait() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(3600)
        finally:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(3600)
            for _ in range(3):
                await asyncio.sleep(0.03)
            await asyncio.gather(asyncio.sleep(0.01), asyncio.to_thread(time.sleep, 0.01))
            seen.append("clean")

    return seen


async def begun(events: list[str]) -> None:
    async with asyncio.timeout(20):
        while not events:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("times", [1, 3])
async def test_when_the_task_is_cancelled_and_more_than_once(
    kernel: Kernel, guest: Guest, group: FFIGroup, events: list[str], times: int
) -> None:
    task = asyncio.create_task(kernel.run(calls(kernel, guest, group, "$test_wait"), "go", grants=ALL))
    await begun(events)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0.02)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["begun", "clean"]


def test_at_the_deadline(kernel: Kernel, guest: Guest, group: FFIGroup, events: list[str]) -> None:
    code = calls(kernel, guest, group, "$test_wait")
    kernel.run_sync(code, "echo")

    async def run() -> None:
        await kernel.run(code, "go", grants=ALL, limits=Limits(wall_time=1))

    for go in (
        lambda: asyncio.run(run()),
        lambda: kernel.run_sync(code, "go", grants=ALL, limits=Limits(wall_time=1)),
    ):
        with pytest.raises(RunError) as caught:
            go()
        assert isinstance(caught.value.__cause__, LimitExceeded)
        assert caught.value.__cause__.limit == "wall_time"
        assert events == ["begun", "clean"]
        events.clear()


async def test_in_a_nested_run(kernel: Kernel, guest: Guest, group: FFIGroup, events: list[str]) -> None:
    @group.register("$test_below")
    async def below(state: State) -> None:
        await state.services.call_agent(state, "below", None)

    outer, inner = (calls(kernel, guest, group, name) for name in ("$test_below", "$test_wait"))

    async def resolve(state: State, name: str) -> Target:
        return Target(inner, "go", grants=ALL)

    task = asyncio.create_task(kernel.run(outer, "go", grants=ALL, agents=Agents(resolve)))
    await begun(events)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["begun", "clean"]


async def test_one_that_does_not_end_is_left(
    kernel: Kernel,
    guest: Guest,
    group: FFIGroup,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for module in ("driven", "spawned"):
        monkeypatch.setattr(f"mixkit.vm.{module}.CLEANUP", 0.2)
    begins, stop = asyncio.Event(), False
    loop = asyncio.get_running_loop()

    @group.register("$test_deaf")
    async def deaf() -> None:
        while not stop:
            loop.call_soon_threadsafe(begins.set)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    task = asyncio.create_task(kernel.run(calls(kernel, guest, group, "$test_deaf"), "go", grants=ALL))
    await begins.wait()
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0.2 <= time.monotonic() - began < 20
    assert "has not ended within 0.2 s" in caplog.text
    stop = True


async def test_what_it_does_to_its_task_is_not_done_to_its_callers(
    kernel: Kernel, guest: Guest, group: FFIGroup
) -> None:
    """Timeouts cancel the current task, and a context belongs to one."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=1)
    variable.set(2)
    seen: list[Any] = []

    @group.register("$test_timeout")
    async def timeout() -> None:
        seen.append((variable.get(), asyncio.current_task()))
        variable.set(3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)
        await asyncio.sleep(0)
        seen.append((variable.get(), asyncio.current_task()))

    await kernel.run(calls(kernel, guest, group, "$test_timeout"), "go", grants=ALL)
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0
    assert variable.get() == 2
    assert seen[1][0] == 3
    assert seen[0][1] is seen[1][1] is not me
    assert seen[0][1] is not None


async def test_one_that_refuses_to_be_cancelled_has_its_way_and_the_run_ends_all_the_same(
    kernel: Kernel, guest: Guest, group: FFIGroup
) -> None:
    begins, later = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    @group.register("$test_wait")
    async def wait() -> None:
        loop.call_soon_threadsafe(begins.set)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    group.register_simple("$test_later", lambda: later.append(1))
    task = asyncio.create_task(
        kernel.run(calls(kernel, guest, group, "$test_wait", "$test_later"), "go", grants=ALL)
    )
    await begins.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert later == []


async def test_one_that_cancels_itself_ends_its_run_and_no_other(
    kernel: Kernel, guest: Guest, group: FFIGroup
) -> None:
    @group.register("$test_self")
    async def cancel_self() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises((RunError, CancelledRun)):
        await kernel.run(calls(kernel, guest, group, "$test_self"), "go", grants=ALL)
    assert (await kernel.run(calls(kernel, guest, group), "go", 1, grants=ALL)).value == 1
