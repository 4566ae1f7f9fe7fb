"""The conformance suite of Mix: every file in tests/mix, on the reference evaluator. `mix_lang.conformance` has its format.

With MIX_UPDATE=1 what the compiler says is written into the cases, to be read before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_lang import library
from mix_lang.codegen.function import NotYet
from mix_lang.codegen.generator import generate
from mix_lang.compile import Checked, check
from mix_lang.conformance import Case, Stopped, read_case, run_case
from mix_lang.evaluator.run import Agent
from mix_lang.evaluator.values import Panic
from mix_lang.render import render_all
from mix_rt.instance import virtual, wasm
from mix_rt.qcode import Code, addresses
from mix_rt.testing import SLICE, Panicked, finish
from mix_rt.vm import Event, Virtual
from mix_wasmtime.engine import WasmtimeEngine

from mixkit import codec
from mixkit.limits import Limits

LIBRARY = {f"{name}.mix" for name in library.sources()} | {"prelude.mix"}
MISSING = {
    "actions and links", "aliases", "assignments to cells", "cells of other modules", "definitions for their effect",
    "initializers and observers", "links",
}  # fmt: skip
"""What the code generator says that it cannot do yet; the evaluator can."""
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


class Machine:
    """The machine as a runner of cases: code from `generate` in an instance of an engine."""

    def __init__(self, code: Code, module: str, make: Callable[[], Virtual]) -> None:
        self._code, self._module, self._make = code, module, make
        self._result: Any = None

    def start(self, params: Any) -> None:
        virtual = self._make()
        virtual.load(self._code.to_bytes())
        self._finish(virtual, virtual.init(SLICE))
        entry = self._code.exports[self._module]
        self._result = self._finish(virtual, virtual.enter(entry, codec.encode([params]), SLICE))

    def _finish(self, virtual: Virtual, event: Event) -> Any:
        try:
            return finish(virtual, event, self._answer)
        except Panicked as panic:
            calls = [(call.function, call.instruction) for call in panic.event.addresses]
            places = [place for place in addresses(self._code, calls) if place[1] not in LIBRARY]
            _, _, line, column = places[0] if places else ("", "", 0, 0)
            raise Stopped(f"{line}:{column} {codec.decode(panic.event.words)}") from None

    def _answer(self, index: int, *args: Any) -> Any:
        return _ffi(self._code.ffis[index].name, args)

    def output(self) -> Any:
        return self._result

    def invoke(self, path: list[str | int], args: list[Any]) -> None:
        raise NotImplementedError

    def idle(self) -> None:
        raise NotImplementedError

    def log(self) -> str:
        raise NotImplementedError


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


NOT_YET = {
    "case_insensitive_unicode": "the machine knows the letters of ASCII only",
}
"""Cases that the machine does not pass, and why. What is not generated at all says so itself."""


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[[], Virtual]]:
    """Makes machines in instances of their own."""
    engine = WasmtimeEngine()
    module = engine.compile(wasm())
    instances: list[Any] = []

    def one() -> Virtual:
        while instances:
            instances.pop().close()
        instances.append(engine.instantiate(module, Limits(), {}))
        return virtual(instances[-1])

    yield one
    for instance in instances:
        instance.close()


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case_on_the_machine(path: Path, make: Callable[[], Virtual]) -> None:
    case = read_case(path)
    checked = check(case.sources)
    if checked.failed or case.name in NOT_YET:
        return
    agent = next(unit for unit in checked.program.units.values() if unit.source.file == path.name)
    try:
        code = generate(checked.program, agent.name).code()
    except NotYet as missing:
        assert missing.what in MISSING
        return
    run_case(case, Machine(code, agent.name, make))


def _update(path: Path, case: Case, said: str) -> None:
    text = path.read_text(encoding="utf-8").partition("\n/* diagnostics\n")[0].rstrip("\n") + "\n"
    path.write_text(text + (f"\n/* diagnostics\n{said}\n*/\n" if said else ""), encoding="utf-8")
    assert case.name


def test_there_are_many() -> None:
    assert len(CASES) >= 230
