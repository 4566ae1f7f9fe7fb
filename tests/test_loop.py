"""The loop against machines that say anything: every event, every state, both ways of waiting."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mixkit import codec
from mixkit.errors import CancelledRun, GrantError, GuestError, InternalError, LimitExceeded
from mixkit.ffi import FFIGroup, FFITable
from mixkit.grants import Grants
from mixkit.limits import Budget, Limits
from mixkit.state import State
from mixkit.vm.drive import drive, drive_async
from mixkit.vm.loop import Run
from mixkit.vm.machine import (
    TERMINAL,
    TRANSITIONS,
    Event,
    Exit,
    FFICall,
    Idle,
    Panic,
    Running,
    RunState,
    Timeout,
    check_transition,
)
from mixkit.vm.portal import Portal
from mixkit.vm.threads import Threads

S = RunState


class Scripted:
    """A machine that says what its script says, and keeps what it was told."""

    def __init__(self, *events: Event | Callable[[], Event]) -> None:
        self.events = iter(events)
        self.entered: list[tuple[str, Any]] = []
        self.answers: dict[int, Any] = {}
        self.interrupted = threading.Event()
        self.gave_way = False

    def enter(self, entry: str, words: bytes) -> None:
        self.entered.append((entry, codec.decode(words)))

    def step(self, budget: int) -> Event:
        event = next(self.events)
        return event() if callable(event) else event

    def answer(self, call_id: int, words: bytes | None, error: Exception | None = None) -> None:
        self.answers[call_id] = error if words is None else codec.decode(words)

    def give_way(self) -> None:
        self.gave_way = True

    def interrupt(self) -> None:
        self.interrupted.set()


def table() -> FFITable:
    group = FFIGroup("test")

    @group.register("$double")
    def double(x: int) -> int:
        return 2 * x

    @group.register("$slow")
    async def slow(x: int) -> int:
        await asyncio.sleep(0.01)
        return x + 1

    @group.register("$never")
    async def never() -> None:
        await asyncio.sleep(3600)

    @group.register("$push")
    def push(state: State, action: dict[str, Any]) -> None:
        state.push_action(action)

    return FFITable([group])


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


class Drive:
    """Drives a machine with a thread or with a coroutine, and keeps the transcript."""

    def __init__(self, how: str, portal: Portal) -> None:
        self.how = how
        self.portal = portal
        self.transcript: list[RunState] = []
        self.state = State()
        self.run: Run | None = None
        self.turn = 0.0 if how == "threads and a loop" else 0.005

    def __call__(self, machine: Scripted, entry: str = "main", params: Any = None) -> Any:
        words = codec.encode(params)
        if self.how == "thread":
            self.run = Run(self.state, table(), self.portal.spawn, self.transcript.append)
            return codec.decode(drive(self.run, self.run.steps(machine, entry, words)))

        async def main() -> bytes:
            loop = asyncio.get_running_loop()
            self.run = Run(self.state, table(), loop.create_task, self.transcript.append)
            threads = Threads(2, "test")
            try:
                return await drive_async(self.run, self.run.steps(machine, entry, words), threads, self.turn)
            finally:
                threads.close()

        return codec.decode(asyncio.run(main()))


@pytest.fixture(name="drive", params=["thread", "loop", "threads and a loop"])
def make_drive(request: pytest.FixtureRequest, portal: Portal) -> Drive:
    return Drive(request.param, portal)


def words(value: Any) -> bytes:
    return codec.encode(value)


def test_exit_ends_the_run_with_its_value(drive: Drive) -> None:
    machine = Scripted(Running(), Exit(words({"a": 1})))
    assert drive(machine, "main", [1]) == {"a": 1}
    assert machine.entered == [("main", [1])]
    assert drive.transcript == [S.RUNNING, S.RUNNING, S.EXIT]


def test_idle_with_nothing_to_do_ends_the_run(drive: Drive) -> None:
    assert drive(Scripted(Idle(words(7)))) == 7
    assert drive.transcript == [S.RUNNING, S.IDLE, S.EXIT]


def test_sync_call_is_answered_at_once(drive: Drive) -> None:
    machine = Scripted(FFICall(1, b"$double", words([21])), Exit(words(None)))
    drive(machine)
    assert machine.answers == {1: 42}
    assert drive.transcript == [S.RUNNING, S.FFI_CALL, S.RUNNING, S.EXIT]


def test_async_calls_overlap_and_the_machine_goes_on(drive: Drive) -> None:
    machine = Scripted(
        FFICall(1, b"$slow", words([1])), FFICall(2, b"$slow", words([2])), FFICall(3, b"$double", words([3])),
        Idle(), *[lambda: Idle(None) if len(machine.answers) < 3 else Exit(words("all"))] * 2,
    )  # fmt: skip
    assert drive(machine) == "all"
    assert machine.answers == {1: 2, 2: 3, 3: 6}


def test_actions_enter_again_and_the_first_result_counts(drive: Drive) -> None:
    first = {"_rmx_type": "msg_view_invoke", "name": "second", "env": {"n": 1},
             "next": {"_rmx_type": "msg_view_invoke", "name": "third", "env": {}}}  # fmt: skip
    machine = Scripted(
        FFICall(1, b"$push", words([first])), Idle(words("result")), Idle(words("x")), Idle(words("y"))
    )
    assert drive(machine) == "result"
    assert machine.entered == [("main", None), ("second", {"n": 1}), ("third", {})]


def test_panic_is_raised_as_it_is(drive: Drive) -> None:
    error = GuestError("broken", trap="unreachable")
    with pytest.raises(GuestError) as caught:
        drive(Scripted(Panic(error)))
    assert caught.value is error
    assert drive.transcript[-1] is S.PANIC


def test_a_refused_call_is_a_panic(drive: Drive) -> None:
    drive.state.grants = Grants(["$other"])
    with pytest.raises(GrantError, match=r"\$double is not granted"):
        drive(Scripted(FFICall(1, b"$double", words([1]))))
    assert drive.transcript[-1] is S.PANIC


def test_no_event_is_an_error_of_ours(drive: Drive) -> None:
    with pytest.raises(InternalError, match="no event"):
        drive(Scripted("nonsense"))  # type: ignore[arg-type]


def test_a_pending_call_does_not_outlast_the_deadline(drive: Drive) -> None:
    drive.state.budget = Budget(Limits(wall_time=0.05))
    began = time.monotonic()
    with pytest.raises(LimitExceeded, match="wall_time"):
        drive(Scripted(FFICall(1, b"$never", words([])), Idle()))
    assert time.monotonic() - began < 5
    assert drive.transcript[-1] in TERMINAL


def test_stop_reaches_a_machine_that_is_stepped(drive: Drive) -> None:
    machine = Scripted()

    def endless() -> Event:
        assert drive.run is not None
        drive.run.stop(CancelledRun("gone"))
        assert machine.interrupted.wait(1)
        return Timeout()

    machine.events = iter([endless])
    with pytest.raises(CancelledRun, match="gone"):
        drive(machine)
    assert drive.transcript[-1] is S.TIMEOUT


def test_the_first_reason_to_stop_counts(drive: Drive) -> None:
    def stop_twice() -> Event:
        assert drive.run is not None
        drive.run.stop(CancelledRun("first"))
        drive.run.stop(CancelledRun("second"))
        return Idle(words(1))

    with pytest.raises(CancelledRun, match="first"):
        drive(Scripted(stop_twice))


def test_cancelling_the_task_cancels_calls_that_overlap_and_waits_for_them() -> None:
    cancelled = threading.Semaphore(0)
    group = FFIGroup("test")

    @group.register("$wait")
    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.02)
            cancelled.release()

    async def main() -> None:
        run = Run(State(), FFITable([group]), asyncio.get_running_loop().create_task)
        machine = Scripted(FFICall(1, b"$wait", words([])), FFICall(2, b"$wait", words([])), Idle())
        steps = run.steps(machine, "main", words(None))
        task = asyncio.create_task(drive_async(run, steps, Threads(1, "test"), 0.005))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cancelled.acquire(blocking=False)
        assert cancelled.acquire(blocking=False)

    asyncio.run(main())


def test_a_blocking_call_is_cancelled_by_stop(portal: Portal) -> None:
    run = Run(State(), table(), portal.spawn)
    machine = Scripted()

    def block() -> Event:
        threading.Timer(0.02, run.stop, [CancelledRun("enough")]).start()
        try:
            run.call(b"$never", words([]))
        except Exception as exc:
            return Panic(exc)
        raise AssertionError("the call came back")

    machine.events = iter([block])
    with pytest.raises(CancelledRun, match="enough"):
        drive(run, run.steps(machine, "main", words(None)))


def test_a_call_that_blocks_its_thread_from_the_first_moment_is_stopped_too() -> None:
    """The thread may wait in a call before whoever gave it the run has gone on."""
    blocked = threading.Event()
    waited_for: list[Never] = []

    class Never(concurrent.futures.Future[bytes]):
        def result(self, timeout: float | None = None) -> bytes:
            blocked.set()
            return super().result(5)

    def spawn(coroutine: Any) -> Never:
        coroutine.close()
        waited_for.append(Never())
        return waited_for[-1]

    class Eager(Threads):
        def submit(self, work: Any) -> None:
            super().submit(work)
            assert blocked.wait(20)

    async def main() -> None:
        run = Run(State(), table(), spawn)
        machine = Scripted(lambda: Idle(run.call(b"$never", words([]))))
        threads = Eager(1, "test")
        task = asyncio.create_task(drive_async(run, run.steps(machine, "main", words(None)), threads, 0.0))
        assert await asyncio.to_thread(blocked.wait, 20)
        run.stop(CancelledRun("enough"))
        with pytest.raises(CancelledRun, match="enough"):
            await task
        threads.close()
        assert [future.cancelled() for future in waited_for] == [True]

    asyncio.run(main())


@pytest.mark.parametrize("old", list(RunState))
@pytest.mark.parametrize("new", list(RunState))
def test_transitions_are_legal_or_an_error(old: RunState, new: RunState) -> None:
    if new in TRANSITIONS[old]:
        check_transition(old, new)
    else:
        with pytest.raises(InternalError, match=f"from {old.value} to {new.value}"):
            check_transition(old, new)


def test_nothing_follows_an_end() -> None:
    assert all(not TRANSITIONS[state] for state in TERMINAL)
