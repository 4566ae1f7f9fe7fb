"""The kernel: a profile, assembled, and code run with exactly the powers of its plugins.

An object without globals: several kernels with different profiles may live in one process.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Unpack

import msgspec

from mixkit.assembly import Assembly
from mixkit.contracts import Compiled
from mixkit.engines import Engines
from mixkit.errors import MixError, NotFound, RunError
from mixkit.job import Agents, Job, RunOptions, RunResult, Target, check_options, fitted, is_much
from mixkit.limits import Budget, Limits
from mixkit.profile import Profile
from mixkit.programs import Code, Programs
from mixkit.resources import Resources
from mixkit.state import State
from mixkit.vm.drive import drive, drive_async
from mixkit.vm.loop import Spawn
from mixkit.vm.machine import RunState
from mixkit.vm.portal import Portal
from mixkit.vm.program import Program
from mixkit.vm.spawned import Spawned
from mixkit.vm.threads import Threads, in_own_thread

__all__ = ["Code", "Kernel"]

_log = logging.getLogger("mixkit.kernel")


class Kernel(Resources):
    """A loaded profile, and all that runs share.

    Args:
        profile: name or path of a profile, or a loaded one.
        config: TOML file laid over it.
        overrides: dotted keys laid over all: `{"settings.http.timeout": 5, "limits.wall_time": 3}`.
        environ: environment variables (the process's own by default).

    Raises:
        ProfileError, PluginError: nothing has been started then.

    Attributes:
        engines: the Wasm engines, made when the first guest is loaded.
        programs: the code that is loaded, with its snapshots and the instances that wait.
    """

    def __init__(
        self,
        profile: str | Path | Profile = "agent_server",
        *,
        config: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        assembly = Assembly(profile, config=config, overrides=overrides, environ=environ)
        super().__init__(assembly, environ)
        own = assembly.own
        self.engines = Engines(
            assembly.engines,
            lambda choice: assembly.make(choice.path),
            lambda choice, what: assembly.failed(f"the engine {choice.engine!r} {what}", choice.path),
        )
        self.programs = Programs(
            self.compile,
            own,
            self.profile.name,
            _once(lambda: [assembly.make(path) for path in assembly.compilers.values()]),
            _once(lambda: [assembly.make(path) for path in assembly.interpreters.values()]),
        )
        self._slice = own.slice
        self._portal = Portal()
        self._threads = Threads(own.threads, "mixkit-run")
        self._closed = False

    # -- code ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Do what the first run of a process would wait for: import the event loop, load the engine.

        Starts no thread and compiles nothing, so that a server may call it before it forks.

        Raises:
            ProfileError: a setting names a file, a folder or a program that is not there.
        """
        self.assembly.refuse_absent()
        import asyncio  # noqa: F401

        self.engines.prepare()

    @property
    def memory_in_use(self) -> int:
        """Bytes of the linear memories of all guests in this process, those that wait for their next run included."""
        return sum(engine.memory_in_use for engine in self.engines.made())

    def compile(self, code: bytes) -> Compiled:
        """Compile a Wasm module, guest or not, or find it compiled, with the first engine that takes it.

        Raises:
            EngineError: it is not valid, or none takes it.
            ProfileError: the profile has no engine.
        """
        engine, decision = self.engines.compile(code)
        return Compiled(engine, decision.module)

    def read(self, path: Path) -> bytes:
        """The code of a file: what is in it, or what a compiler of the profile makes of a source.

        Raises:
            NotFound: no such file.
            MixError: of a source, with everything that is wrong in it.
        """
        return self.programs.read(path)

    def compiled(self, path: Path) -> tuple[str, bytes] | None:
        """The code of a source, and what a file with it is called; None if no compiler is for such files.

        Raises:
            MixError: with everything that is wrong in the source.
        """
        return self.programs.compiled(path)

    def said(self, code: bytes) -> Mapping[str, Any] | None:
        """What code that an interpreter of the profile runs says of itself, as in a section `mix.manifest`; None of any
        other code.

        Raises:
            MixError: it is malformed.
        """
        return self.programs.said(code)

    def places(self, code: bytes, frames: Iterable[str]) -> list[str]:
        """Frames of a backtrace, as a run of this code or of the same code without symbols answered it, with their
        places in the source.

        Raises:
            MixError: the code is malformed, has no interpreter, or is not the one that failed.
        """
        return self.programs.places(code, frames)

    def load(self, code: Code, name: str = "") -> Program:
        """Compile code, or find it compiled.

        Args:
            code: a program (answered as it is), the bytes of a Wasm guest or of code that an interpreter of the
                profile runs, or the path of one of these or of a source.
            name: for messages; the file's name by default.

        Raises:
            NotFound: no such file.
            EngineError, GuestError: not a Wasm module, or no guest of mixkit; names the imports that it cannot have.
        """
        return self.programs.load(code, name)

    def check_code(self, entry: str, code: Code) -> None:
        """Refuse code that could never run here under that entry, before it is installed. Errors as those of `load`.

        Raises:
            NotFound: it has no such entry.
            GrantError: it asks for an option that no plugin enforces, or with a value that it cannot have.
        """
        program = self.load(code, entry)
        program.entry(entry)
        if program.manifest.grants is not None:
            self.ffis.check_grants(program.manifest.grants)

    # -- running ------------------------------------------------------------------------------

    def run_sync(
        self,
        code: Code,
        entry: str,
        params: Any = None,
        *,
        trace: Callable[[RunState], None] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Run an entry on this thread and wait for its result. Arguments and errors as those of `run`.

        `trace` is called with each state that the run enters.
        """
        limits = self._limits(options, self.limits)
        budget = Budget(limits)
        if not isinstance(code, Program):
            try:
                code = in_own_thread(self.load, code).result(budget.remaining())
            except TimeoutError:
                _not_loaded(entry, budget)
        job = Job(self, code, entry, params, options, limits, budget, self._portal.spawn, trace)
        return drive(job, job.to_end())

    async def run(
        self,
        code: Code,
        entry: str,
        params: Any = None,
        *,
        budget: Budget | None = None,
        spent: float = 0.0,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Run an entry of some code and wait for its result. Cancelling the task stops the guest.

        Args:
            code: as `load` takes it.
            entry: name of the entry.
            params: a Value, or a `Packed` one, checked against the entry's declared parameters; or an `Invocation` of
                actions that the entry has answered or put off.
            budget: that of the calling run, for nested runs.
            spent: seconds of `wall_time` that are used up already, by loading the code.
            options: environment, limits, grants …: see `RunOptions`.

        Raises:
            NotFound: no such entry.
            Mismatch: the parameters are not of the declared types.
            RunError: the run panicked; its `__cause__` says why (`LimitExceeded`, `GuestError`, `AnswerError` …).
            CancelledRun: it was stopped from outside.
        """
        import asyncio

        nested = budget is not None
        # A nested one gets no more than the run that calls it.
        limits = self._limits(options, self.limits if budget is None else budget.limits)
        if budget is None:
            budget = Budget(limits, time.monotonic() + limits.wall_time - spent)
            budget.pauses = options.get("pauses")
        if not isinstance(code, Program):
            loading = asyncio.wrap_future(in_own_thread(self.load, code))
            try:
                code = await asyncio.wait_for(loading, budget.remaining())
            except TimeoutError:
                _not_loaded(entry, budget)
        return await self._run(code, entry, params, options, limits, budget, nested=nested)

    async def _run(
        self,
        code: Program,
        entry: str,
        params: Any,
        options: RunOptions,
        limits: Limits,
        budget: Budget,
        *,
        nested: bool = False,
    ) -> RunResult:
        import asyncio

        loop = asyncio.get_running_loop()
        threads, turn = self._threads, self._slice
        spawn: Spawn = loop.create_task
        if not code.suspends:
            # It holds a thread to its end, one of its own if another run waits for it in one.
            turn, spawn = 0.0, partial(Spawned, loop)
            if nested:
                threads = Threads(1, "mixkit-nested")
        of = (self, code, entry, params, options, limits, budget, spawn)
        # Checking and encoding what is large is not for the event loop.
        job = await asyncio.to_thread(Job, *of) if is_much(params) else Job(*of)
        if not nested:
            return await drive_async(job, job.to_end(), threads, turn)
        job.hold()
        # The caller waits, and this one works for it.
        if budget.pauses is not None:
            budget.pauses(False)
        try:
            return await drive_async(job, job.to_end(), threads, turn)
        finally:
            if budget.pauses is not None:
                budget.pauses(True)
            if threads is not self._threads:
                threads.close()

    async def call_agent(self, state: State, name: str, params: Any) -> Any:
        """Run another agent under the calling run's budget, with its own grants."""
        agents = state.get(Agents)
        if agents is None:
            raise NotFound(f"no agent {name!r}: this run was started alone, without other agents")
        target = await agents.resolve(state, name)
        ended, began = target.ended or _unheard, time.monotonic()
        try:
            result = await self._call(state, agents, target, params)
        except BaseException as exc:
            ended(time.monotonic() - began, exc)
            raise
        ended(time.monotonic() - began, None)
        state.postponed.extend(result.postponed)
        return result.value

    async def _call(self, state: State, agents: Agents, target: Target, params: Any) -> RunResult:
        params = await fitted(target.check, params)
        state.budget.spend("depth")
        try:
            return await self.run(
                target.program, target.entry, params,
                env=target.env or state.env, grants=target.grants, limits=target.limits,
                budget=state.budget, agents=target.agents or agents, place=target.place, apps=target.apps,
                answer=target.answer, output=state.output, caller=state.caller,
            )  # fmt: skip
        finally:
            state.budget.release("depth")

    async def run_postponed(
        self, result: RunResult, seconds: float, pauses: Callable[[bool], None] | None = None
    ) -> None:
        """Run what a run has put off until its answer is sent, and what that puts off, one after the other.

        Nobody waits for it: what fails is logged, and what others would get of it is dropped.

        Args:
            seconds: for all of it.
            pauses: see `RunOptions`.
        """
        end = time.monotonic() + seconds
        todo = deque(result.postponed)
        while todo:
            item = todo.popleft()
            left = end - time.monotonic()
            if left <= 0:
                _log.warning("idle actions of %s were not run within %g s", item.entry, seconds)
                return
            limits = msgspec.structs.replace(item.limits, wall_time=left)
            budget = Budget(limits)
            budget.pauses = pauses
            try:
                done = await self._run(
                    item.program, item.entry, item.invocation, item.options, limits, budget
                )
            except MixError as exc:
                _log.warning("an idle action of %s failed: %s", item.entry, exc)
            else:
                todo.extend(done.postponed)

    @staticmethod
    def _limits(options: RunOptions, most: Limits) -> Limits:
        """Those of a run; an option that no run has is refused here, before anything is loaded."""
        check_options(options)
        wanted = options.get("limits")
        return most if wanted is None else most.narrowed(wanted)

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop threads and free instances. Idempotent; runs that are under way are waited for."""
        if self._closed:
            return
        self._closed = True
        self._threads.close()
        self._portal.close()
        super().close()
        self.programs.close()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def _unheard(seconds: float, failure: BaseException | None) -> None:
    """Nobody wants to know that a call has ended."""


def _not_loaded(entry: str, budget: Budget) -> NoReturn:
    """The run ends, which waited for its code; that may be there for the next one."""
    exc = budget.exceeded("wall_time", "the code was still being loaded")
    raise RunError(str(exc), agent=entry, panic_code=exc.code) from exc


def _once(make: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    """The same list each time, made when it is first asked for."""
    made: list[list[Any]] = []

    def get() -> list[Any]:
        if not made:
            made.append(make())
        return made[0]

    return get
