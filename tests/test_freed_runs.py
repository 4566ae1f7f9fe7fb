"""Runs that fail or are dropped are freed at once: nothing of them is left to the garbage collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mixkit import Kernel, codec
from mixkit.errors import CancelledRun, FFIError, RunError
from mixkit.ffi import FFIGroup, FFITable
from mixkit.grants import ALL
from mixkit.job import Agents, Target
from mixkit.limits import Limits
from mixkit.state import State

Guest = Callable[..., bytes]
LOOP = "(loop $l (br $l)) (unreachable)"
OURS = {"Job", "Driven", "State", "Instance", "SuspendedMachine", "GuestMachine", "Call", "Budget"}


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    group = FFIGroup("test")

    @group.register("$test_wait")
    async def wait() -> None:
        await asyncio.sleep(3600)

    @group.register("$test_fail")
    def fail() -> None:
        raise FFIError("no")

    @group.register("$test_break")
    async def break_() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    from mixkit import core_ffis

    with Kernel("test", environ={}) as kernel:
        kernel.ffis = FFITable([group, core_ffis.ffis])
        yield kernel


def calling(name: str, *args: Any) -> tuple[str, str]:
    """The data and the body of an entry that calls an FFI."""
    words = codec.encode(list(args))
    text = "".join(f"\\{byte:02x}" for byte in words)
    head = f'(data (i32.const 64) "{name}") (data (i32.const 128) "{text}")'
    call = f"(call $ffi (i32.const 64) (i32.const {len(name)}) (i32.const 128) (i32.const {len(words)}))"
    return head, f"(drop {call}) (call $pair (local.get $p) (local.get $n))"


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """What of ours is left to the garbage collector in the end."""
    left: list[str] = []
    gc.collect()
    gc.disable()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left += sorted({type(one).__name__ for one in gc.garbage} & OURS)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("way", ["cancelled", "at its deadline", "to its end"])
@pytest.mark.parametrize(
    "what",
    [
        "waits",
        "computes",
        "traps",
        "calls what fails",
        "calls what breaks",
        "calls another that waits",
        "answers",
    ],
)
async def test_nothing_of_a_run_is_left(kernel: Kernel, guest: Guest, what: str, way: str) -> None:
    if way == "to its end" and ("waits" in what or what == "computes"):
        pytest.skip("it has none")
    head, body = {
        "waits": calling("$test_wait"),
        "computes": ("", LOOP),
        "traps": ("", "(unreachable)"),
        "calls what fails": calling("$test_fail"),
        "calls what breaks": calling("$test_break"),
        "calls another that waits": calling("$core_agent_call", "below", 1),
        "answers": ("", "(call $pair (local.get $p) (local.get $n))"),
    }[what]
    program, below = kernel.load(guest(head, go=body)), None
    if "another" in what:
        head, body = calling("$test_wait")
        below = kernel.load(guest(head, go=body))

    async def resolve(state: State, name: str) -> Target:
        assert below is not None
        return Target(below, "go", grants=ALL)

    async def one() -> None:
        limits = Limits(wall_time=0.03 if way == "at its deadline" else 60)
        seconds = 0.02 if way == "cancelled" else None
        with contextlib.suppress(RunError, CancelledRun, TimeoutError):
            async with asyncio.timeout(seconds):
                await kernel.run(program, "go", 1, limits=limits, grants=ALL, agents=Agents(resolve))

    for _ in range(2):
        await one()
    await asyncio.sleep(0.02)
    with collected() as left:
        for _ in range(3):
            await one()
        await asyncio.sleep(0.02)
    assert left == []


@pytest.mark.parametrize("what", ["waits", "computes", "traps", "fails"])
def test_nothing_is_left_of_one_without_an_event_loop(kernel: Kernel, guest: Guest, what: str) -> None:
    head, body = {
        "waits": calling("$test_wait"),
        "computes": ("", LOOP),
        "traps": ("", "(unreachable)"),
        "fails": calling("$test_break"),
    }[what]
    program = kernel.load(guest(head, go=body))

    def one() -> None:
        with contextlib.suppress(RunError):
            kernel.run_sync(program, "go", 1, limits=Limits(wall_time=0.03), grants=ALL)

    one()
    with collected() as left:
        for _ in range(3):
            one()
    assert left == []
