"""What stops a module that an agent runs: the end of the run, the call's own time, or being shut down."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NoReturn

from mixkit.contracts import Compiled, HostImports, Instance, Snapshot
from mixkit.errors import CancelledRun, EngineError, FFIError, GuestError, LimitExceeded
from mixkit.limits import Limits
from mixkit.state import State
from mixkit.vm.watchdog import watchdog

__all__ = ["Leash", "opened"]

_OF_THE_INSTANCE = frozenset({"memory", "table", "stack", "result_size"})
"""Limits that cost an instance and not the run: what it had is given back when it is closed."""


def opened(
    state: State, code: Compiled, limits: Limits, imports: HostImports, *, max_result: int | None = None
) -> Instance:
    """A fresh instance, whose memory comes out of what the run has left. No code of it has run.

    Raises:
        EngineError: it imports what there is not.
        FFIError: it begins with more memory or table elements than it may have.
    """
    instance: Instance | None = None
    try:
        instance = code.engine.instantiate(code.module, limits, imports, max_result=max_result)
        instance.charge(state.budget.purse)
    except BaseException as exc:
        if instance is not None:
            instance.close()
        raise _unstartable(exc) from None
    return instance


def restore(instance: Instance, snapshot: Snapshot) -> None:
    """Give a fresh instance the state of a snapshot of its module.

    Raises:
        FFIError: it needs more memory than the instance may have.
    """
    try:
        if not instance.reset(snapshot):
            raise EngineError("a fresh instance cannot be given the state of its own module's snapshot")
    except LimitExceeded as exc:
        raise _unstartable(exc) from None


def _unstartable(exc: BaseException) -> BaseException:
    if isinstance(exc, LimitExceeded) and exc.limit in _OF_THE_INSTANCE:
        return FFIError(f"the module cannot be started: {exc}")
    return exc


class Leash:
    """Runs calls of one instance, one at a time. Any thread may stop what runs.

    Attributes:
        usable: False once a call has failed or was stopped, or the instance was closed.
    """

    def __init__(self, state: State, instance: Instance) -> None:
        self.usable = True
        self._state = state
        self._instance = instance
        self._lock = threading.Lock()
        self._running = False
        self._why: Literal["", "run", "time", "shutdown"] = ""
        self._stopped = threading.Event()

    @contextmanager
    def running(self, timeout_ms: float | None = None) -> Iterator[None]:
        """Run guest code within. Whatever ends it early, the instance is closed then.

        Args:
            timeout_ms: the call's own time; that of the run ends it in any case.

        Raises:
            FFIError: the code failed, took too long, used up what an instance may have, or was shut down.
            LimitExceeded, CancelledRun: the run ends.
        """
        budget = self._state.budget
        seconds = budget.wait(timeout_ms)
        budget.check_time()
        with self._lock:
            if self._running:
                raise FFIError("the module is running a call; it runs one at a time")
            if not self.usable:
                raise FFIError("the module was shut down or has failed; load it again")
            self._running = True
        try:
            budget.spend("depth")
            alarm = None
            if timeout_ms is not None:
                alarm = watchdog.add(time.monotonic() + seconds, self._expire)
            try:
                with self._state.interruptible(self._end):
                    yield
            finally:
                budget.release("depth")
                if alarm is not None:
                    watchdog.cancel(alarm)
        except BaseException as exc:
            self._leave(failed=True)
            self._explain(exc, timeout_ms)
        self._leave(failed=False)
        if self._why:
            self._explain(GuestError("stopped", trap="interrupt"), timeout_ms)

    def sleep(self, seconds: float) -> None:
        """Wait, at most until it is stopped, which is then raised."""
        if self._stopped.wait(min(seconds, self._state.budget.remaining() + 1)):
            raise GuestError("stopped in its sleep", trap="interrupt")

    def close(self) -> None:
        """Free the instance, or have it freed as soon as its call has ended, which this stops."""
        self._stop("shutdown")
        with self._lock:
            idle, self.usable = self.usable and not self._running, False
        if idle:
            self._instance.close()

    def _end(self) -> None:
        self._stop("run")

    def _expire(self) -> None:
        self._stop("time")

    def _stop(self, why: Literal["run", "time", "shutdown"]) -> None:
        with self._lock:
            # The next call must not find the mark of a stop that came too late.
            if self._running and not self._why:
                self._why = why
                self._stopped.set()
                self._instance.interrupt()

    def _leave(self, *, failed: bool) -> None:
        with self._lock:
            self._running = False
            if failed or self._why:
                self.usable = False
            done = not self.usable
        if done:
            self._instance.close()

    def _explain(self, exc: BaseException, timeout_ms: float | None) -> NoReturn:
        """Raise what the agent is to know of the end of a call."""
        if isinstance(exc, GuestError) and self._why:
            self._state.budget.check_time()
            if self._why == "run":
                raise CancelledRun("the run was stopped while a module ran") from None
            if self._why == "shutdown":
                raise FFIError("the module was shut down while it ran") from None
            raise FFIError(
                f"the call took more than {timeout_ms:g} ms and was stopped, and the module with it; load it again, "
                "and give it more timeout_ms"
            ) from None
        if isinstance(exc, GuestError):
            raise FFIError(f"the module failed and was shut down; load it again: {exc}") from None
        if isinstance(exc, LimitExceeded) and exc.limit in _OF_THE_INSTANCE:
            raise FFIError(f"the module was shut down: {exc}") from None
        raise exc
