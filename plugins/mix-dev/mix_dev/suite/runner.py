"""Runs tests: each in a run of its own, with what its code asks for, empty databases, and the agents of its package."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from mix_lang import syntax as s

from mix_dev.suite.agents import TestedAgents
from mix_dev.suite.build import Built
from mix_dev.suite.calls import Calls
from mix_dev.suite.drawn import Draws, smallest
from mix_dev.suite.lines import FFI as LINE
from mix_dev.suite.lines import Lines
from mix_dev.suite.module import TestModule
from mix_dev.suite.outcome import Outcome
from mixkit.errors import FFIError, MixError, RunError
from mixkit.ffi import FFIGroup
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.storage import Place
from mixkit.vm.program import Program

__all__ = ["Runner"]

_LOG: Final = "$core_log"
"""What is written is shown, replayed or not."""
_CALL: Final = "$core_agent_call"
_PLACE: Final = re.compile(r" \(([^()]+):([0-9]{1,7}):([0-9]{1,7})\)")


class Runner:
    """What all tests of one command share.

    Args:
        kernel: is changed: its FFIs are those of the tests.
        calls: records or replays FFIs, if it is given.
        lines: notes the lines that are run, if it is given.
        seed: of generated values.
        runs: of a test with generated values.
        timeout: seconds for a run, if less than the profile's.

    Attributes:
        agents: that tests call.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        calls: Calls | None = None,
        lines: Lines | None = None,
        seed: int = 0,
        runs: int = 100,
        timeout: float | None = None,
    ) -> None:
        self._kernel, self._calls, self._lines = kernel, calls, lines
        self._seed, self._runs = seed, runs
        most = kernel.limits.wall_time
        self._limits: Limits = msgspec.structs.replace(
            kernel.limits, wall_time=most if timeout is None else min(timeout, most)
        )
        self._differ: tuple[list[Any], list[Any]] | None = None
        self._draws = Draws(None)
        self._folder = tempfile.TemporaryDirectory(prefix="mixkit-test-")
        self._databases = 0
        self.agents = TestedAgents(kernel)
        ffis = [] if calls is None else [calls.wrapped(ffi) for ffi in kernel.ffis if ffi.name != _LOG]
        kernel.ffis = kernel.ffis.replaced([*ffis, *self._group()])

    def close(self) -> None:
        """Remove the databases of the tests."""
        self._folder.cleanup()

    def _group(self) -> FFIGroup:
        group = FFIGroup("test")

        @group.register("$test_differ", quick=True)
        def differ(expected: list[Any], found: list[Any]) -> None:
            """What is not as expected, before the test fails; each is in an array, which is empty for undefined."""
            self._differ = expected, found

        @group.register("$test_draw", quick=True)
        def draw(most: int) -> int:
            """A number from 0 to `most` that nobody has chosen."""
            if most < 0:
                raise FFIError(f"expected a range, found 0 to {most}")
            try:
                return self._draws.draw(most)
            except ValueError as exc:
                raise FFIError(str(exc)) from None

        @group.register("$test_begin", quick=True)
        def begin() -> int:
            """A generated value is begun to be made."""
            return self._draws.begin()

        @group.register("$test_drew", quick=True)
        def drew(depth: int, value: Any) -> None:
            """It is made."""
            try:
                self._draws.drew(depth, value)
            except ValueError as exc:
                raise FFIError(str(exc)) from None

        @group.register(LINE, quick=True)
        def line(number: int) -> None:
            """A line is run."""
            assert self._lines is not None
            self._lines.run.add(number)

        return group

    def run(self, module: TestModule, tests: list[tuple[str, s.Test]]) -> Iterator[Outcome]:
        """Run tests of a module, in their order.

        Raises:
            MixError: they cannot be compiled, or the package whose agents they call.
        """
        built = module.built([test for _, test in tests], self._lines)
        ready: dict[int, tuple[Built, Program]] = {}
        for each in built:
            program = self._kernel.load(each.code, module.path)
            ready |= {number: (each, program) for number, _ in each.tests}
            asked = program.manifest.grants
            if asked is not None and asked.allows(_CALL):
                self.agents.build(Path(module.path))
        for number, (name, test) in enumerate(tests, 1):
            each, program = ready[number]
            outcome = Outcome(name, module.line(test))
            began = time.perf_counter()
            self._test(module, each, program, number, outcome)
            outcome.seconds = time.perf_counter() - began
            yield outcome

    def _test(
        self, module: TestModule, built: Built, program: Program, number: int, outcome: Outcome
    ) -> None:
        """A test, as often as it takes."""
        source = Random(f"{self._seed} {outcome.id}")
        for run in range(1, self._runs + 1):
            error = self._once(module, built, program, number, outcome, Draws(source))
            outcome.runs = run
            if error is not None:
                if self._draws.made:
                    error = self._shrunk(module, built, program, number, outcome) or error
                self._explain(module, outcome, error)
                return
            if not self._draws.made:
                return

    def _once(
        self, module: TestModule, built: Built, program: Program, number: int, outcome: Outcome, draws: Draws
    ) -> MixError | None:
        self._differ, self._draws = None, draws
        outcome.output.clear()
        if self._calls is not None:
            self._calls.begin(outcome.id)
        self._databases += 1
        data = Path(self._folder.name) / str(self._databases)
        try:
            self._kernel.run_sync(
                program,
                built.module,
                number,
                limits=self._limits,
                place=Place("test", built.module, data),
                agents=self.agents.of(Path(module.path), data),
                output=lambda level, text: outcome.output.append(text),
            )
        except MixError as exc:
            return exc
        return None

    def _shrunk(
        self, module: TestModule, built: Built, program: Program, number: int, outcome: Outcome
    ) -> MixError | None:
        """The error with the smallest values, which are then those of the last run."""

        def fails(choices: tuple[int, ...]) -> tuple[int, ...] | None:
            if self._once(module, built, program, number, outcome, Draws(None, choices)) is None:
                return None
            return tuple(self._draws.made)

        found = smallest(tuple(self._draws.made), fails)
        # Once more, for what it wrote and drew.
        error = self._once(module, built, program, number, outcome, Draws(None, found))
        outcome.values = list(self._draws.values)
        return error

    def _explain(self, module: TestModule, outcome: Outcome, error: MixError) -> None:
        """Why and where it failed."""
        outcome.message, outcome.differ = str(error) or type(error).__name__, self._differ
        outcome.backtrace = list(error.backtrace) if isinstance(error, RunError) else []
        for frame in outcome.backtrace:
            match = _PLACE.search(frame)
            if match is not None and match[1] in module.files:
                outcome.place = match[1], int(match[2]), int(match[3])
                outcome.source = module.source_line(match[1], int(match[2]))
                break
