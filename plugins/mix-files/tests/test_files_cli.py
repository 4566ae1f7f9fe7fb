"""`mixkit files`, as a person and as a script uses it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mixkit.cli import main

MAIN = [sys.executable, "-c", "from mixkit.cli import main; raise SystemExit(main())"]


class Shell:
    """Runs `mixkit files` on an app, in this process."""

    def __init__(self, folder: Path, capture: Any, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capture = capture
        self._patch = patch
        (folder / "p.toml").write_text(
            'plugins = ["db", "files"]\nengines = []\nstorage = "mixquery"\nfilesystem = "std"\n'
        )
        patch.chdir(folder)
        self.run("ws", "create", "office", "--ws-dir", "ws")
        self.run("app", "create", "office/notes", "--ws-dir", "ws")

    def run(self, *words: object, stdin: bytes = b"", status: int = 0) -> tuple[bytes, str]:
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capture.readouterr()
        found = main(["--profile", "p.toml", *map(str, words)])
        out, err = self._capture.readouterr()
        assert found == status, (out, err)
        return out, err.decode()

    def __call__(self, command: str, *words: object, **options: Any) -> bytes:
        return self.run("files", command, *words, "--app", "office/notes", "--ws-dir", "ws", **options)[0]

    def json(self, command: str, *words: object) -> Any:
        return json.loads(self(command, *words, "--json"))

    def fails(self, command: str, *words: object, status: int = 1) -> str:
        return self.run("files", command, *words, "--app", "office/notes", "--ws-dir", "ws", status=status)[1]


@pytest.fixture
def shell(tmp_path: Path, capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsysbinary, monkeypatch)


def test_files_go_in_and_out(shell: Shell) -> None:
    data = os.urandom(3_000_000)
    (shell.folder / "a.png").write_bytes(data)
    stored = shell.json("put", "a.png", "/img/", "--property", "who=Ann")
    etag = stored.pop("etag")
    assert etag
    assert stored == {
        "path": "/img/a.png", "size": len(data), "type": "image/png", "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    assert shell("get", "/img/a.png") == data
    assert shell("get", "/img/a.png", "-") == data
    shell("get", "/img/a.png", "b.png")
    (shell.folder / "folder").mkdir()
    shell("get", "/img/a.png", "folder")
    for copy in ("b.png", "folder/a.png"):
        assert (shell.folder / copy).read_bytes() == data
    [listed] = shell.json("ls")
    assert (listed["path"], listed["size"], listed["etag"]) == ("/img/a.png", len(data), etag)
    line = shell("ls", "/img").decode()
    assert line.split("\t")[:2] == ["/img/a.png", str(len(data))]
    assert line.endswith("Z\n")
    assert shell.json("ls", "/img/a.png") == [listed]
    assert shell.json("ls", "/img/") == [listed]
    assert shell.json("ls", "/img/a.pn") == shell.json("ls", "/img/a.png/") == []
    assert shell("rm", "/img/a.png") == b"/img/a.png\n"
    assert shell.json("ls") == []


def test_streams(shell: Shell) -> None:
    shell("put", "-", "/a.txt", "--type", "text/plain", stdin=b"hello")
    assert shell("get", "/a.txt") == b"hello"
    assert "expected no file '/a.txt'" in shell.fails("put", "-", "/a.txt")
    shell("put", "-", "/a.txt", "--force", stdin=b"again")
    assert shell("get", "/a.txt") == b"again"


def test_what_is_refused(shell: Shell) -> None:
    (shell.folder / "x").write_bytes(b"kept")
    shell("put", "x", "/x")
    assert "is there already; --force" in shell.fails("get", "/x", "x", status=2)
    assert (shell.folder / "x").read_bytes() == b"kept"
    shell("get", "/x", "x", "--force")
    assert "no file '/none'" in shell.fails("get", "/none")
    assert "no file '/none'" in shell.fails("get", "/none", "y")
    assert not (shell.folder / "y").exists()
    assert "no file '/none'" in shell.fails("rm", "/none")
    assert "'..'" in shell.fails("put", "x", "/../x")
    assert "absolute path" in shell.fails("ls", "x")
    assert "No such file" in shell.fails("put", "none", "/y")
    assert "NAME=TEXT" in shell.fails("put", "x", "/y", "--property", "x", status=2)
    assert "mixkit's own" in shell.fails("put", "x", "/y", "--property", "mixkit-url=x", status=2)
    assert "content type" in shell.fails("put", "x", "/y", "--type", "x")
    told = json.loads(shell("get", "/x", "--json", status=2))
    assert "cannot both go to stdout" in str(told)
    for words in (("--app", "office/none"), ("--app", "none/notes")):
        assert "no " in shell.run("files", "ls", "--ws-dir", "ws", *words, status=1)[1]
    assert shell.run("files", "ls", status=2)[1]
    assert [path.name for path in shell.folder.iterdir() if path.name.endswith(".part")] == []


def test_a_damaged_file_is_not_taken_for_whole(shell: Shell) -> None:
    shell("put", "-", "/x", stdin=b"hello")
    [there] = (shell.folder / "ws" / "office").glob("notes.*/data/files/names/x.f")
    there.write_bytes(b"jello" + there.read_bytes()[5:])
    assert "is damaged where it is kept" in shell.fails("get", "/x", "y")
    assert not (shell.folder / "y").exists()


def test_folders_are_removed(shell: Shell) -> None:
    for path in ("/a/1", "/a/b/2", "/ab"):
        shell("put", "-", path)
    assert shell("rm", "-r", "/a", "--yes") == b"/a/1\n/a/b/2\n"
    assert shell.json("rm", "-r", "/none", "-y") == []
    shell("put", "-", "/c/1", stdin=b"1")
    # As without -r: one file is named, and nobody is asked.
    assert shell("rm", "-r", "/c/1") == b"/c/1\n"
    assert shell.json("ls", "/c") == []
    assert [row["path"] for row in shell.json("ls")] == ["/ab"]


def _on_a_terminal(*words: str) -> tuple[int, str]:
    """Status of `mixkit files`, and what it writes to a terminal."""
    parent, child = pty.openpty()
    command = [*MAIN, "--profile", "p.toml", "files", *words, "--app", "office/notes", "--ws-dir", "ws"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=child, stderr=child, timeout=60)
    os.close(child)
    shown = b""
    with suppress(OSError):
        while data := os.read(parent, 100_000):
            shown += data
    os.close(parent)
    return done.returncode, shown.decode()


def test_a_terminal_gets_a_table(shell: Shell) -> None:
    shell("put", "-", "/a\u202eb", stdin=b"12345")
    status, shown = _on_a_terminal("ls")
    assert status == 0, shown
    assert "modified" in shown.splitlines()[0]
    assert "\\u202e" in shown
    assert "\u202e" not in shown


def test_a_terminal_is_not_told_what_to_do(shell: Shell) -> None:
    shell("put", "-", "/text", stdin="å\n\u202e\x1b[2Jx\n".encode())
    status, shown = _on_a_terminal("get", "/text")
    assert (status, shown) == (0, "å\r\n\\u202e\\x1b[2Jx\r\n")
    for path, data in (("/binary", b"\xff\xfe"), ("/long", b"x" * (1 << 21))):
        shell("put", "-", path, stdin=data)
        status, shown = _on_a_terminal("get", path)
        assert status == 2
        assert "give a FILE" in shown


def test_the_doctor_looks_at_files(shell: Shell, tmp_path: Path) -> None:
    found = json.loads(shell.run("doctor", "--json")[0])
    [check] = [check for check in found if check["name"] == "files: file system"]
    assert check["level"] == "ok"
    assert "1073741824 bytes" in check["message"]


def test_the_doctor_warns() -> None:
    from mix_files.doctor import _disk, checks

    from mixkit import Kernel

    with Kernel(
        "test", overrides={"plugins": ["db", "files", "server"], "engines": []}, environ={}
    ) as kernel:
        assert [check.level for check in checks(kernel)][:2] == [
            "ok",
            "warning",
        ]
    assert _disk("/proc").level == "error"


def test_a_disk_that_does_what_it_must(tmp_path: Path) -> None:
    from mix_files.doctor import _disk

    assert _disk(str(tmp_path)).level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_what_changes_files_is_noted(shell: Shell) -> None:
    def noted() -> list[tuple[str, str, dict[str, Any] | None]]:
        found = json.loads(shell.run("logs", "office", "--ws-dir", "ws", "--json")[0])
        assert {each["subject"] for each in found} == {"operator"}
        return [
            (each["kind"], each["result"], each.get("about"))
            for each in found
            if each["kind"] != "create" and each["app"] == "notes"
        ]

    for name in ("a", "b", "c"):
        shell("put", "-", f"/{name}.txt", stdin=name.encode())
    shell("get", "/a.txt")
    shell("ls")
    shell.fails("put", "p.toml", "/a.txt")
    shell("rm", "/a.txt", "/b.txt")
    # The first is gone, which somebody may look for.
    shell.fails("rm", "/c.txt", "/none.txt")
    shell.fails("rm", "/none.txt")
    assert noted() == [
        *(("save", "ok", {"file": f"/{name}.txt"}) for name in "abc"),
        ("save", "ok", {"removed": 2, "file": "/b.txt"}),
        ("save", "fault", {"removed": 1, "file": "/c.txt"}),
    ]
