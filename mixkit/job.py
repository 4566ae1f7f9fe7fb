"""One run, ready to be executed on some thread, and what is said when it is asked for."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict, TypeVar

from mixkit import action, codec
from mixkit.contracts import Instance
from mixkit.databases import Apps
from mixkit.environment import Env
from mixkit.errors import (
    AnswerError,
    CancelledRun,
    CodecError,
    GuestError,
    InternalError,
    LimitExceeded,
    MixError,
    RunError,
)
from mixkit.ffi import FFITable
from mixkit.grants import Grants
from mixkit.limits import Limits, purse
from mixkit.outside import is_ours
from mixkit.schema import Converter, Mismatch
from mixkit.state import State, weight
from mixkit.storage import Place
from mixkit.vm.loop import Run
from mixkit.vm.machine import Machine
from mixkit.vm.manifest import Entry
from mixkit.vm.program import Program
from mixkit.vm.watchdog import watchdog

__all__ = [
    "NO_ENV",
    "Agents",
    "Job",
    "NotQuick",
    "QuickRun",
    "RunOptions",
    "RunResult",
    "Target",
    "in_own_thread",
]

_log = logging.getLogger("mixkit.kernel")

T = TypeVar("T")
NO_ENV = Env()
_MAX_LINES = 100
_QUICK_MEMORY = 16 << 20
"""Bytes of memory that a run on the event loop may have."""
_QUICK_WORDS = 64 << 10
"""Bytes of parameters or of a result that are encoded and decoded on the event loop."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run answered: its value, and the actions that are for the caller, as Maps."""

    value: Any
    actions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means that one agent calls another by. The run of the other gets nothing that is not said here.

    `check` makes parameters fit what the package says of the agent, `answer` its result; what the program says, the
    kernel checks.
    """

    program: Program
    entry: str
    grants: Grants | None = None
    env: Env | None = None
    limits: Limits | None = None
    place: Place | None = None
    apps: Apps | None = None
    check: Converter | None = None
    answer: Converter | None = None


class Agents:
    """Resolves the names by which a run may call other agents; whoever starts a run may give it one.

    Args:
        resolve: answers what a name means to the run of that state, or raises `NotFound`.
    """

    def __init__(self, resolve: Callable[[State, str], Awaitable[Target]]) -> None:
        self.resolve = resolve


class RunOptions(TypedDict, total=False):
    """What may be said of a run.

    env: the environment that the agent sees.
    limits: narrower than the profile's where given; they cannot raise those.
    grants: which FFIs may be called, of those that the code's own manifest requests. None: all that it requests;
        code that requests nothing may call the kernel's own.
    run_id: identity in the log, made if not given.
    agents: how names of other agents are resolved.
    place: where the database of the app is whose code this is; without it the run has no database of its own.
    apps: how names of other apps are resolved, whose databases the grants may open.
    answer: makes the result fit what the package says of it, or raises `Mismatch`; what the program says of it is
        checked anyhow.
    """

    env: Env | None
    limits: Limits | None
    grants: Grants | None
    run_id: str | None
    agents: Agents | None
    place: Place | None
    apps: Apps | None
    answer: Converter | None


class Surroundings(Protocol):
    """What a job asks of the kernel."""

    def static_env(self, env: Env) -> bytes: ...
    def open_state(self, state: State) -> None: ...
    def close_state(self, state: State) -> None: ...


@dataclass(slots=True)
class Job:
    """One run: its program and entry, the codec words of its parameters, its state."""

    kernel: Surroundings
    program: Program
    entry: Entry
    words: bytes
    state: State
    limits: Limits
    answer: Converter | None = None
    """Makes the result fit what the package says; what the program says is checked, too."""
    held: int = 0
    """Bytes that `hold` has counted."""

    def hold(self) -> None:
        """Count what the host keeps for a nested run against `memory`, until it has ended: a chain keeps all of it.

        Beside the words of its parameters, that is the call that it is for: its words, and the value.

        Raises:
            LimitExceeded: it is too much.
        """
        if len(self.words) > _QUICK_WORDS:
            held = 2 * len(self.words) + weight(self.words)
            self.state.budget.spend("memory", held)
            self.held = held

    def execute(self, run: Run) -> RunResult:
        """Run it on this thread, under the watchdog; the state is closed however it ends.

        Raises:
            RunError, CancelledRun: see `Kernel.run`.
        """
        state = self.state
        alarm = watchdog.add(run.deadline, run.expire)
        try:
            self.kernel.open_state(state)
            env = self.kernel.static_env(state.env)
            words = self.program.run(run, self.entry, self.words, env, self.limits)
            state.budget.check_values(words)
            try:
                value = codec.decode(words, token=state.token_from_handle)
            except CodecError as exc:
                raise GuestError(f"the guest's result is no value: {exc}", trap="interface") from None
            if self.answer is not None or self.entry.name in self.program.answers:
                value = self._checked(value)
            run.publish()
            return RunResult(value, [action.to_value(item) for item in state.actions.client])
        except (CancelledRun, NotQuick):
            raise
        except MixError as exc:
            with contextlib.suppress(LimitExceeded):
                run.publish()
            raise self._failed(exc) from exc
        except BaseException as exc:
            if is_ours(exc):
                raise
            _log.exception("run %s of %s failed inside mixkit", state.run_id, state.code)
            raise self._failed(InternalError("the run failed inside mixkit; the log says why")) from exc
        finally:
            watchdog.cancel(alarm)
            if self.held:
                state.budget.release("memory", self.held)
            self.kernel.close_state(state)

    def _checked(self, value: Any) -> Any:
        """The result as it was declared."""
        declared = self.program.answers.get(self.entry.name)
        try:
            if declared is not None:
                value = declared(value)
            return value if self.answer is None else self.answer(value)
        except Mismatch as exc:
            raise AnswerError(f"entry {self.entry.name!r} answered what it does not declare: {exc}") from None

    def execute_timed(self, run: Run) -> RunResult:
        """The same, noting for the program's next runs whether it was quick: little work, and no call out."""
        began = time.thread_time()
        try:
            return self.execute(run)
        finally:
            self.program.note(time.thread_time() - began, called=self.state.budget.spent("host_calls") > 0)

    def execute_quickly(self, run: QuickRun) -> RunResult:
        """The same on the event loop's thread.

        Raises:
            NotQuick: it needs a thread of its own, and nothing has happened yet.
        """
        began = time.thread_time()
        try:
            return self.execute(run)
        except NotQuick:
            # A slice that went by while the processor was with others says nothing about the program.
            self.program.was_not_quick(time.thread_time() - began, called=run.called)
            raise

    def _failed(self, exc: MixError) -> RunError:
        return RunError(
            str(exc), agent=self.entry.name, panic_code=exc.code, backtrace=getattr(exc, "backtrace", None)
        )


class NotQuick(MixError):
    """A run that was begun on the event loop needs a thread; nothing that it did can be seen from outside."""


class QuickRun(Run):
    """A run on the event loop's own thread, for code that has shown itself quick: no thread is woken for it.

    It may neither call out nor take longer than a slice, nor have much memory, which one instruction fills that nothing
    stops, nor a large result; a guest that tries is thrown away with all that it did, and
    the run begins again in a thread. What it logs is held back until it has succeeded.
    """

    __slots__ = ("_lines", "called")

    def __init__(self, state: State, table: FFITable, slice: float) -> None:
        super().__init__(state, table, _refuse)
        self.deadline = min(self.deadline, time.monotonic() + slice)
        self.called = False
        self.purse = purse(min(_QUICK_MEMORY, state.budget.limits.memory))
        self._lines: list[tuple[int, str]] = []

    def charge(self, instance: Instance) -> None:
        try:
            super().charge(instance)
        except LimitExceeded:
            self.called = True
            raise NotQuick("much memory") from None

    def drive(self, machine: Machine, entry: str, words: bytes) -> bytes:
        result = super().drive(machine, entry, words)
        if len(result) > _QUICK_WORDS:
            self.called = True
            raise NotQuick("a large result")
        return result

    def call(self, name: bytes, words: bytes) -> bytes:
        self.called = True
        raise NotQuick("an FFI")

    def log(self, level: int, message: str) -> None:
        if len(self._lines) >= _MAX_LINES:
            raise NotQuick("many log lines")
        self._lines.append((level, message))

    def sleep(self, seconds: float) -> None:
        self.called = True
        raise NotQuick("a sleep")

    def expire(self) -> None:
        self.stop(NotQuick("the slice is used up"))

    def publish(self) -> None:
        """Log what was held back, unless the guest asked for more memory than it gets here, and may have noticed."""
        if self.purse[1]:
            self.called = True
            raise NotQuick("more memory")
        lines, self._lines = self._lines, []
        for level, message in lines:
            super().log(level, message)


def _refuse(awaitable: object) -> object:
    raise InternalError("a quick run calls no FFI")


def in_own_thread(function: Callable[..., T], *args: Any) -> concurrent.futures.Future[T]:
    """Execute a nested run in a thread of its own: in the shared pool its callers could hold all that it waits for.

    Or load code, which is waited for no longer than a run may take, and cannot be stopped before its own limits do.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()

    def body() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=body, name="mixkit-nested", daemon=True).start()
    return future
