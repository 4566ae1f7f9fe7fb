"""One run, ready to be executed on some thread, and what is said when it is asked for."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, TypeVar

import msgspec

from mixkit import action, codec
from mixkit.databases import Apps
from mixkit.environment import Env
from mixkit.errors import (
    AnswerError,
    CancelledRun,
    CodecError,
    GuestError,
    InternalError,
    MixError,
    RunError,
)
from mixkit.forms import JSONText, Packed, text_of
from mixkit.grants import Grants
from mixkit.limits import Limits
from mixkit.outside import is_ours
from mixkit.schema import Mismatch
from mixkit.shape import Declared
from mixkit.state import State, weight
from mixkit.storage import Place
from mixkit.value import is_large
from mixkit.vm.loop import LARGE, Run, Steps, Where
from mixkit.vm.manifest import Entry
from mixkit.vm.program import Program

__all__ = [
    "NO_ENV",
    "Agents",
    "Job",
    "RunOptions",
    "RunResult",
    "Target",
    "fitted",
    "in_own_thread",
    "is_much",
]

_log = logging.getLogger("mixkit.kernel")

T = TypeVar("T")
NO_ENV = Env()


class RunResult(msgspec.Struct, frozen=True):
    """What a run answered: its value, and the actions that are for the caller, as Maps."""

    value: Any
    actions: list[dict[str, Any]] = []


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
    check: Declared | None = None
    answer: Declared | None = None


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
    pauses: called on the event loop, with True when the run, or one that it waits for, begins to wait there, which
        holds no thread, and with False when it goes on.
    as_json: answer the value as a `JSONText`, if that can be had without making the value.
    """

    env: Env | None
    limits: Limits | None
    grants: Grants | None
    run_id: str | None
    agents: Agents | None
    place: Place | None
    apps: Apps | None
    pauses: Callable[[bool], None] | None
    answer: Declared | None
    as_json: bool


class Surroundings(Protocol):
    """What a job asks of the kernel."""

    @property
    def has_open(self) -> bool: ...
    @property
    def has_close(self) -> bool: ...
    def static_env(self, env: Env) -> bytes: ...
    def open_state(self, state: State) -> None: ...
    def close_state(self, state: State) -> None: ...


class Job(msgspec.Struct):
    """One run: its program and entry, the codec words of its parameters, its state."""

    kernel: Surroundings
    program: Program
    entry: Entry
    words: bytes
    state: State
    limits: Limits
    answer: Declared | None = None
    """Makes the result fit what the package says; what the program says is checked, too."""
    as_json: bool = False
    """Whether the result is wanted as JSON."""
    held: int = 0
    """Bytes that `hold` has counted."""

    def hold(self) -> None:
        """Count what the host keeps for a nested run against `memory`, until it has ended: a chain keeps all of it.

        Beside the words of its parameters, that is the call that it is for: its words, and the value.

        Raises:
            LimitExceeded: it is too much.
        """
        if len(self.words) > LARGE:
            held = 2 * len(self.words) + weight(self.words)
            self.state.budget.spend("memory", held)
            self.held = held

    def steps(self, run: Run) -> Steps[RunResult]:
        """Run it to its end; the state is closed however it ends.

        Raises:
            RunError, CancelledRun: see `Kernel.run`.
        """
        state = self.state
        closed = False
        try:
            if self.kernel.has_open:
                yield Where.THREAD
                self.kernel.open_state(state)
            env = self.kernel.static_env(state.env)
            words = yield from self.program.steps(run, self.entry, self.words, env, self.limits)
            if len(words) > LARGE:
                yield Where.THREAD
            state.budget.check_values(words)
            text = self._text(words) if self.as_json else None
            if text is not None:
                return RunResult(text, [action.to_value(item) for item in state.actions.client])
            try:
                value = codec.decode(words, token=state.token_from_handle)
            except CodecError as exc:
                raise GuestError(f"the guest's result is no value: {exc}", trap="interface") from None
            if self.answer is not None or self.entry.name in self.program.answers:
                value = self._checked(value)
            return RunResult(value, [action.to_value(item) for item in state.actions.client])
        except CancelledRun:
            raise
        except MixError as exc:
            raise self._failed(exc) from exc
        except BaseException as exc:
            closed = isinstance(exc, GeneratorExit)
            if closed or is_ours(exc):
                raise
            _log.exception("run %s of %s failed inside mixkit", state.run_id, state.code)
            raise self._failed(InternalError("the run failed inside mixkit; the log says why")) from exc
        finally:
            if self.held:
                state.budget.release("memory", self.held)
            if not closed and (self.kernel.has_close or state.must_close):
                # What plugins do then may block.
                yield Where.THREAD
            self.kernel.close_state(state)

    def _text(self, words: bytes) -> JSONText | None:
        """The result as JSON; None if it must be looked at, because of what it is or of what was declared."""
        text = text_of(words)
        declared = self.program.answers.get(self.entry.name)
        if text is None or not all(each is None or each.fits(words) for each in (declared, self.answer)):
            return None
        return text

    def _checked(self, value: Any) -> Any:
        """The result as it was declared."""
        declared = self.program.answers.get(self.entry.name)
        try:
            if declared is not None:
                value = declared(value)
            return value if self.answer is None else self.answer(value)
        except Mismatch as exc:
            raise AnswerError(f"entry {self.entry.name!r} answered what it does not declare: {exc}") from None

    def _failed(self, exc: MixError) -> RunError:
        return RunError(
            str(exc), agent=self.entry.name, panic_code=exc.code, backtrace=getattr(exc, "backtrace", None)
        )


def is_much(params: Any) -> bool:
    """Whether parameters, `Packed` or not, are more than an event loop can check and encode in passing."""
    return len(params.words) > LARGE if type(params) is Packed else is_large(params)


async def fitted(declared: Declared | None, params: Any) -> Any:
    """Parameters as a package declares them, `Packed` still where they are so as they are.

    Raises:
        Mismatch: they do not fit.
    """
    if declared is None or (type(params) is Packed and declared.fits(params.words)):
        return params
    if not is_much(params):
        return _made(declared, params)
    import asyncio

    return await asyncio.to_thread(_made, declared, params)


def _made(declared: Declared, params: Any) -> Any:
    return declared(params.value() if type(params) is Packed else params)


def fulfil(future: concurrent.futures.Future[T], function: Callable[..., T], *args: Any) -> None:
    """Give a future what the function answers or raises, unless it was cancelled before."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(*args))
    except BaseException as exc:
        future.set_exception(exc)


def in_own_thread(function: Callable[..., T], *args: Any) -> concurrent.futures.Future[T]:
    """Load code, say, which is waited for no longer than a run may take, and ends by its own limits only."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    threading.Thread(
        target=fulfil, args=(future, function, *args), name="mixkit-loading", daemon=True
    ).start()
    return future
