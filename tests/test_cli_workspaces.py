"""`mixkit ws`, `app`, `remix list` and `remove`, and `run` of what is installed: a person's view of workspaces."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixkit.cli import main

OPTIONS = ("-p", "test", "--set", "storage=mixquery")
COMMAND = [sys.executable, "-m", "mixkit", *OPTIONS]
SHA = "(call $call (i32.const 64) (i32.const 14) (local.get $p) (local.get $n))"


@pytest.fixture(scope="module")
def packages(guest: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a directory of workspaces `ws`: package `pair` with the apps `one` and `two` is in `first`."""
    folder = tmp_path_factory.mktemp("desk")
    source = folder / "source"
    source.mkdir()
    (source / "small.wasm").write_bytes(guest('(data (i32.const 64) "$crypto_sha256")', hash=SHA))
    agents = {"echo": {"code": "small.wasm", "inParams": {"n": "int"}}, "hash": {"code": "small.wasm"}}
    manifest = {
        "format": 3, "name": "pair", "version": "1.0", "kind": "workspace",
        "apps": {"one": {"agents": agents}, "two": {"agents": {"echo": {"code": "small.wasm"}}}},
        "grants": {"ffis": ["$crypto_*"]}, "limits": {"wall_time": 2},
    }  # fmt: skip
    (source / "manifest.json").write_text(json.dumps(manifest))
    install = (
        "install",
        "pair.remix",
        "--ws",
        "first",
        "--ws-dir",
        "ws",
        "--yes",
        "--grant",
        "$crypto_sha256",
    )
    for command in (("build", "source", "-o", "pair.remix"), install):
        subprocess.run([*COMMAND, "remix", *command], cwd=folder, capture_output=True, timeout=60, check=True)
    return folder


class Shell:
    """Runs `mixkit` in this process and in a folder, with a storage that keeps and without a server."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        patch.chdir(folder)
        patch.setattr(sys, "stdin", io.StringIO())

    def __call__(self, *args: str, fails: int = 0) -> str:
        self._capsys.readouterr()
        status = main([*OPTIONS, *args])
        done = self._capsys.readouterr()
        assert status == fails, done.err
        return done.err if fails else done.out

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json"))


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


@pytest.fixture
def shell(packages: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """In the folder that `packages` made."""
    return Shell(packages, capsys, monkeypatch)


HERE = ("--ws-dir", "ws")


def test_workspaces_are_made_listed_and_removed(empty: Shell) -> None:
    assert "mixkit ws create NAME" in empty("ws", "list", *HERE, fails=1)
    assert not Path("ws").exists()
    empty("ws", "create", "first", *HERE)
    empty("app", "create", "first/notes", *HERE)
    assert "already" in empty("ws", "create", "first", *HERE, fails=1)
    assert empty("ws", "list", *HERE) == "first\tnotes\n"
    assert empty.json("ws", "list", *HERE) == [{"workspace": "first", "apps": ["notes"]}]
    assert "did you mean 'first'?" in empty("app", "create", "frist/notes", *HERE, fails=1)
    assert "WS/APP" in empty("app", "create", "notes", *HERE, fails=2)
    # Nobody can be asked here, and data is not lost without being asked for.
    for command in (("ws", "rm", "first"), ("app", "rm", "first/notes")):
        assert "--yes" in empty(*command, *HERE, fails=2)
    assert empty.json("app", "rm", "first/notes", *HERE, "-y") == {"removed": "first/notes"}
    assert "no app 'notes'" in empty("app", "show", "first/notes", *HERE, fails=1)
    empty("ws", "rm", "first", *HERE, "--yes")
    assert empty("ws", "list", *HERE) == ""


def test_what_is_installed(shell: Shell) -> None:
    assert shell("app", "list", *HERE).splitlines() == [
        "first\tone\tpair\t1.0\t\techo, hash",
        "first\ttwo\tpair\t1.0\t\techo",
    ]
    assert shell.json("ws", "show", "first", *HERE)[0]["agents"] == ["echo", "hash"]
    assert shell("remix", "list", *HERE) == "first\tpair\t1.0\t\tone, two\n"
    shown = shell.json("app", "show", "first/one", *HERE)
    assert (shown["package"], shown["limits"]) == ("pair", {"wall_time": 2})
    assert [layer["ffis"] for layer in shown["granted"]] == [["$crypto_*"], ["$crypto_sha256"]]
    assert shown["agents"][0] == {"agent": "echo", "params": "{n: int}", "result": "data", "description": ""}
    assert "did you mean 'pair'?" in shell("remix", "remove", "par", "--ws", "first", *HERE, fails=1)


def test_what_commands_do_is_noted(empty: Shell, packages: Path) -> None:
    package = str(packages / "pair.remix")
    empty("ws", "create", "first", *HERE)
    empty("app", "create", "first/notes", *HERE)
    empty("remix", "install", package, "--ws", "first", "--yes", *HERE)
    empty("app", "export", "first/one", *HERE)
    empty("remix", "remove", "pair", "--ws", "first", "--yes", *HERE)
    # What fails was not done.
    empty("app", "create", "first/notes", *HERE, fails=1)
    empty("app", "import", "one.remix", "--ws", "first", "--yes", *HERE)
    empty("app", "rm", "first/notes", "--yes", *HERE)
    noted = empty.json("logs", "first", *HERE)
    assert [(each["kind"], each.get("app"), each["subject"], each["result"]) for each in noted] == [
        ("create", None, "operator", "ok"),
        ("create", "notes", "operator", "ok"),
        ("install", None, "operator", "ok"),
        ("export", "one", "operator", "ok"),
        ("remove", None, "operator", "ok"),
        ("import", None, "operator", "ok"),
        ("delete", "notes", "operator", "ok"),
    ]
    assert noted[2]["about"] == {"apps": ["one", "two"], "version": "1.0", "changed": True}
    # The workspace that is gone has none any more.
    empty("ws", "rm", "first", "--yes", *HERE)
    assert [each["kind"] for each in empty.json("logs", *HERE)] == ["delete"]


def test_a_terminal_gets_a_table(packages: Path) -> None:
    main, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "app", "list", *HERE], cwd=packages, stdout=terminal, timeout=60, check=True
        )
        assert done.returncode == 0
        shown = os.read(main, 4096).decode()
    finally:
        os.close(terminal)
        os.close(main)
    assert shown.splitlines()[0].replace("\x1b[1m", "").startswith("workspace  app  package")
    assert "\t" not in shown


def test_an_installed_agent_is_run_with_its_powers(shell: Shell) -> None:
    assert shell("run", "first/one/echo", '{"n": 1}', *HERE) == '{"n":1}\n'
    assert shell("run", "first/one", "echo", '{"n": 2}', *HERE) == '{"n":2}\n'
    assert shell("run", "first/one/hash", '["abc"]', *HERE).startswith('"ba7816bf')
    assert shell("run", "first/two", *HERE).splitlines() == ["two/echo\tdata\tdata\t"]
    assert "n" in shell("run", "first/one/echo", '{"n": "x"}', *HERE, fails=1)
    assert "did you mean 'echo'?" in shell("run", "first/one/ehco", *HERE, fails=1)
    assert "did you mean 'one'?" in shell("run", "first/onr/echo", *HERE, fails=1)
    assert "$crypto_sha256" in shell("run", "first/one/hash", "[]", *HERE, "--grant", "$core_*", fails=1)
    assert "--database" in shell("run", "first/one/echo", *HERE, "--database", "d", fails=2)
    assert "one PARAMS" in shell("run", "first/one/echo", "{}", "{}", *HERE, fails=2)
    # What is neither a file nor installed is told as both.
    text = shell("run", "first/none/echo", fails=2)
    assert "--ws-dir" in text


def test_a_package_is_removed_with_all_that_it_brought(shell: Shell) -> None:
    shell("remix", "install", "pair.remix", "--ws", "second", "--yes", *HERE)
    shell("app", "create", "second/own", *HERE)
    assert "--yes" in shell("remix", "remove", "pair", "--ws", "second", *HERE, fails=2)
    removed = shell.json("remix", "remove", "pair", "--ws", "second", *HERE, "--yes")
    assert removed == {"removed": "pair", "apps": ["one", "two"]}
    assert shell("app", "list", "second", *HERE) == "second\town\t\t\t\t\n"
