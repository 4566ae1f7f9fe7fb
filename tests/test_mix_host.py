"""Agents in Mix among others: the database of their app, agents of both kinds that call each other, errors for people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mixkit.action import Invocation, Invoke, parse
from mixkit.cli import main
from mixkit.errors import NotFound, RunError
from mixkit.grants import ALL, Grants
from mixkit.job import Agents, RunResult, Target
from mixkit.kernel import Kernel
from mixkit.state import State
from mixkit.storage import Place
from mixkit.vm.program import Program

NOTES = """\
module notes(p: data)
  import db
  import array
  import string
  live cell titles =
    db.head()
      |> db.filter(r -> r._rmx_type == "note" && (string.hasPrefix(p.prefix, r.title) || r.stars > p.stars))
      |> db.map(r -> r.title)
      |> db.toArray
  cell output = {
    titles,
    add: action (title, stars) { let _saved = db.saveOne(null, {_rmx_type: "note", title, stars}) }
  }
module end
"""
CALLER = """\
module caller(p: data)
  foreign def call : string -> data -> data = "$core_agent_call"
  cell output = call(p.agent, p.params) |> (global.ok(x) -> {answer: x} | global.error(e) -> {failed: e})
module end
"""
ADDS = """\
module adds(p: data)
  def half(n) = 10 / n
  initializer { pushIdleActions(appstate, [action { debug("idle of " + p.n) }]) }
  cell output = half(p.n) + p.n
module end
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "mix.toml"
    profile.write_text(
        'plugins = ["wasmtime", "rt", "lang", "db"]\nengines = ["wasmtime"]\nstorage = "memory"\n'
    )
    with Kernel(profile, environ={}) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def programs(
    kernel: Kernel, guest: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Program]:
    """Mix: `notes`, `caller`, `adds`. Wasm: `delegate`, which takes the name of an agent and its parameters."""
    folder = tmp_path_factory.mktemp("sources")
    found = {}
    for name, text in (("notes", NOTES), ("caller", CALLER), ("adds", ADDS)):
        (folder / f"{name}.mix").write_text(text)
        found[name] = kernel.load(folder / f"{name}.mix")
    found["delegate"] = kernel.load(
        guest(
            '(data (i32.const 64) "$core_agent_call") (data (i32.const 96) "$core_push_idle_actions")'
            '(data (i32.const 128) "$core_log")',
            delegate="(call $call (i32.const 64) (i32.const 16) (local.get $p) (local.get $n))",
            put_off="(call $call (i32.const 96) (i32.const 23) (local.get $p) (local.get $n))",
            say="(call $call (i32.const 128) (i32.const 9) (local.get $p) (local.get $n))",
        ),
        "delegate",
    )
    return found


def test_a_query_follows_the_database(kernel: Kernel, programs: dict[str, Program], tmp_path: Path) -> None:
    options: Any = {"place": Place("office", "notes", tmp_path / "notes")}

    def run(params: Any) -> Any:
        return kernel.run_sync(programs["notes"], "notes", params, **options).value

    value = run({"prefix": "a%", "stars": 3})
    assert value["titles"] == []
    for title, stars in (("a%b", 0), ("axb", 1), ("c", 5)):
        action = parse({**value["add"], "args": [title, stars]})
        assert isinstance(action, Invoke)
        value = kernel.run_sync(programs["notes"], "notes", Invocation((action,)), **options).value
    assert sorted(value["titles"]) == ["a%b", "c"]
    assert sorted(run({"prefix": "", "stars": 9})["titles"]) == ["a%b", "axb", "c"]


def _run(kernel: Kernel, programs: dict[str, Program], entry: str, params: Any) -> RunResult:
    async def resolve(state: State, name: str) -> Target:
        return Target(programs[name], name, ALL)

    return asyncio.run(kernel.run(programs[entry], entry, params, agents=Agents(resolve), grants=ALL))


def test_agents_of_both_kinds_call_each_other(kernel: Kernel, programs: dict[str, Program]) -> None:
    inner = {"agent": "delegate", "params": ["adds", {"n": 5}]}
    assert _run(kernel, programs, "caller", inner).value["answer"].arg == 7.0
    answer = _run(kernel, programs, "delegate", ["caller", {"agent": "adds", "params": {"n": 2}}]).value
    assert (answer.name, answer.arg) == ("ok", {"answer": 7.0})


def test_what_an_inner_agent_puts_off_runs_after_the_outer_answer(
    kernel: Kernel, programs: dict[str, Program], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "mix-vm")
    for entry, params in (
        ("caller", {"agent": "adds", "params": {"n": 4}}),
        ("delegate", ["adds", {"n": 4}]),
    ):
        caplog.clear()
        result = _run(kernel, programs, entry, params)
        assert [item.entry for item in result.postponed] == ["adds"] and "idle" not in caplog.text
        asyncio.run(kernel.run_postponed(result, 30))
        assert "idle of 4" in caplog.text


def test_a_guest_puts_off_entries_of_its_own(
    kernel: Kernel, programs: dict[str, Program], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "mix-vm")
    actions = [
        {"_rmx_type": "msg_view_invoke", "name": "say", "env": ["info", f"line {n}"]} for n in range(2)
    ]
    result = kernel.run_sync(programs["delegate"], "put_off", [actions], grants=ALL)
    assert "line" not in caplog.text
    asyncio.run(kernel.run_postponed(result, 30))
    assert "line 0" in caplog.text and "line 1" in caplog.text
    # Whoever may run `put_off` may not for that say anything else.
    found = parse(actions[0])
    assert isinstance(found, Invoke)
    with pytest.raises(NotFound, match="no action 'say'"):
        kernel.run_sync(programs["delegate"], "put_off", Invocation((found,)), grants=ALL)


def test_an_error_of_an_inner_agent(kernel: Kernel, programs: dict[str, Program]) -> None:
    answer = _run(kernel, programs, "caller", {"agent": "adds", "params": {"n": "x"}}).value
    assert "expected two numbers" in answer["failed"]


def test_a_stored_error_is_readable(
    kernel: Kernel, programs: dict[str, Program], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError) as caught:
        kernel.run_sync(programs["adds"], "adds", {"n": "x"})
    assert main(["error-decode", json.dumps(caught.value.to_dict())]) == 0
    said = capsys.readouterr().out
    assert "adds: /: expected two numbers" in said and "adds.half (adds.mix:2:20)" in said


def test_an_error_without_symbols_is_decoded_with_those_of_others(
    kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "deep.mix"
    source.write_text(
        "module deep(p: data)\n  def small(x) = x / 2\n  def outer(x) {\n    let y = small(x);\n    return [y]\n  }\n"
        "  cell output = outer(p)\nmodule end\n"
    )
    whole, stripped, other = tmp_path / "deep.mixexe", tmp_path / "bare.mixexe", tmp_path / "other.mixexe"
    assert main(["compile", str(source), "-o", str(whole)]) == 0
    assert main(["code", "strip", str(whole), "-o", str(stripped)]) == 0
    source.write_text("module deep(p: data)\n  cell output = [p]\nmodule end\n")
    assert main(["compile", str(source), "-o", str(other)]) == 0
    errors = []
    for path in (whole, stripped):
        with pytest.raises(RunError) as caught:
            kernel.run_sync(path, "deep", "x")
        errors.append(caught.value.to_dict())
    assert all("(function " in frame for frame in errors[1]["backtrace"])
    capsys.readouterr()
    assert main(["error-decode", json.dumps(errors[0])]) == 0
    said = capsys.readouterr().out
    assert "deep.mix:2:20" in said
    assert main(["error-decode", "--code", str(whole), json.dumps(errors[1])]) == 0
    decoded = capsys.readouterr().out
    assert decoded == said
    assert main(["error-decode", "--code", str(stripped), json.dumps(errors[1])]) == 0
    assert "(function " in capsys.readouterr().out
    assert main(["error-decode", "--code", str(other), json.dumps(errors[1])]) == 1
    assert "found other code" in capsys.readouterr().err


def test_a_library_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, library = tmp_path / "lib.mix", tmp_path / "lib.mixlib"
    source.write_text("module lib\n  def f(x) = x\nmodule end\n")
    assert main(["compile", "--library", str(source), "-o", str(library)]) == 0
    assert main(["run", str(library), "lib", "1"]) == 1
    assert "expected an executable (.mixexe), found a library (.mixlib)" in capsys.readouterr().err


def test_what_an_agent_is_not_granted(kernel: Kernel, programs: dict[str, Program]) -> None:
    with pytest.raises(RunError, match=r"\$core_agent_call is not granted"):
        kernel.run_sync(
            programs["caller"], "caller", {"agent": "adds", "params": {}}, grants=Grants(["$core_log"])
        )
