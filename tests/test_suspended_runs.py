"""Runs that wait hold no thread: many at once, stopped at any moment, nested, and beside runs that compute."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from mixkit import Kernel, codec
from mixkit.errors import CancelledRun, LimitExceeded, NotFound, RunError
from mixkit.ffi import FFIGroup, FFITable
from mixkit.grants import ALL
from mixkit.job import Agents, Target
from mixkit.limits import Limits
from mixkit.state import State

Guest = Callable[..., bytes]
LOOP = "(loop $l (br $l)) (unreachable)"
FILLS = """(loop $l (drop (memory.grow (i32.const 16)))
  (memory.fill (i32.const 65536) (i32.const 1) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)))
  (br $l)) (unreachable)"""
CALLS = """(loop $l (drop (call $ffi (i32.const 64) (i32.const 9) (i32.const 128) (i32.const 4))) (br $l))
  (unreachable)"""


def data(at: int, content: bytes) -> str:
    return f'(data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in content)}")'


def calls(name: str, *args: Any) -> tuple[str, str]:
    """The data of a guest that calls an FFI, and the instructions that leave its answer as the result."""
    words = codec.encode(list(args))
    body = (
        f"(local.set $p (call $ffi (i32.const 64) (i32.const {len(name)}) (i32.const 128) (i32.const {len(words)})))"
        " (local.set $n (call $alloc (local.get $p))) (call $take (local.get $n))"
        " (call $pair (local.get $n) (local.get $p))"
    )
    return data(64, name.encode()) + data(128, words), body


@pytest.fixture
def group() -> FFIGroup:
    return FFIGroup("test")


@pytest.fixture
def kernel(group: FFIGroup) -> Iterator[Kernel]:
    """A kernel with two threads and the FFIs of the group, which may be called without end."""
    overrides = {"settings.kernel.threads": 2, "limits.host_calls": 1 << 40}
    with Kernel("test", environ={}, overrides=overrides) as kernel:
        kernel.ffis = FFITable([group, *_groups(kernel)])
        yield kernel


def _groups(kernel: Kernel) -> list[FFIGroup]:
    from mixkit import core_ffis

    return [core_ffis.ffis]


@pytest.fixture
def events(group: FFIGroup) -> list[str]:
    """What happened in `$test_wait`, which waits for ever, and says how it ended."""
    seen: list[str] = []

    @group.register("$test_wait")
    async def wait() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("ended")

    return seen


@contextlib.asynccontextmanager
async def slowest_turn() -> AsyncIterator[list[float]]:
    """The longest time that the event loop was away, in seconds."""
    longest = [0.0]

    async def beat() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest[0] = max(longest[0], time.monotonic() - began)

    heart = asyncio.create_task(beat())
    try:
        yield longest
    finally:
        heart.cancel()


def waiter(guest: Guest, ms: int) -> bytes:
    head, body = calls("$core_sleep", ms)
    return guest(head, go=body)


async def test_many_wait_in_no_thread(kernel: Kernel, guest: Guest) -> None:
    program = kernel.load(waiter(guest, 500))
    await kernel.run(program, "go")
    threads, began = threading.active_count(), time.monotonic()
    runs = [asyncio.create_task(kernel.run(program, "go")) for _ in range(200)]
    await asyncio.sleep(0.1)
    assert threading.active_count() <= threads + 2
    assert [(await run).value for run in runs] == [None] * 200
    assert time.monotonic() - began < 200 * 0.5 / 3


@pytest.mark.parametrize("endless", [LOOP, FILLS, CALLS], ids=["compute", "take memory", "call FFIs"])
async def test_those_that_never_end_delay_nobody(kernel: Kernel, guest: Guest, endless: str) -> None:
    """More of them than there are threads, and all of them go on."""
    spinner = kernel.load(guest(data(64, b"$core_now") + data(128, codec.encode([])), spin=endless))
    quick = kernel.load(guest())
    await kernel.run(quick, "echo", 1)
    spinning = [asyncio.create_task(kernel.run(spinner, "spin")) for _ in range(5)]
    await asyncio.sleep(0.1)
    async with slowest_turn() as longest:
        for number in range(50):
            assert (await kernel.run(quick, "echo", number)).value == number
    assert longest[0] < 0.5
    for run in spinning:
        run.cancel()
    ended = await asyncio.gather(*spinning, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)


async def test_a_run_that_needs_a_thread_gets_one_though_all_compute(
    kernel: Kernel, guest: Guest, group: FFIGroup
) -> None:
    group.register_simple("$test_block", lambda: threading.current_thread().name)
    kernel.ffis = FFITable([group])
    head, body = calls("$test_block")
    spinner, blocking = kernel.load(guest(spin=LOOP)), kernel.load(guest(head, go=body))
    await kernel.run(blocking, "go", grants=ALL)
    spinning = [asyncio.create_task(kernel.run(spinner, "spin")) for _ in range(4)]
    await asyncio.sleep(0.1)
    answer = await asyncio.wait_for(kernel.run(blocking, "go", grants=ALL), 20)
    assert str(answer.value).startswith("mixkit-run")
    for run in spinning:
        run.cancel()
    await asyncio.gather(*spinning, return_exceptions=True)


async def test_quick_ffis_are_called_on_the_loop_and_named_when_they_are_not(
    kernel: Kernel, guest: Guest, group: FFIGroup, caplog: pytest.LogCaptureFixture
) -> None:
    def where() -> str:
        time.sleep(0.15)
        return threading.current_thread().name

    group.register_simple("$test_where", where, quick=True)
    kernel.ffis = FFITable([group])
    head, body = calls("$test_where")
    program = kernel.load(guest(head, go=body))
    await kernel.run(program, "go", grants=ALL)
    assert (await kernel.run(program, "go", grants=ALL)).value == threading.main_thread().name
    assert "$test_where is registered as quick and was not" in caplog.text


@pytest.mark.parametrize(("raw", "later"), [(False, True), (True, False)])
async def test_async_ffis_that_hold_the_loop_are_named(
    kernel: Kernel,
    guest: Guest,
    group: FFIGroup,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    raw: bool,
    later: bool,
) -> None:
    """When they are called, or when they go on."""
    monkeypatch.setattr("mixkit.vm.slow._told", {})
    hold = time.sleep

    async def block(*args: object) -> bytes:
        if not later:
            hold(0.15)
        await asyncio.sleep(0)
        if later:
            hold(0.15)
        return codec.encode(7)

    if raw:
        group.register_raw("$test_hold", block)
    else:
        group.register_async("$test_hold", lambda state: block())
    kernel.ffis = FFITable([group])
    head, body = calls("$test_hold")
    await kernel.run(guest(head, go=body), "go", grants=ALL)
    await kernel.run(guest(head, go=body), "go", grants=ALL)
    named = [record.getMessage() for record in caplog.records if "held the event loop" in record.getMessage()]
    # Once a minute.
    assert [name.partition(" ")[0] for name in named] == ["$test_hold"]


async def test_ffis_that_block_stop_nobody_who_needs_no_thread(
    kernel: Kernel, guest: Guest, group: FFIGroup
) -> None:
    """As many of them as there are threads, and more."""
    end, inside = threading.Event(), threading.Semaphore(0)

    def block() -> bool:
        inside.release()
        return end.wait(30)

    group.register_simple("$test_block", block)
    kernel.ffis = FFITable([group, *_groups(kernel)])
    quick, sleeper = kernel.load(guest()), kernel.load(waiter(guest, 1))
    for program, entry in ((quick, "echo"), (sleeper, "go")):
        await kernel.run(program, entry)
    head, body = calls("$test_block")
    blocked = [asyncio.create_task(kernel.run(guest(head, go=body), "go", grants=ALL)) for _ in range(3)]
    for _ in range(2):
        assert await asyncio.to_thread(inside.acquire, timeout=20)
    for _ in range(50):
        assert (await kernel.run(quick, "echo", 5)).value == 5
        assert (await kernel.run(sleeper, "go")).value is None
    assert not any(run.done() for run in blocked)
    end.set()
    assert [(await run).value for run in blocked] == [True] * 3


async def test_a_cancelled_run_ends_at_once_with_what_it_waited_for(
    kernel: Kernel, guest: Guest, group: FFIGroup, events: list[str]
) -> None:
    kernel.ffis = FFITable([group])
    head, body = calls("$test_wait")
    program = kernel.load(guest(head, go=body))
    for ready in (0.1, 0.0):
        events.clear()
        task = asyncio.create_task(kernel.run(program, "go", grants=ALL))
        await asyncio.sleep(ready)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)
        assert events in (["begun", "ended"], [])
    assert len(kernel.programs.idle._known) == 0


def test_a_waiting_run_ends_at_its_deadline(
    kernel: Kernel, guest: Guest, group: FFIGroup, events: list[str]
) -> None:
    kernel.ffis = FFITable([group])
    head, body = calls("$test_wait")
    code = guest(head, go=body)

    async def run() -> None:
        await kernel.run(code, "go", grants=ALL, limits=Limits(wall_time=0.2))

    for go in (
        lambda: asyncio.run(run()),
        lambda: kernel.run_sync(code, "go", grants=ALL, limits=Limits(wall_time=0.2)),
    ):
        with pytest.raises(RunError) as caught:
            go()
        assert isinstance(caught.value.__cause__, LimitExceeded)
        assert caught.value.__cause__.limit == "wall_time"
    assert events == ["begun", "ended"] * 2


async def test_nested_runs_hold_no_thread_either(kernel: Kernel, guest: Guest) -> None:
    """Deeper than there are threads, many at once."""
    head, body = calls("$core_agent_call", "below", 1)
    deep, last = kernel.load(guest(head, go=body)), kernel.load(waiter(guest, 50))

    async def resolve(state: State, name: str) -> Target:
        bottom = state.budget.spent("depth") >= 6
        return Target(last if bottom else deep, "go")

    agents = Agents(resolve)
    answers = await asyncio.gather(*(kernel.run(deep, "go", 1, agents=agents) for _ in range(20)))
    assert len(answers) == 20
    assert "limit depth" in repr(
        (await kernel.run(deep, "go", 1, agents=agents, limits=Limits(depth=3))).value
    )


async def test_an_ffi_that_is_cancelled_by_others_ends_the_run(
    kernel: Kernel, guest: Guest, group: FFIGroup
) -> None:
    @group.register("$test_gone")
    async def gone() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    kernel.ffis = FFITable([group])
    head, body = calls("$test_gone")
    with pytest.raises((RunError, CancelledRun)):
        await kernel.run(guest(head, go=body), "go", grants=ALL)


def test_without_fibers_everything_goes_in_threads(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an engine does that cannot suspend a guest: the same results, nested runs and stops."""
    with Kernel("test", environ={}, overrides={"settings.wasmtime.fibers": False}) as kernel:
        head, body = calls("$core_agent_call", "below", 1)
        deep, last = kernel.load(guest(head, go=body)), kernel.load(waiter(guest, 20))
        assert not deep.suspends

        async def resolve(state: State, name: str) -> Target:
            if name != "below":
                raise NotFound(name)
            return Target(last if state.budget.spent("depth") >= 3 else deep, "go")

        async def main() -> None:
            runs = [kernel.run(deep, "go", 1, agents=Agents(resolve)) for _ in range(5)]
            assert len(await asyncio.gather(*runs)) == 5
            for entry, code in (("spin", guest(spin=LOOP)), ("go", waiter(guest, 60_000))):
                task = asyncio.create_task(kernel.run(code, entry))
                await asyncio.sleep(0.2)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(main())
        with pytest.raises(RunError, match="wall_time"):
            kernel.run_sync(last, "go", limits=Limits(wall_time=0.01))
        assert kernel.run_sync(last, "go").value is None


@pytest.mark.parametrize("fibers", [True, False])
async def test_a_run_that_is_cancelled_twice_has_ended_when_its_task_has(
    guest: Guest, group: FFIGroup, fibers: bool
) -> None:
    begun, end = threading.Event(), threading.Event()

    @group.register("$test_deaf")
    def deaf() -> None:
        begun.set()
        assert end.wait(20)

    with Kernel("test", environ={}, overrides={"settings.wasmtime.fibers": fibers}) as kernel:
        kernel.ffis = FFITable([group])
        head, body = calls("$test_deaf")
        task = asyncio.create_task(kernel.run(guest(head, go=body), "go", grants=ALL))
        assert await asyncio.to_thread(begun.wait, 20)
        for _ in range(3):
            task.cancel()
            await asyncio.wait([task], timeout=0.05)
            assert not task.done(), "its thread is still in the FFI"
        end.set()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("turn", [0.005, 0.0])
async def test_what_an_ffi_says_when_it_is_stopped_is_not_why_the_run_ended(
    kernel: Kernel, guest: Guest, group: FFIGroup, turn: float
) -> None:
    kernel._slice = turn

    @group.register("$test_block")
    def block(state: State) -> None:
        woken = threading.Event()
        with state.interruptible(woken.set):
            assert woken.wait(20)
        raise NotFound("woken")

    kernel.ffis = FFITable([group])
    head, body = calls("$test_block")
    with pytest.raises(RunError) as caught:
        await kernel.run(guest(head, go=body), "go", grants=ALL, limits=Limits(wall_time=0.3))
    assert isinstance(caught.value.__cause__, LimitExceeded)


async def test_a_nested_run_gets_what_is_left_of_its_callers_turn(
    kernel: Kernel, guest: Guest, group: FFIGroup
) -> None:
    """So that a chain of them holds the loop no longer than one run does."""
    turns: list[float] = []
    group.register_sync("$test_turn", lambda state: turns.append(state.budget.turn), quick=True)
    kernel.ffis = FFITable([group, *_groups(kernel)])
    head, body = calls("$core_agent_call", "below", 1)
    outer = kernel.load(guest(head, go=body))
    head, body = calls("$test_turn")
    inner = kernel.load(guest(head, go=body))

    async def resolve(state: State, name: str) -> Target:
        turns.append(state.budget.turn)
        return Target(inner, "go", grants=ALL)

    for _ in range(2):
        turns.clear()
        await kernel.run(outer, "go", 1, agents=Agents(resolve), grants=ALL)
    assert turns[0] == turns[1] > 0
    turns.clear()
    await kernel.run(inner, "go", grants=ALL)
    assert turns[0] > 0
