"""What an agent asks, on the command line: on a terminal, with answers given beforehand, and where nobody is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mixkit.cli.asking import Asker
from mixkit.cli.output import Output
from mixkit.errors import FFIError

AGENT = """module greet(p: data)
  _meta_ { description: "Asks", inParams: {}, outParams: "data" }
  foreign def ask : data -> string -> data = "$core_ask"
  def schema = {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer" }, kind: { type: "string", enum: ["a", "b"] } },
    required: ["name", "age"]
  }
  cell output = ask(schema, "Who are you?") |> (ok(v) -> { is: v } | error(e) -> { refused: e })
module end
"""
FORM = {
    "method": "elicitation/create",
    "params": {
        "message": "Who?",
        "requestedSchema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name"],
        },
    },
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("asking") / "greet.mix"
    path.write_text(AGENT)
    return path


def run(agent: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mixkit", "run", str(agent), "greet", *options],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip


def on_terminal(agent: Path, *typed: bytes) -> Any:
    """The result of a run whose questions are answered with what is typed, one after the other."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mixkit", "run", str(agent), "greet"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
        # Ctrl-C is for whoever has the terminal.
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    try:
        end = time.monotonic() + 50
        for line in typed:
            shown = b""
            while not shown.endswith(b": "):
                shown += _shown(ours, end)
            os.write(ours, line)
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            while _shown(ours, end):
                pass
        answer = process.stdout.read()
        assert process.wait(20) == 0
        return json.loads(answer)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        os.close(ours)


def _shown(terminal: int, end: float) -> bytes:
    ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
    assert ready, "nothing more was asked"
    return os.read(terminal, 1_000)


def test_on_a_terminal_each_field_is_asked_until_it_fits(agent: Path) -> None:
    found = on_terminal(agent, b"many\n", b"36\n", b"\n", b"Ada\n")
    assert found == {"is": {"name": "Ada", "age": 36}}


def test_ctrl_c_is_an_answer_too(agent: Path) -> None:
    assert on_terminal(agent, b"\x03") == {"refused": "canceled"}


def test_answers_are_given_beforehand(agent: Path) -> None:
    done = run(agent, "--answer", '{"name": "Ada", "age": 36, "kind": "a"}')
    assert json.loads(done.stdout) == {"is": {"name": "Ada", "age": 36, "kind": "a"}}
    assert json.loads(run(agent, "--answer", "null").stdout) == {"refused": "declined"}
    for wrong, about in (
        ('{"name": "Ada"}', "'age'"),
        ('{"name": "Ada", "age": "x"}', "'age'"),
        ('{"name": "Ada", "age": 1, "kind": "c"}', "'kind'"),
        ('{"name": "Ada", "age": 1, "more": 1}', "'more'"),
    ):
        assert about in json.loads(run(agent, "--answer", wrong).stdout)["refused"]


def test_where_nobody_is_there_it_is_said_how_to_answer(agent: Path) -> None:
    done = run(agent)
    refused = json.loads(done.stdout)["refused"]
    assert "--answer" in refused and '"name"' in refused
    assert "Who are you?" in done.stderr and "--answer" in done.stderr


def test_answers_are_used_in_the_order_of_the_questions() -> None:
    asker = Asker(Output(), [{"name": "a"}, {"name": "b"}])

    async def ask() -> list[Any]:
        return [await asker.ask({name: FORM}) for name in ("one", "two")]

    first, second = asyncio.run(ask())
    assert first["one"]["content"] == {"name": "a"} and second["two"]["content"] == {"name": "b"}
    with pytest.raises(FFIError, match="cannot be asked"):
        asyncio.run(asker.ask({"x": {"method": "roots/list", "params": {}}}))
