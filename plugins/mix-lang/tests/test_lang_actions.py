"""Actions of agents in Mix: invoked later in a run of their own, queued, put off, and handed to the caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixkit import codec
from mixkit.action import Invocation, Invoke, parse
from mixkit.errors import FFIError, RunError
from mixkit.job import RunResult
from mixkit.kernel import Kernel
from mixkit.vm.program import Program

COUNT = """\
module count(p: data)
  import part(p.step)
  alias parts = part.made
  var cell n = p.start
  var cell log = []
  initializer { log = ["begun"] }
  cell output = {
    n, log, parts,
    add: action (by) { n = n + by; log = log + ["added"] },
    buttons: [action { n = 0 }],
    part: part.grow,
    later: action {
      pushIdleActions(appstate, [action { log = log + ["idle"]; debug("idle " + n) }]);
      n = n + 1
    },
    chain: action {
      pushNextActions(appstate, [
        action { log = log + ["next"] },
        {_rmx_type: "msg_view_open_link", url: "https://example.com/"}
      ]);
      log = log + ["first"]
    }
  }
module end
"""
PART = """\
module part(step: number)
  var cell sum = 0
  cell made = sum
  def grow = action { sum = sum + step }
module end
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "mix.toml"
    profile.write_text('plugins = ["wasmtime", "rt", "lang"]\nengines = ["wasmtime"]\n')
    with Kernel(profile, environ={}) as kernel:
        yield kernel


def _program(kernel: Kernel, folder: Path, **sources: str) -> Program:
    for name, text in sources.items():
        (folder / f"{name}.mix").write_text(text)
    return kernel.load(folder / f"{next(iter(sources))}.mix")


def _invoke(kernel: Kernel, program: Program, entry: str, action: Any, *args: Any) -> RunResult:
    # As a client sends it back, which knows nothing of what it is.
    found = parse({**codec.decode(codec.encode(action)), "args": list(args)})  # type: ignore[dict-item]
    assert isinstance(found, Invoke)
    return kernel.run_sync(program, entry, Invocation((found,)))


@pytest.fixture
def count(kernel: Kernel, tmp_path: Path) -> Program:
    return _program(kernel, tmp_path, count=COUNT, part=PART)


def test_an_action_goes_on_where_it_was_made(kernel: Kernel, count: Program) -> None:
    value = kernel.run_sync(count, "count", {"start": 5, "step": 10}).value
    assert (value["n"], value["log"]) == (5, ["begun"])
    value = _invoke(kernel, count, "count", value["add"], 2).value
    assert (value["n"], value["log"]) == (7, ["begun", "added"])
    value = _invoke(kernel, count, "count", value["part"]).value
    value = _invoke(kernel, count, "count", value["part"]).value
    assert (value["n"], value["parts"]) == (7, 20)
    value = _invoke(kernel, count, "count", value["buttons"][0]).value
    assert (value["n"], value["parts"], value["log"]) == (0, 20, ["begun", "added"])


def test_queued_actions_run_and_clients_ones_are_forwarded(kernel: Kernel, count: Program) -> None:
    value = kernel.run_sync(count, "count", {"start": 0, "step": 1}).value
    result = _invoke(kernel, count, "count", value["chain"])
    assert result.value["log"] == ["begun", "first", "next"]
    assert result.actions == [{"_rmx_type": "msg_view_open_link", "url": "https://example.com/"}]


def test_idle_actions_run_after_the_answer(
    kernel: Kernel, count: Program, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    value = kernel.run_sync(count, "count", {"start": 0, "step": 1}).value
    result = _invoke(kernel, count, "count", value["later"])
    assert (result.value["n"], result.value["log"]) == (1, ["begun"])
    assert "idle" not in caplog.text
    asyncio.run(kernel.run_postponed(result, 30))
    # It sees what the action did after it had put it off.
    assert "idle 1" in caplog.text


def test_idle_actions_have_a_time(kernel: Kernel, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program = _program(kernel, tmp_path, spins="""\
module spins(p)
  initializer { pushIdleActions(null, [action { while (true) { } }, action { debug("never") }]) }
  cell output = 1
module end
""")  # fmt: skip
    result = kernel.run_sync(program, "spins")
    assert result.value == 1
    asyncio.run(kernel.run_postponed(result, 0.2))
    assert "an idle action of spins failed" in caplog.text and "wall_time" in caplog.text


def test_what_an_action_may_be(kernel: Kernel, count: Program) -> None:
    value = kernel.run_sync(count, "count", {"start": 0, "step": 1}).value
    for action, message in (
        (value["add"] | {"name": "count.action/99"}, "there is no action count.action/99"),
        (value["add"] | {"name": "$invoke"}, r"no entry '\$invoke'; it has count$"),
        (value["add"] | {"env": value["add"]["env"] | {"of": 77}}, "is not there any more"),
        (value["add"] | {"env": value["add"]["env"] | {"of": 1}}, "there is no action"),
        (value["add"] | {"env": 5}, "args as an array, and only beside an env that is a map"),
    ):
        with pytest.raises((RunError, FFIError), match=message):
            _invoke(kernel, count, "count", action, 1)


def test_an_action_cannot_hold_a_function(kernel: Kernel, tmp_path: Path) -> None:
    program = _program(
        kernel, tmp_path, holds="cell output = let f = (x -> x); {go: action { debug(f(1)) }}\n"
    )
    with pytest.raises(RunError, match="function"):
        kernel.run_sync(program, "holds")


def test_code_without_actions_does_not_carry_them(kernel: Kernel, tmp_path: Path) -> None:
    program = _program(kernel, tmp_path, plain="cell output = 1\n")
    with pytest.raises(RunError, match=r"no entry 'plain\.action'"):
        kernel.run_sync(program, "plain", Invocation((Invoke(name="plain.action"),)))
