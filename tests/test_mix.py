"""The conformance suite of Mix: every file in tests/mix, on the reference evaluator. `mix_lang.conformance` has its format.

With MIX_UPDATE=1 what the compiler says is written into the cases, to be read before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mix_db.query import evaluate, from_json
from mix_lang import library
from mix_lang.codegen.generator import generate
from mix_lang.compile import Checked, check
from mix_lang.conformance import Case, Stopped, read_case, run_case
from mix_lang.evaluator.run import Agent
from mix_lang.evaluator.values import Panic
from mix_lang.random_programs import program
from mix_lang.render import render_all
from mix_rt.instance import virtual, wasm
from mix_rt.qcode import Code, addresses
from mix_rt.testing import SLICE, Later, Panicked, finish
from mix_rt.vm import Event, Virtual
from mix_wasmtime.engine import WasmtimeEngine

from mixkit import codec, tagged_json
from mixkit import value as values
from mixkit.contracts import Instance, WasmEngine
from mixkit.limits import Limits

LIBRARY = {f"{name}.mix" for name in library.sources()} | {"prelude.mix", "cells.mix"}
Make: TypeAlias = "Callable[..., tuple[Instance, Virtual]]"
"""Makes a fresh machine; given an instance after its init, one that is to go on from there."""
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
        _saved.clear()
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
    """The machine as a runner of cases: code from `generate` in an instance of an engine.

    With `anew`, actions are invoked, as by a client, in a machine that has not made them.
    """

    def __init__(self, code: Code, module: str, make: Make, *, anew: bool = False) -> None:
        self._code, self._module, self._make, self._anew = code, module, make, anew
        self._result: Any = None
        self._lines: list[str] = []
        self._virtual: Any = None
        self._next: list[Any] = []
        self._idle: list[Any] = []

    def _load(self) -> None:
        instance, self._virtual = self._make()
        self._virtual.load(self._code.to_bytes())
        self._finish(self._virtual.init(SLICE))
        _, self._virtual = self._make(instance)

    def start(self, params: Any) -> None:
        self._load()
        _saved.clear()
        self._lines, self._next, self._idle = [], [], []
        self._enter(self._module, params)

    def _enter(self, name: str, *args: Any) -> None:
        """An entry, and the actions that it queues."""
        words = codec.encode(list(args))
        self._result = self._finish(self._virtual.enter(self._code.exports[name], words, SLICE))
        if self._next:
            following = self._next.pop(0)
            self._enter("$invoke", following["name"], following["env"])

    def _finish(self, event: Event) -> Any:
        try:
            return finish(self._virtual, event, self._answer)
        except Panicked as panic:
            calls = [(call.function, call.instruction) for call in panic.event.addresses]
            around = addresses(self._code, calls)
            if panic.event.code == "deadlock":
                raise Stopped("0:0 the entry waits for ever: nothing is left that could wake it") from None
            places = [place for frames in around for place in frames if place[1] not in LIBRARY]
            _, _, line, column = places[0] if places else ("", "", 0, 0)
            raise Stopped(f"{line}:{column} {codec.decode(panic.event.words)!s}") from None

    def _answer(self, index: int, *args: Any) -> Any:
        name = self._code.ffis[index].name
        if name == "$core_log":
            self._lines.append(args[1])
            return None
        if name == "$core_sleep":
            raise Later(args[0])
        if name == "$core_get_actions":
            return self._next
        if name in ("$core_set_actions", "$core_push_actions"):
            self._next = [*([] if "set" in name else self._next), *args[0]]
            return None
        if name == "$core_set_idle_actions":
            self._idle = args[0]
            return None
        return _ffi(name, args)

    def output(self) -> Any:
        return _hidden(self._result)

    def invoke(self, path: list[str | int], args: list[Any]) -> None:
        action = self._result
        for part in path:
            action = action[part]
        if self._anew:
            self._load()
        self._enter("$invoke", action["name"], action["env"] | {"args": args})

    def idle(self) -> None:
        while self._idle:
            # Each time in a run of its own, as the kernel does it.
            self._load()
            actions, self._idle = self._idle, []
            for action in actions:
                self._enter("$invoke", action["name"], action["env"])

    def log(self) -> str:
        return self._lines.pop(0)


def _hidden(value: Any) -> Any:
    """Without what actions see, which is the machine's own business."""
    if type(value) is list:
        return [_hidden(item) for item in value]
    if type(value) is dict:
        ours = value.get("_rmx_type") == "msg_view_invoke"
        return {key: "…" if ours and key == "env" else _hidden(item) for key, item in value.items()}
    if type(value) is values.Case and value.arg is not values.UNDEF:
        return values.Case(value.name, _hidden(value.arg))
    return value


RECORDS: list[dict[str, Any]] = [
    {"name": "Ada", "age": 36, "tags": ["math", "poet"], "home": {"city": "London"}},
    {"name": "Ben", "age": 17, "tags": [], "home": {"city": "Rome"}, "banned": True},
    {"name": "Cy_", "age": 80, "home": {"city": "Rome"}, "limit": 90},
    {"name": "Dan%", "tags": ["math"]},
]
_found: list[list[Any]] = []
_saved: list[dict[str, Any]] = []


def _ffi(name: str, args: tuple[Any, ...]) -> Any:
    """Functions of the host, for cases of `foreign def`, and of a database that has some records."""
    if name == "$db_execute":
        query = from_json(tagged_json.to_json(args[1]))
        _found.append(list(evaluate(query, [*RECORDS, *_saved], args[2] or {}, lambda ref: None)))
        return "handle"
    if name == "$db_execute_next":
        rows = _found[-1]
        _found[-1] = []
        return rows
    if name == "$db_save_one":
        _saved.append(args[1])
        return args[1]
    if name == "$db_execute_close":
        _found.pop()
        return None
    if name == "$test_double":
        return args[0] * 2
    raise Panic(f"there is no FFI {name} here")


@cache
def checked_case(path: Path) -> tuple[Case, Checked, str]:
    """A case, what the checks made of it, and the name of its agent."""
    case = read_case(path)
    checked = check(case.sources)
    unit = checked.unit_of(path.name)
    return case, checked, unit.name if unit else ""


@cache
def code_of(path: Path) -> Code:
    _, checked, agent = checked_case(path)
    return generate(checked.program, agent)


NOT_KEPT: frozenset[str] = frozenset()
"""Cases of what an action does not take along when it is invoked in another machine."""
WITHOUT_ERRORS = [path for path in CASES if "\nerror[M" not in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path) -> None:
    case, checked, agent = checked_case(path)
    said = render_all(checked.diagnostics).rstrip("\n")
    if said != case.diagnostics and os.environ.get("MIX_UPDATE"):
        _update(path, case, said)
    else:
        assert said == case.diagnostics
    if checked.failed:
        assert not case.steps, "a program with errors does not run"
        return
    run_case(case, Evaluator(checked, agent))


@pytest.fixture(scope="module", params=["wasmtime", "wasm2c"])
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes machines in instances of their own; on the second engine each goes on from a snapshot after init."""
    engine: WasmEngine
    if request.param == "wasmtime":
        engine = WasmtimeEngine()
    else:
        second = pytest.importorskip("mix_wasm2c.engine")
        settings = pytest.importorskip("mix_wasm2c.settings")
        cache = getattr(request.config, "cache", None)
        kept = tmp_path_factory.mktemp("wasm2c") if cache is None else cache.mkdir("wasm2c")
        engine = second.Wasm2cEngine(
            settings.Wasm2cSettings(trust_all=True, cache_dir=str(kept), optimize=False)
        )
    module = engine.compile(wasm())
    instances: list[Instance] = []

    def one(before: Instance | None = None) -> tuple[Instance, Virtual]:
        if before is None:
            while instances:
                instances.pop().close()
            instances.append(engine.instantiate(module, Limits(), {}))
        elif request.param == "wasm2c":
            frozen = before.freeze()
            instances.append(engine.instantiate(module, Limits(), {}))
            assert frozen is not None and instances[-1].reset(frozen)
        return instances[-1], virtual(instances[-1])

    yield one
    for instance in instances:
        instance.close()


@pytest.mark.parametrize("path", WITHOUT_ERRORS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case_on_the_machine(path: Path, make: Make) -> None:
    case, _, agent = checked_case(path)
    run_case(case, Machine(code_of(path), agent, make))
    if any(word == "invoke" for word, _ in case.steps) and path.stem not in NOT_KEPT:
        run_case(case, Machine(code_of(path), agent, make, anew=True))


@pytest.mark.parametrize("seed", range(12))
def test_random_program(seed: int, make: Make) -> None:
    """The machine and the evaluator agree on programs that nobody has written."""
    name, params = f"random_{seed}", {"a": 1, "b": [1, 2]}
    checked = check({f"{name}.mix": program(seed)})
    # Constants of random kinds meet operators that do not take them: certain errors, which both have to give.
    assert {item.code for item in checked.diagnostics if item.cls == "error"} <= {"M0404"}
    both: list[Any] = []
    for runner in (Evaluator(checked, name), Machine(generate(checked.program, name), name, make)):
        try:
            runner.start(params)
            both.append(codec.encode(runner.output()))
        except Stopped as stopped:
            both.append(str(stopped))
    assert both[0] == both[1], program(seed)


def _update(path: Path, case: Case, said: str) -> None:
    text = path.read_text(encoding="utf-8").partition("\n/* diagnostics\n")[0].rstrip("\n") + "\n"
    path.write_text(text + (f"\n/* diagnostics\n{said}\n*/\n" if said else ""), encoding="utf-8")
    assert case.name


def test_there_are_many() -> None:
    assert len(CASES) >= 400
