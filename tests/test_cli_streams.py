"""Standard streams that are closed: a command works, or fails with a status; nothing else is written to instead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLOSINGS = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]


def run(redirection: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = '"$0" -m mixkit "$@" ' + redirection
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *words],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_result_is_printed_or_the_status_says_that_it_was_not(closing: str, tmp_path: Path) -> None:
    done = run(closing, "-p", "test", "ffi", "call", "$crypto_md5", '["a"]', folder=tmp_path)
    closed = ">&-" in closing.replace("2>&-", "")
    assert done.returncode == (1 if closed else 0), done.stderr
    assert done.stdout == ("" if closed else '"0cc175b9c0f1b6a831c399e269772661"\n')
    if closed and "2>&-" not in closing:
        assert done.stderr == ("mixkit: error: standard output is closed, and there is something to write\n")
    else:
        assert done.stderr == ""


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_mistake_has_its_status_and_no_traceback(closing: str, tmp_path: Path) -> None:
    done = run(closing, "-p", "test", "run", "nowhere.wasm", "main", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert ("nowhere.wasm" in done.stderr) == ("2>&-" not in closing)


def test_no_file_gets_what_is_printed(tmp_path: Path) -> None:
    done = run("<&- >&- 2>&-", "db", "put", "--db", "data", '{"secret": "here"}', folder=tmp_path)
    assert done.returncode != 0
    made = run("", "db", "init", "--db", "data", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    run("<&- >&- 2>&-", "--log-level", "debug", "db", "put", "--db", "data", '{"n": 1}', folder=tmp_path)
    assert run("", "db", "check", "--db", "data", folder=tmp_path).returncode == 0
    assert '"n":1' in run("", "db", "query", "--db", "data", "true", folder=tmp_path).stdout


def test_an_output_that_takes_nothing_is_an_error(tmp_path: Path) -> None:
    done = run("> /dev/full", "-p", "test", "ffi", "list", folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "mixkit: error: No space left on device\n")


def test_streams_that_are_open_stay_as_they_are() -> None:
    from mixkit.cli.streams import open_closed

    before = sys.stdin, sys.stdout, sys.stderr, [os.fstat(fd).st_ino for fd in range(3)]
    open_closed()
    assert (sys.stdin, sys.stdout, sys.stderr, [os.fstat(fd).st_ino for fd in range(3)]) == before
