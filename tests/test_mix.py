"""The conformance suite of Mix: every file in tests/mix, on the reference evaluator. `mix_lang.conformance` has its format.

With MIX_UPDATE=1 what the compiler says is written into the cases, to be read before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mix_lang.compile import Checked, check
from mix_lang.conformance import Case, Stopped, read_case, run_case
from mix_lang.evaluator.run import Agent
from mix_lang.evaluator.values import Panic
from mix_lang.render import render_all

CASES = sorted((Path(__file__).parent / "mix").rglob("*.mix"))


class Evaluator:
    """The reference evaluator as a runner of cases."""

    def __init__(self, checked: Checked, module: str) -> None:
        self._checked, self._module = checked, module
        self._agent: Agent | None = None

    @property
    def agent(self) -> Agent:
        assert self._agent is not None
        return self._agent

    def start(self, params: Any) -> None:
        self._guard(self._start, params)

    def _start(self, params: Any) -> None:
        self._agent = Agent(self._checked.program, self._module, params, _ffi)

    def output(self) -> Any:
        return self._guard(self.agent.output)

    def invoke(self, path: list[str | int], args: list[Any]) -> None:
        action = self.agent.raw()
        for part in path:
            action = action[part]
        self._guard(self.agent.invoke, action, *args)

    def idle(self) -> None:
        self._guard(self.agent.idle)

    def log(self) -> str:
        return self.agent.machine.log.pop(0)

    @staticmethod
    def _guard(call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except Panic as panic:
            line, column = 0, 0
            if panic.source is not None:
                place = panic.source.location(panic.span)
                line, column = place.start_line, place.start_col
            raise Stopped(f"{line}:{column} {panic.message}") from None


def _ffi(name: str, args: tuple[Any, ...]) -> Any:
    """Two functions of the host, for cases of `foreign def`."""
    if name == "$test_double":
        return args[0] * 2
    raise Panic(f"there is no FFI {name} here")


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path) -> None:
    case = read_case(path)
    checked = check(case.sources)
    said = render_all(checked.diagnostics).rstrip("\n")
    if said != case.diagnostics and os.environ.get("MIX_UPDATE"):
        _update(path, case, said)
    else:
        assert said == case.diagnostics
    if checked.failed:
        assert not case.steps, "a program with errors does not run"
        return
    agent = next(unit for unit in checked.program.units.values() if unit.source.file == path.name)
    run_case(case, Evaluator(checked, agent.name))


def _update(path: Path, case: Case, said: str) -> None:
    text = path.read_text(encoding="utf-8").partition("\n/* diagnostics\n")[0].rstrip("\n") + "\n"
    path.write_text(text + (f"\n/* diagnostics\n{said}\n*/\n" if said else ""), encoding="utf-8")
    assert case.name


def test_there_are_many() -> None:
    assert len(CASES) >= 230
