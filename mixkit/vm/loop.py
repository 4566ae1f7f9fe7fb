"""The loop: drives a machine from event to event until the run has a result, fails, or is stopped.

It is written once, as a generator that says what it waits for; `Run.drive` waits with a thread, `Run.drive_async`
with a coroutine. A machine that blocks (a Wasm guest) calls FFIs through `Run.call` from inside its step; one
that yields (QCode) answers `FFICall` events. Both pass the same states.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Protocol, TypeAlias

from mixkit import codec
from mixkit.contracts import Instance
from mixkit.errors import CancelledRun, InternalError
from mixkit.ffi import FFITable
from mixkit.state import State
from mixkit.value import UNDEF
from mixkit.vm.machine import (
    TERMINAL,
    TRANSITIONS,
    Exit,
    FFICall,
    Idle,
    Machine,
    Panic,
    Running,
    RunState,
    Timeout,
    check_transition,
)

__all__ = ["Interruptible", "Run", "Spawn"]

_log = logging.getLogger("mixkit.vm")
SLICE = 100_000
"""Instructions that a machine which counts them runs before others get a turn."""


class Future(Protocol):
    """What `concurrent.futures.Future` and `asyncio.Task` have in common."""

    def done(self) -> bool: ...
    def cancel(self) -> bool: ...
    def result(self) -> Any: ...


class Interruptible(Protocol):
    """Anything that `interrupt()` stops from another thread: an instance, a machine."""

    def interrupt(self) -> None: ...


Spawn: TypeAlias = Callable[[Awaitable[bytes]], Any]
"""Starts an async FFI on an event loop and answers its future."""
Pause: TypeAlias = "set[Future] | None"
"""What the loop waits for: the first of some futures, or (None) only for its next turn."""


class Run:
    """One run of one machine.

    Args:
        state: what FFIs may touch; its budget holds the deadline.
        table: the FFIs.
        spawn: starts async FFIs. Answers concurrent futures for `drive`, asyncio tasks for `drive_async`.
        trace: called with each state that the run enters, for tests and debugging.

    Attributes:
        deadline: `time.monotonic()` at which `expire` is to be called.
        purse: what its instance takes memory from.
    """

    __slots__ = (
        "_lock",
        "_pending",
        "_running",
        "_spawn",
        "_stop",
        "_table",
        "_trace",
        "_waiting",
        "deadline",
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
        self._waiting: Future | None = None
        self._pending: dict[Any, int] = {}
        self._stop: Exception | None = None

    # -- stopping -----------------------------------------------------------------------------

    def attach(self, running: Interruptible | None) -> None:
        """Say what is running now, so that `stop` reaches it. Raises at once if the run is already stopped."""
        with self._lock:
            self._running = running
            if self._stop is not None and running is not None:
                raise self._stop

    def stop(self, reason: Exception) -> None:
        """End the run from any thread, wherever it is; the first reason is the one that is raised."""
        with self._lock:
            if self._stop is not None or self.phase in TERMINAL:
                return
            self._stop = reason
            if self._running is not None:
                self._running.interrupt()
            if self._waiting is not None:
                self._waiting.cancel()
        self.state.interrupt()

    def charge(self, instance: Instance) -> None:
        """Let an instance take its memory from what the run has left, and all that it was started by.

        Raises:
            LimitExceeded: that is less than it has already.
        """
        instance.charge(self.purse)

    def expire(self) -> None:
        """The deadline has passed."""
        self.stop(self.state.budget.exceeded("wall_time"))

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

    # -- what a blocking machine calls while it is stepped --------------------------------------

    def call(self, name: bytes, words: bytes) -> bytes:
        """Answer an FFI call of a machine that blocks: at once, or when the async FFI is done."""
        self._to(RunState.FFI_CALL)
        ffi, answer = self._table.dispatch(self.state, name, words)
        if ffi.is_async:
            answer = self._wait(self._spawn(answer))
        self._to(RunState.RUNNING)
        return self._table.check_answer(self.state, answer)

    def log(self, level: int, message: str) -> None:
        """A line of guest output."""
        self.state.log(level, message)

    def sleep(self, seconds: float) -> None:
        """Wait so long, at most until the run is stopped, which is then raised."""
        # Little more than what is left: the watchdog comes first, and no number is too large.
        with contextlib.suppress(TimeoutError):
            self._wait(concurrent.futures.Future(), min(seconds, self.state.budget.remaining() + 1))

    def publish(self) -> None:
        """Called once before the state is closed; nothing is held back here."""

    def _wait(self, future: concurrent.futures.Future[bytes], timeout: float | None = None) -> bytes:
        with self._lock:
            stop = self._stop
            self._waiting = future
        try:
            if stop is not None:
                future.cancel()
                raise stop
            answer: bytes = future.result(timeout)
            return answer
        except concurrent.futures.CancelledError:
            raise self._stop or CancelledRun("the host call was cancelled") from None
        finally:
            with self._lock:
                self._waiting = None

    # -- the loop -----------------------------------------------------------------------------

    def drive(self, machine: Machine, entry: str, words: bytes) -> bytes:
        """Run an entry to its result on this thread.

        Returns:
            Codec words of the result.

        Raises:
            Exception: the error that ended the run: the panic's, or the reason given to `stop`.
        """
        steps = self._steps(machine, entry, words)
        try:
            while True:
                wanted = next(steps)
                if wanted:
                    concurrent.futures.wait(
                        wanted,  # type: ignore[arg-type]
                        timeout=self.state.budget.remaining(),
                        return_when=concurrent.futures.FIRST_COMPLETED,
                    )
        except StopIteration as done:
            result: bytes = done.value
            return result

    async def drive_async(self, machine: Machine, entry: str, words: bytes) -> bytes:
        """The same as a coroutine, for machines that do not block."""
        import asyncio

        steps = self._steps(machine, entry, words)
        try:
            while True:
                wanted = next(steps)
                if wanted:
                    await asyncio.wait(
                        wanted,  # type: ignore[type-var]
                        timeout=self.state.budget.remaining(),
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                else:
                    await asyncio.sleep(0)
        except StopIteration as done:
            result: bytes = done.value
            return result
        except asyncio.CancelledError:
            self.stop(CancelledRun("the run was cancelled"))
            raise
        finally:
            steps.close()

    def _steps(self, machine: Machine, entry: str, words: bytes) -> Generator[Pause, None, bytes]:
        result: bytes | None = None
        try:
            self.attach(machine)
            self._to(RunState.RUNNING)
            machine.enter(entry, words)
            while True:
                event = machine.step(SLICE)
                match Timeout() if self._stop is not None else event:
                    case Idle(finished):
                        result = finished if result is None else result
                        self._to(RunState.IDLE)
                        if self._pending:
                            yield set(self._pending)
                            self._check_stopped()
                            self._answer_done(machine)
                            self._to(RunState.RUNNING)
                        elif (action := self.state.actions.take()) is not None:
                            self._to(RunState.RUNNING)
                            machine.enter(
                                action.name, codec.encode(action.env, token=self.state.token_to_handle)
                            )
                        else:
                            self._to(RunState.EXIT)
                            return codec.encode(UNDEF) if result is None else result
                    case FFICall(call_id, name, args):
                        self._to(RunState.FFI_CALL)
                        self._begin_call(machine, call_id, name, args)
                        self._to(RunState.RUNNING)
                    case Running():
                        self._to(RunState.RUNNING)
                        yield None
                        self._check_stopped()
                    case Exit(finished):
                        self._to(RunState.EXIT)
                        return finished
                    case Panic(error):
                        self._to(RunState.PANIC)
                        raise error
                    case Timeout():
                        raise self._stop or CancelledRun("the machine was stopped")
                    case _:
                        raise InternalError(f"a machine answered {event!r}, which is no event")
        except Exception:
            if self.phase not in TERMINAL:
                self._to(RunState.TIMEOUT if self._stop is not None else RunState.PANIC)
            raise
        finally:
            self.attach(None)
            for future in self._pending:
                future.cancel()
            self._pending.clear()

    def _check_stopped(self) -> None:
        if self._stop is not None:
            raise self._stop
        self.state.budget.check_time()

    def _begin_call(self, machine: Machine, call_id: int, name: bytes, args: bytes) -> None:
        ffi, answer = self._table.dispatch(self.state, name, args)
        if ffi.is_async:
            self._pending[self._spawn(answer)] = call_id
        else:
            machine.answer(call_id, self._table.check_answer(self.state, answer))

    def _answer_done(self, machine: Machine) -> None:
        for future in [future for future in self._pending if future.done()]:
            call_id = self._pending.pop(future)
            machine.answer(call_id, self._table.check_answer(self.state, future.result()))
