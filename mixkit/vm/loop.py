"""The loop: takes a machine from event to event until the run has a result, fails, or is stopped.

It is written once, as a generator that says what it waits for and where it wants to go on; `mixkit.vm.drive` does so.
A machine yields `FFICall` events; one that blocks, for lack of an engine that suspends guests, calls FFIs through
`Run.call` from inside its step. Both pass the same states.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import enum
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from mixkit import codec
from mixkit.contracts import Instance
from mixkit.errors import CancelledRun, InternalError
from mixkit.ffi import FFI, FFITable
from mixkit.octets import Answer
from mixkit.state import State
from mixkit.value import UNDEF
from mixkit.vm.machine import (
    TERMINAL,
    TRANSITIONS,
    Event,
    Exit,
    FFICall,
    Idle,
    Machine,
    Panic,
    Running,
    RunState,
    Sleep,
    Timeout,
    check_transition,
)
from mixkit.vm.slow import SLOW, tell
from mixkit.vm.spawned import CLEANUP

__all__ = ["LARGE", "Future", "Interruptible", "Pause", "Run", "Spawn", "Steps", "Where"]

_log = logging.getLogger("mixkit.vm")
T = TypeVar("T")
SLICE = 100_000
"""Instructions that a machine which counts them runs before others get a turn."""
LARGE = 64 << 10
"""Bytes of codec words above which they are encoded, decoded and checked in a thread."""


class Future(Protocol):
    """What `concurrent.futures.Future` and `asyncio.Task` have in common."""

    def done(self) -> bool: ...
    def cancel(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def result(self) -> Any: ...
    def add_done_callback(self, call: Callable[[Any], object], /) -> None: ...


class Interruptible(Protocol):
    """Anything that `interrupt()` stops from another thread: an instance, a machine."""

    def interrupt(self) -> None: ...


class Where(enum.Enum):
    """Where a run wants to go on. Who drives it on one thread need not care."""

    LOOP = "on the event loop"
    THREAD = "in a thread, for what may hold it"


Spawn: TypeAlias = Callable[[Coroutine[Any, Any, Answer]], Any]
"""Starts an async FFI on an event loop and answers its future."""
Pause: TypeAlias = "Coroutine[Any, Any, Answer] | set[Future] | Where | None"
"""What a run asks for: the answer of an async FFI, the first of some futures, a place, or (None) that others get a
turn. The answer is sent to it, or what was raised in its place is thrown."""
Steps: TypeAlias = Generator[Pause, Any, T]


_OVER = CancelledRun("the run is over")


class Run:
    """One run of one machine.

    Args:
        state: what FFIs may touch; its budget holds the deadline.
        table: the FFIs.
        spawn: starts async FFIs that overlap, or all where a thread waits for them: called on the event loop and
            answering its tasks, or answering concurrent futures.
        trace: called with each state that the run enters, for tests and debugging.

    Attributes:
        deadline: `time.monotonic()` at which `expire` is to be called.
        purse: what its instance takes memory from.
        late: whether this turn of the run is over.
    """

    __slots__ = (
        "_found",
        "_lock",
        "_machine",
        "_pending",
        "_running",
        "_spawn",
        "_stop",
        "_table",
        "_trace",
        "_wake",
        "deadline",
        "late",
        "phase",
        "purse",
        "state",
    )

    def __init__(
        self, state: State, table: FFITable, spawn: Spawn, trace: Callable[[RunState], None] | None = None
    ) -> None:
        self.state = state
        self.deadline = state.budget.deadline
        self.purse = state.budget.purse
        self.phase = RunState.INIT_DONE
        self._table = table
        self._spawn = spawn
        self._trace = trace
        self._lock = threading.Lock()
        self._running: Interruptible | None = None
        self._wake: Callable[[], object] | None = None
        self._pending: dict[Any, int] = {}
        self._stop: Exception | None = None
        self._machine: Machine | None = None
        self._found: FFI | None = None
        self.late = False

    # -- stopping -----------------------------------------------------------------------------

    def attach(self, running: Interruptible | None) -> None:
        """Say what is running now, so that `stop` reaches it. Raises at once if the run is already stopped."""
        # PERF: without the lock. Whoever of this and `stop` writes last sees what the other has written.
        self._running = running
        if self._stop is not None and running is not None:
            raise self._stop

    def stop(self, reason: Exception) -> None:
        """End the run from any thread, wherever it is; the first reason is the one that is raised."""
        with self._lock:
            if self._stop is not None or self.phase in TERMINAL:
                return
            self._stop = reason
        running, wake = self._running, self._wake
        if running is not None:
            running.interrupt()
        if wake is not None:
            wake()
        self.state.interrupt()

    def over(self) -> None:
        """It has ended, and nobody asks any more why it was stopped: the reason, once raised, leads here."""
        if self._stop is not None:
            self._stop = _OVER

    def on_stop(self, wake: Callable[[], object] | None) -> bool:
        """Have `wake()` called, from any thread, when the run is stopped. False if it has been, and maybe the call."""
        self._wake = wake
        return self._stop is None

    def charge(self, instance: Instance) -> None:
        """Let an instance take its memory from what the run has left, and all that it was started by.

        Raises:
            LimitExceeded: that is less than it has already.
        """
        instance.charge(self.purse)

    def expire(self) -> None:
        """The deadline has passed."""
        self.stop(self.state.budget.exceeded("wall_time"))

    def alarm(self) -> None:
        """A turn is over: the machine is to give way to others, unless the deadline has passed."""
        if time.monotonic() >= self.deadline:
            self.expire()
            return
        # It may come before there is a machine.
        self.late = True
        machine = self._machine
        if machine is not None:
            machine.give_way()

    @property
    def stopped(self) -> Exception | None:
        """Why the run was stopped from outside, or None."""
        return self._stop

    def _to(self, phase: RunState) -> None:
        if phase not in TRANSITIONS[self.phase]:
            check_transition(self.phase, phase)
        self.phase = phase
        if self._trace is not None:
            self._trace(phase)

    # -- what a machine calls while it is stepped ------------------------------------------------

    def call_quick(self, name: bytes, words: bytes) -> Answer | None:
        """Answer an FFI call at once, if that FFI is quick; None for one that the machine has to make an event of.

        PERF: leaving a guest and going on with it costs as much as a quick FFI does. Nobody sees the states that pass
        meanwhile, unless they are traced.
        """
        if self._trace is not None:
            self._to(RunState.FFI_CALL)
        ffi = self._table.find(self.state, name, words)
        if not ffi.quick or len(words) > LARGE:
            if self._trace is None:
                self._to(RunState.FFI_CALL)
            self._found = ffi
            return None
        answer: Answer = self._invoke(ffi, words)
        if self._trace is not None:
            self._to(RunState.RUNNING)
        self.state.budget.check_call(answer)
        return answer

    def call(self, name: bytes, words: bytes) -> Answer:
        """Answer an FFI call of a machine that blocks: at once, or when the async FFI is done."""
        self._to(RunState.FFI_CALL)
        ffi, answer = self._table.dispatch(self.state, name, words)
        if ffi.is_async:
            answer = self.wait_for(answer)
        self._to(RunState.RUNNING)
        self.state.budget.check_call(answer)
        return cast("Answer", answer)

    def log(self, level: int, message: str) -> None:
        """A line of guest output."""
        self.state.log(level, message)

    def sleep(self, seconds: float) -> None:
        """Wait so long, at most until the run is stopped, which is then raised."""
        with contextlib.suppress(TimeoutError):
            self._wait(concurrent.futures.Future(), self._at_most(seconds))

    def _at_most(self, seconds: float) -> float:
        # Little more than what is left: the watchdog comes first, and no number is too large.
        return min(seconds, self.state.budget.remaining() + 1)

    def wait_for(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        """Start an async FFI and wait, on this thread, until it has ended. Raises what it raises, or why the run was
        stopped."""
        return self._wait(self._spawn(coroutine))

    def _wait(self, future: concurrent.futures.Future[Answer], timeout: float | None = None) -> Answer:
        try:
            if not self.on_stop(future.cancel):
                future.cancel()
            answer: Answer = future.result(timeout)
            return answer
        except concurrent.futures.CancelledError:
            raise self._stop or CancelledRun("the host call was cancelled") from None
        finally:
            self.on_stop(None)
            # What it raises leads to this frame.
            del future

    # -- the loop -----------------------------------------------------------------------------

    def steps(self, machine: Machine, entry: str, words: bytes) -> Steps[bytes]:
        """Run an entry to its result.

        Returns:
            Codec words of the result.

        Raises:
            Exception: the error that ended the run: the panic's, or the reason given to `stop`.
        """
        result: bytes | None = None
        event: Event | None = None
        closed = False
        try:
            self.attach(machine)
            self._machine = machine
            if self.late:
                machine.give_way()
            self._to(RunState.RUNNING)
            machine.enter(entry, words)
            while True:
                event = machine.step(SLICE)
                match Timeout() if self._stop is not None else event:
                    case Idle(finished, latest, awaits, runs):
                        result = finished if result is None or latest else result
                        self._to(RunState.IDLE)
                        if runs:
                            yield None
                            self._check_stopped()
                            self._to(RunState.RUNNING)
                        elif self._pending and awaits:
                            yield set(self._pending)
                            self._check_stopped()
                            self._answer_done(machine)
                            self._to(RunState.RUNNING)
                        elif (action := self.state.actions.take()) is not None:
                            self._to(RunState.RUNNING)
                            machine.enter(
                                action.name, codec.encode(action.params, token=self.state.token_to_handle)
                            )
                        else:
                            self._to(RunState.EXIT)
                            return codec.encode(UNDEF) if result is None else result
                    case FFICall(call_id, name, args, blocks):
                        ffi, self._found = self._found, None
                        if ffi is None:
                            self._to(RunState.FFI_CALL)
                            ffi = self._table.find(self.state, name, args)
                        if not (ffi.quick or ffi.is_async) or len(args) > LARGE:
                            yield Where.THREAD
                            self._check_stopped()
                        answer = self._invoke(ffi, args)
                        if ffi.is_async and not blocks:
                            yield from self._begin(machine, answer, call_id)
                        else:
                            if ffi.is_async:
                                answer = yield answer
                                self._check_stopped()
                            self.state.budget.check_call(answer)
                            machine.answer(call_id, answer)
                        self._to(RunState.RUNNING)
                        if self.late:
                            # Between its calls a guest may come by no loop and no function, where it would give way.
                            yield None
                            self._check_stopped()
                    case Sleep(call_id, seconds):
                        yield _sleep(self._at_most(seconds))
                        self._check_stopped()
                        machine.answer(call_id, b"")
                    case Running():
                        self._to(RunState.RUNNING)
                        yield None
                        self._check_stopped()
                    case Exit(finished):
                        self._to(RunState.EXIT)
                        return finished
                    case Panic():
                        self._to(RunState.PANIC)
                        assert isinstance(event, Panic)
                        raise event.error
                    case Timeout():
                        raise self._stop or CancelledRun("the machine was stopped")
                    case _:
                        raise InternalError(f"a machine answered {event!r}, which is no event")
        except GeneratorExit:
            closed = True
            raise
        except Exception as exc:
            if self.phase not in TERMINAL:
                self._to(RunState.TIMEOUT if self._stop is not None else RunState.PANIC)
            if self._stop is not None and exc is not self._stop:
                # An FFI that was made to end says so in its own words.
                raise self._stop from None
            raise
        finally:
            # What is raised leads to this frame.
            event = None
            self._machine = None
            self.attach(None)
            if self._pending:
                if not closed:
                    # Tasks of the loop are cancelled there.
                    yield Where.LOOP
                yield from self._leave(closed)

    def _invoke(self, ffi: FFI, args: bytes) -> Any:
        if not ffi.quick or len(args) > LARGE:
            return ffi.invoke(self.state, args)
        began = time.monotonic()
        try:
            return ffi.invoke(self.state, args)
        finally:
            if (taken := time.monotonic() - began) > SLOW:
                tell(ffi.name, taken, "is registered as quick and was not")

    def _begin(self, machine: Machine, answer: Any, call_id: int) -> Steps[None]:
        """Start an async FFI, on the event loop."""
        try:
            yield Where.LOOP
            self._check_stopped()
        except BaseException:
            answer.close()
            raise
        future = self._spawn(answer)
        self._pending[future] = call_id
        if future.done():
            self._answer_done(machine)

    def _leave(self, closed: bool) -> Steps[None]:
        """Cancel what it has called and is not over, and wait for it as long as it may clean up."""
        left: set[Future] = set(self._pending)
        self._pending.clear()
        for future in left:
            future.add_done_callback(_forget)
            future.cancel()
        end = time.monotonic() + CLEANUP
        while not closed and left and time.monotonic() < end:
            yield left
            left = {future for future in left if not future.done()}
        if not closed and left:
            _log.error(
                "run %s of %s ends without %d FFIs that do not", self.state.run_id, self.state.code, len(left)
            )

    def _check_stopped(self) -> None:
        if self._stop is not None:
            raise self._stop
        self.state.budget.check_time()

    def _answer_done(self, machine: Machine) -> None:
        for future in [future for future in self._pending if future.done()]:
            call_id = self._pending.pop(future)
            if future.cancelled():
                raise CancelledRun("the host call was cancelled")
            answer = future.result()
            self.state.budget.check_call(answer)
            machine.answer(call_id, answer)


async def _sleep(seconds: float) -> bytes:
    import asyncio

    await asyncio.sleep(seconds)
    return b""


def _forget(future: Future) -> None:
    """Look at what a call raised that nobody waits for any more, or asyncio would log it."""
    if not future.cancelled():
        with contextlib.suppress(BaseException):
            future.result()
