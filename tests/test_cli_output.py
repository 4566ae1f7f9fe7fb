"""How commands print: on a terminal, in a pipe, as JSON; and how they log."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys

import pytest

from mixkit.cli import logs
from mixkit.cli.output import Output, safe, safe_json

EVIL = "name\x1b[2J\u202eevil\tx\ny"
TABLE = f"""
from mixkit.cli.output import Output
Output().table(("name", "text"), [("a", {EVIL!r}), ("long name", "x" * 500)], styles={{"a": "ok"}})
"""


def on_terminal(script: str, **env: str) -> str:
    """What a script prints on a terminal that is 80 columns wide."""
    ours, theirs = pty.openpty()
    environ = (
        {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "80"} | env
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=theirs, stderr=theirs, stdin=theirs, env=environ
    )
    os.close(theirs)
    chunks = []
    try:
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    except OSError:
        pass  # How Linux says that the other end of a terminal is closed.
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return b"".join(chunks).decode()


def test_a_table_on_a_terminal_has_a_heading_and_fits() -> None:
    lines = on_terminal(TABLE, NO_COLOR="1").splitlines()
    assert lines[0].split() == ["name", "text"]
    assert all(len(line) <= 80 for line in lines)
    assert "".join(lines[2:]).count("x") == 500


def test_colour_is_for_terminals_without_no_color() -> None:
    assert "\x1b[32ma" in on_terminal(TABLE)
    assert "\x1b" not in on_terminal(TABLE, NO_COLOR="1")
    assert "\x1b" not in on_terminal(TABLE, TERM="dumb")
    piped = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True).stdout
    assert "\x1b" not in piped


def test_a_table_in_a_pipe_is_one_line_a_row_whatever_the_cells_hold() -> None:
    piped = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True).stdout
    assert [line.count("\t") for line in piped.splitlines()] == [1, 1]


def test_a_table_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).table(("name", "n"), [("a", 1), ("b", None)])
    assert json.loads(capsys.readouterr().out) == [{"name": "a", "n": 1}, {"name": "b", "n": None}]


def test_what_strangers_wrote_cannot_steer_the_terminal() -> None:
    assert safe(EVIL) == "name\\x1b[2J\\u202eevil\tx\ny"


def test_json_is_the_same_and_printable() -> None:
    text = json.dumps({"a\x9b2J": "\u202e\x7f\U000e0001é😀", "b": [1]}, ensure_ascii=False, indent=2)
    shown = safe_json(text)
    assert json.loads(shown) == json.loads(text)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "é😀" in shown


def test_progress_shows_on_a_terminal_only_and_goes_away() -> None:
    work = "with Output().working('thinking'):\n    time.sleep(0.9)\n"
    script = f"import time\nfrom mixkit.cli.output import Output\n{work}"
    shown = on_terminal(script)
    assert "thinking … 0." in shown
    assert shown.endswith("\r\x1b[2K")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def record(message: str, **extra: str) -> logging.LogRecord:
    made = logging.LogRecord("mix-vm", logging.INFO, "", 1, message, (), None)
    made.__dict__.update(extra)
    return made


def test_a_json_log_line_has_the_ids() -> None:
    line = json.loads(logs.JSONFormatter().format(record("he said\n\x1b[1mno", run_id="r1", request_id="q1")))
    assert line["message"] == "he said\n\x1b[1mno"
    assert (line["level"], line["logger"], line["run_id"], line["request_id"]) == (
        "info",
        "mix-vm",
        "r1",
        "q1",
    )
    assert "guest" not in line


def test_a_pretty_log_line_is_one_line() -> None:
    line = logs.PrettyFormatter().format(record("a\n12:00:00 error root: forged \x1b[1m", run_id="r1"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.endswith("[run_id=r1]")


@pytest.mark.parametrize("formatter", [logs.JSONFormatter(), logs.PrettyFormatter()])
def test_a_log_line_has_a_largest_size(formatter: logging.Formatter) -> None:
    made = record("x" * 1_000_000, run_id="r" * 1_000_000)
    try:
        raise ValueError("y" * 1_000_000)
    except ValueError as exc:
        made.exc_info = (type(exc), exc, exc.__traceback__)
    line = formatter.format(made)
    assert len(line) < 50_000
    assert "983616 characters more" in line and "Traceback" in line and "characters left out" in line


def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        logs.configure("info", "pretty")
        logs.configure("info", "json")
        logging.getLogger("mixkit.test").info("once")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert json.loads(capsys.readouterr().err)["message"] == "once"
