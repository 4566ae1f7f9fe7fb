"""`mixkit ws` and `app`: files of workspaces and apps, here and through a server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.cli import main
from mixkit.package import WorkspaceStore
from mixkit.package.build import pack

TOKEN = "a-token-for-tests-0123456789"


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `mixkit` in this process and in an empty folder; answers what it prints, on stderr where it fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*words: str, fails: int = 0) -> str:
        status = main(words)
        out, err = capsys.readouterr()
        assert status == fails, (words, out, err)
        return err or out if fails else out

    return run


@pytest.fixture
def crm(shell: Any, guest: Callable[..., bytes]) -> Any:
    """The same, with the workspace `crm`: the app `notes`, installed with less than it asks for, and a record."""
    manifest = {
        "format": 3, "name": "notes", "version": "1.0", "kind": "app",
        "apps": {"notes": {"agents": {"echo": {"code": "code/notes/main.wasm"}}}},
        "grants": {"ffis": ["$core_log", "$db_*"]},
    }  # fmt: skip
    entries = {"manifest.json": json.dumps(manifest).encode(), "code/notes/main.wasm": guest()}
    Path("notes.remix").write_bytes(pack({path: partial(bytes, data) for path, data in entries.items()}))
    shell("remix", "install", "notes.remix", "--ws", "crm", "--yes", "--grant", "$core_log")
    with Kernel("agent_server", environ={}) as kernel:
        place = WorkspaceStore("workspaces", kernel.databases).workspace("crm").place("notes")
        kernel.databases.open(place).save([{"n": 1}])
    return shell


def test_a_workspace_becomes_a_file_and_a_workspace(crm: Any) -> None:
    assert "exported\tcrm\nfile\tcrm.remix" in crm("ws", "export", "crm")
    looked = json.loads(crm("ws", "import", "crm.remix", "--dry-run", "--json"))
    assert (looked["workspace"], looked["apps"][0]["withheld"]) == ("crm", ["$db_*"])
    assert "$core_log" in crm("ws", "import", "crm.remix", "--dry-run")
    assert "--yes" in crm("ws", "import", "crm.remix", "--ws", "copy", fails=2)
    done = json.loads(crm("ws", "import", "crm.remix", "--ws", "copy", "--yes", "--json"))
    assert (done["workspace"], done["apps"], done["records"]) == ("copy", ["notes"], 1)
    assert crm("run", "copy/notes/echo", "[1]").strip() == "[1]"
    assert "has the apps notes already" in crm("ws", "import", "crm.remix", "--yes", fails=1)
    assert crm("ws", "list") == "copy\tnotes\ncrm\tnotes\n"
    crm("ws", "rm", "copy", "--yes")
    assert crm("ws", "list") == "crm\tnotes\n"


def test_an_app_becomes_a_file_and_an_app(crm: Any) -> None:
    crm("app", "export", "crm/notes", "-o", "a.remix", "--history", "--no-grants")
    assert "no workspace 'other'" in crm("app", "import", "a.remix", "--ws", "other", "--yes", fails=1)
    crm("ws", "create", "other")
    crm("app", "create", "other/mine")
    crm("app", "import", "a.remix", "--ws", "other", "--yes")
    assert crm("ws", "list").splitlines()[1] == "other\tmine, notes"
    assert "already" in crm("app", "import", "a.remix", "--ws", "other", "--yes", fails=1)
    assert "no app 'noted'" in crm("app", "export", "crm/noted", fails=1)
    assert not Path("noted.remix").exists()


def test_powers_are_shown_and_agreed_to(crm: Any) -> None:
    assert crm("app", "powers", "crm/notes") == "allowed\t$core_log\nwithheld\t$db_*\n"
    assert "expected one of the powers" in crm("app", "powers", "crm/notes", "--agree", "$db_get", fails=1)
    found = json.loads(crm("app", "powers", "crm/notes", "--agree", "$db_*", "--json"))
    assert found == {"allowed": ["$core_log", "$db_*"], "withheld": []}
    assert "exclude" in crm("app", "powers", "crm/notes", "--agree", "x", "--agree-all", fails=2)


def test_what_is_wrong_with_a_file_is_said_with_where(crm: Any) -> None:
    crm("ws", "export", "crm")
    data = Path("crm.remix").read_bytes()
    Path("cut.remix").write_bytes(data[:-5])
    assert "does not end with its end record" in crm("ws", "import", "cut.remix", "--yes", fails=1)
    assert "this is a package and no export" in crm(
        "ws", "import", "notes.remix", "--ws", "x", "--yes", fails=1
    )
    assert "it is imported" in crm("remix", "install", "crm.remix", "--ws", "x", "--yes", fails=1)
    error = json.loads(crm("ws", "import", "cut.remix", "--yes", "--json", fails=1))
    assert (error["ok"], error["kind"]) == (False, "package")
    assert crm("ws", "list") == "crm\tnotes\n"


def test_through_a_pipe(crm: Any, tmp_path: Path) -> None:
    mixkit = f"{sys.executable} -m mixkit"
    command = f"{mixkit} ws export crm -o - | {mixkit} ws import - --ws copy --yes"
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "workspace\tcopy" in done.stdout) == (0, True), done.stderr


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the workspaces in a folder, and its URL."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mixkit", "serve", "--port", "0"],
        cwd=folder,
        env={**os.environ, "MIXKIT_SERVER_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    lines = []
    for line in server.stderr:
        lines.append(line)
        if found := re.search(r"http://\S+", line):
            break
    else:
        raise AssertionError("".join(lines))
    try:
        yield server, found[0]
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


@pytest.fixture
def url(crm: Any, tmp_path: Path) -> Iterator[str]:
    """Where a server has these workspaces."""
    with serving(tmp_path) as (_, url):
        yield url


def test_a_server_that_is_killed_while_it_imports_has_nothing_of_it(crm: Any, tmp_path: Path) -> None:
    with Kernel("agent_server", environ={}) as kernel:
        place = WorkspaceStore("workspaces", kernel.databases).workspace("crm").place("notes")
        for _ in range(20):
            kernel.databases.open(place).save([{"n": number, "s": "x" * 100} for number in range(1_000)])
    crm("ws", "export", "crm")
    making = tmp_path / "workspaces" / "copy" / ".making"
    words = [sys.executable, "-m", "mixkit", "ws", "import", "crm.remix", "--ws", "copy", "--yes", "--server"]
    with serving(tmp_path) as (server, url):
        command = [*words, url, "--token", TOKEN]
        client = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not making.exists():
            assert client.poll() is None, "the import was over before anybody could look"
            time.sleep(0.002)
        server.kill()
        assert client.wait() == 1
    with serving(tmp_path) as (_, url):
        there = ("--server", url, "--token", TOKEN)
        assert crm("ws", "list", *there) == "crm\tnotes\n"
        done = json.loads(crm("ws", "import", "crm.remix", "--ws", "copy", "--yes", "--json", *there))
        assert done["records"] == 20_001
    assert not making.exists()


def test_through_a_server(crm: Any, url: str) -> None:
    there = ("--server", url, "--token", TOKEN)
    assert crm("ws", "list", *there) == "crm\tnotes\n"
    crm("ws", "create", "new", *there)
    crm("app", "create", "new/own", *there)
    crm("ws", "export", "crm", "-o", "there.remix", *there)
    done = json.loads(crm("ws", "import", "there.remix", "--ws", "copy", "--yes", "--json", *there))
    assert (done["apps"], done["records"]) == (["notes"], 1)
    crm("app", "export", "crm/notes", *there)
    crm("app", "import", "notes.remix", "--ws", "new", "--yes", *there)
    assert crm("ws", "list", *there) == "copy\tnotes\ncrm\tnotes\nnew\tnotes, own\n"
    assert "withheld\t$db_*" in crm("app", "powers", "copy/notes", *there)
    assert "withheld" not in crm("app", "powers", "copy/notes", "--agree-all", *there)
    crm("app", "rm", "new/own", "--yes", *there)
    crm("ws", "rm", "new", "--yes", *there)
    assert crm("ws", "show", "crm", *there).split() == ["notes", "1.0", "echo"]
    assert crm("app", "list", "crm", *there).split() == ["crm", "notes", "1.0", "echo"]
    shown, here = (json.loads(crm("app", "show", "crm/notes", "--json", *where)) for where in (there, ()))
    assert shown.keys() == here.keys()
    assert [shown[key] == here[key] for key in ("app", "package", "version")] == [True] * 3
    assert [agent["agent"] for agent in shown["agents"]] == [agent["agent"] for agent in here["agents"]]
    assert shown["database"] == f"{url}/v1/ws/crm/app/notes"
    assert "crm/notes" in crm("app", "show", "crm/notes", *there)
    assert "answers 404" in crm("app", "show", "crm/none", *there, fails=1)
    cloned = crm(
        "ws", "clone", f"{url}/v1/ws/crm", "cloned", "--from-token", TOKEN, "--ws-dir", "here", "--yes"
    )
    assert "records\t1" in cloned
    assert crm("ws", "list", "--ws-dir", "here") == "cloned\tnotes\n"
    assert "answers 401" in crm("ws", "list", "--server", url, fails=1)
    assert "answers 404" in crm("ws", "export", "missing", *there, fails=1)
    assert not Path("missing.remix").exists()
    assert "cannot reach" in crm("ws", "list", "--server", "http://127.0.0.1:1", fails=1)
    assert "give one of them" in crm("ws", "list", *there, "--ws-dir", "here", fails=2)


def test_a_terminal_shows_how_far_it_is(crm: Any, tmp_path: Path) -> None:
    for words in (("ws", "export", "crm"), ("ws", "import", "crm.remix", "--ws", "copy", "--yes")):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "mixkit", *words]
        with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123 - a descriptor
            process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs)
            os.close(theirs)
            shown = b""
            # Reading from a terminal whose other side is closed is an error on Linux.
            with contextlib.suppress(OSError):
                while piece := terminal.read(4096):
                    shown += piece
            assert process.wait() == 0, shown
        assert b"porting" in shown and b"/s" in shown, shown
        # What was drawn is wiped.
        assert b"\x1b[2K" in shown
