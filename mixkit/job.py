"""One run of a program's entry, from what is asked for to what is answered, and what it may call other agents by."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypedDict

import msgspec

from mixkit import action, codec
from mixkit.action import Invocation
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
from mixkit.ffi import FFITable
from mixkit.forms import JSONText, Packed, text_of
from mixkit.grants import CORE, Grants
from mixkit.limits import Budget, Limits
from mixkit.near import meant
from mixkit.outside import is_ours
from mixkit.schema import Mismatch
from mixkit.shape import Declared
from mixkit.state import Services, State, weight
from mixkit.storage import Place
from mixkit.value import is_large
from mixkit.vm.loop import LARGE, Run, Spawn, Steps, Where
from mixkit.vm.machine import RunState
from mixkit.vm.program import Program
from mixkit.waiting import Waiting

__all__ = [
    "Agents",
    "Job",
    "Postponed",
    "RunOptions",
    "RunResult",
    "Target",
    "check_options",
    "fitted",
    "is_much",
]

_log = logging.getLogger("mixkit.kernel")

_NO_ENV: Final = Env()


class Postponed(msgspec.Struct, frozen=True):
    """Actions that a run, or one that it called, has put off until the answer is sent, and what they run with."""

    program: Program
    entry: str
    invocation: Invocation
    options: RunOptions
    limits: Limits


class RunResult(msgspec.Struct, frozen=True):
    """What a run answered: its value, and the actions that are for the caller, as Maps.

    What is `postponed` is for `Kernel.run_postponed`, once the answer is sent.
    """

    value: Any
    actions: list[dict[str, Any]] = []
    postponed: tuple[Postponed, ...] = ()


class Target(msgspec.Struct, frozen=True):
    """What a name means that one agent calls another by. The run of the other gets nothing that is not said here.

    `agents` is how it names others in its turn, as its caller does if that is None; `check` makes parameters fit what
    the package says of the agent, `answer` its result; what the program says, the kernel checks. `ended` is told how
    many seconds the call took, and what it failed with, if it did; it never raises.
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
    agents: Agents | None = None
    ended: Callable[[float, BaseException | None], None] | None = None


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
    output: takes each line that the guest writes, from 0 debug to 3 error, and those of agents that it calls; called
        from any thread, and never raises.
    caller: who waits for the answer, for an agent that tells of its progress or asks back.
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
    output: Callable[[int, str], None] | None
    caller: Waiting | None


_OPTIONS: Final = frozenset(RunOptions.__annotations__)


def check_options(options: RunOptions) -> None:
    """Raise `TypeError` for an option that no run has."""
    for name in options:
        if name not in _OPTIONS:
            raise TypeError(f"a run has no option {name!r}{meant(name, _OPTIONS)}")


class Surroundings(Services, Protocol):
    """What a job asks of the kernel, beside what its FFIs do."""

    @property
    def ffis(self) -> FFITable: ...
    @property
    def has_open(self) -> bool: ...
    @property
    def has_close(self) -> bool: ...
    def open_state(self, state: State) -> None: ...
    def close_state(self, state: State) -> None: ...


class Job(Run):
    """One run: what stops it and answers its FFIs, and what it is of, is given and has to answer.

    Args:
        kernel: what its FFIs use, and whose plugins' hooks open and close its state.
        program: whose entry is run.
        params: a Value, or a `Packed` one; or an `Invocation`: actions of the entry, in place of the entry itself.
        options: as they are said of the run.
        limits: its own; those of the budget may be of the run that calls it.
        budget: what it and all that it calls may still use.
        spawn, trace: see `Run`.

    Raises:
        NotFound: no such entry.
        Mismatch: the parameters are not of the declared types.
        LimitExceeded: they are too large.
    """

    __slots__ = (
        "_answer",
        "_as_json",
        "_entered",
        "_entry",
        "_held",
        "_kernel",
        "_limits",
        "_options",
        "_program",
        "_words",
    )

    def __init__(
        self,
        kernel: Surroundings,
        program: Program,
        entry: str,
        params: Any,
        options: RunOptions,
        limits: Limits,
        budget: Budget,
        spawn: Spawn,
        trace: Callable[[RunState], None] | None = None,
    ) -> None:
        self._kernel = kernel
        self._program = program
        self._options = options
        self._entry = self._entered = program.entry(entry)
        self._limits = limits
        self._answer = options.get("answer")
        self._as_json = options.get("as_json", False)
        self._held = 0
        words = b""
        if type(params) is Packed:
            if program.takes(entry, params.words):
                words, params = params.words, None
            else:
                # A value takes many times the memory of its words.
                budget.check_size("params_size", len(params.words))
                budget.check_values(params.words)
                params = params.value()
        invoked: tuple[action.Invoke, ...] = ()
        if type(params) is Invocation:
            invoked = params.actions
            for name in action.entered(invoked):
                # What follows an action is entered too.
                program.action(entry, name, queued=params.queued)
            self._entered = program.action(entry, invoked[0].name, queued=params.queued)
            if self._entered.name in program.manifest.entries:
                self._entry = self._entered
            params = program.check_params(self._entered.name, invoked[0].params)
        elif not words:
            params = program.check_params(entry, params)
        state = State(
            env=options.get("env") or _NO_ENV,
            budget=budget,
            grants=_granted(kernel, program, options.get("grants")),
            services=kernel,
            run_id=options.get("run_id"),
            code=program.name or entry,
            place=options.get("place"),
            output=options.get("output"),
            caller=options.get("caller"),
        )
        for resolver in (options.get("agents"), options.get("apps")):
            if resolver is not None:
                state.put(resolver)
        if invoked:
            for item in (invoked[0].next, *invoked[1:]):
                if item is not None:
                    state.actions.push(item)
        self._words = words or codec.encode(params, token=state.token_to_handle)
        budget.check_size("params_size", len(self._words))
        budget.check_values(self._words)
        super().__init__(state, kernel.ffis, spawn, trace)

    def hold(self) -> None:
        """Count what the host keeps for a nested run against `memory`, until it has ended: a chain keeps all of it.

        Beside the words of its parameters, that is the call that it is for: its words, and the value.

        Raises:
            LimitExceeded: it is too much.
        """
        if len(self._words) > LARGE:
            held = 2 * len(self._words) + weight(self._words)
            self.state.budget.spend("memory", held)
            self._held = held

    def to_end(self) -> Steps[RunResult]:
        """Run it; its state is closed however it ends.

        Raises:
            RunError, CancelledRun: see `Kernel.run`.
        """
        state, kernel = self.state, self._kernel
        closed = False
        try:
            if kernel.has_open:
                yield Where.THREAD
                kernel.open_state(state)
            words = yield from self._program.steps(
                self, self._entered, self._words, state.env.static_words(), self._limits
            )
            if len(words) > LARGE:
                yield Where.THREAD
            state.budget.check_values(words)
            value = self._result(words)
            return RunResult(
                value, [action.to_value(item) for item in state.actions.client], self._postponed()
            )
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
            if self._held:
                state.budget.release("memory", self._held)
            if not closed and (kernel.has_close or state.must_close):
                # What plugins do then may block.
                yield Where.THREAD
            kernel.close_state(state)

    def _postponed(self) -> tuple[Postponed, ...]:
        """What is put off until the answer is sent, by the runs that it called and by itself."""
        nested = self.state.postponed
        if not self.state.actions.idle:
            return tuple(nested)
        own = Invocation(tuple(self.state.actions.idle), queued=True)
        options = self._options.copy()
        options.pop("pauses", None)
        options.pop("caller", None)
        options["as_json"] = False
        return (*nested, Postponed(self._program, self._entry.name, own, options, self._limits))

    def _result(self, words: bytes) -> Any:
        """What the guest answered, as it was declared: by the program, and by the package."""
        declared = (self._program.answers.get(self._entry.name), self._answer)
        if self._as_json:
            text: JSONText | None = text_of(words)
            if text is not None and all(each is None or each.fits(words) for each in declared):
                return text
        try:
            value = codec.decode(words, token=self.state.token_from_handle)
        except CodecError as exc:
            raise GuestError(f"the guest's result is no value: {exc}", trap="interface") from None
        try:
            for each in declared:
                if each is not None:
                    value = each(value)
        except Mismatch as exc:
            raise AnswerError(
                f"entry {self._entry.name!r} answered what it does not declare: {exc}"
            ) from None
        return value

    def _failed(self, exc: MixError) -> RunError:
        return RunError(
            str(exc), agent=self._entry.name, panic_code=exc.code, backtrace=getattr(exc, "backtrace", None)
        )


def _granted(kernel: Surroundings, program: Program, granted: Grants | None) -> Grants:
    """What a run of the program may call: what it requests, of that what is granted."""
    requested = program.manifest.grants
    if granted is None:
        granted = requested or CORE
    elif requested is not None:
        granted = granted & requested
    if granted is not CORE:
        kernel.ffis.check_grant_options(granted.option_keys())
    return granted


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
