"""Runs the snippets of documents, so that what they show is what happens.

Snippets are fenced blocks whose info string says so, which readers of the document do not see:

    ```console run            commands after `$ `, each followed by what it prints; `…` stands for anything
    ```python run             a script that must not raise
    ```toml file=a/b.toml     the content of a file, written before the next snippet runs
    ```console clone          commands for an empty clone, which take minutes: scripts/newcomer.py runs them
    ```console node           commands that need Node: it runs them where `make conformance` has brought it
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Session", "Snippet", "own_port", "read_snippets"]

_FENCE = re.compile(r"^```(\w+) +(run|clone|node|file=(\S+))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANYTHING = "…"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block that is run, or written to `file`. `place` is `document:line`."""

    language: str
    text: str
    place: str
    file: str | None = None


def own_port() -> tuple[dict[str, str], dict[str, str]]:
    """Variables and replacements for `Session`, so that the servers of a document, the one at 8000 and one that is told
    to listen at 8001, listen where no other one does."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as second:
        port, other = server.getsockname()[1], second.getsockname()[1]
    replaced = {f"{host}:8000": f"{host}:{port}" for host in ("localhost", "127.0.0.1")}
    replaced |= {f"{host}:8001": f"{host}:{other}" for host in ("localhost", "127.0.0.1")}
    return {"MIXKIT_SERVER_PORT": str(port)}, {**replaced, "--port 8001": f"--port {other}"}


def read_snippets(document: Path, also: Collection[str] = ()) -> list[Snippet]:
    """The snippets of a document, in order; of `clone` and `node` those that are wanted also."""
    text = document.read_text(encoding="utf-8")
    return [
        Snippet(match[1], match[4], f"{document.name}:{text.count(chr(10), 0, match.start()) + 1}", match[3])
        for match in _FENCE.finditer(text)
        if match[2] not in ("clone", "node") or match[2] in also
    ]


class Session:
    """One shell for the snippets of a document, as a reader has one: folder, variables, aliases and jobs stay.

    Use it as a context manager: what still runs in the background at its end is ended.

    Args:
        folder: to begin in.
        env: the environment, all of it.
        replaced: texts of the document to what stands for them here, as a port that is free.
        seconds: for each command.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        replaced: Mapping[str, str] | None = None,
        seconds: float = 240,
    ) -> None:
        self.folder = folder
        self._seconds = seconds
        self._env = dict(env)
        self._replaced = replaced or {}
        self._scratch = tempfile.TemporaryDirectory()
        self._script = Path(self._scratch.name) / "command.sh"
        self._printed = bytearray()
        self._closed = self._background = False
        self._news = threading.Condition()
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=folder, env=self._env, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._tell("shopt -s expand_aliases")

    def run(self, snippet: Snippet) -> None:
        """Run a snippet in the folder where the one before has ended.

        Raises:
            AssertionError: a command failed, or printed something else; shows both.
        """
        text = snippet.text
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        if snippet.file is not None:
            path = self.folder / snippet.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif snippet.language == "python":
            done = subprocess.run(
                [sys.executable, "-c", text],
                cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=self._seconds, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{snippet.place}\n{done.stdout}{done.stderr}"
        else:
            for command, expected in _commands(text):
                self._run_command(command, expected, snippet.place)

    def _run_command(self, command: str, expected: str, place: str) -> None:
        self._script.write_text(command, encoding="utf-8")
        self._printed.clear()
        # Sourced, so that it has no part in what bash reads, and an alias of one line holds on the next.
        self._tell(f". {shlex.quote(str(self._script))} </dev/null; printf '\\0%s\\0%s\\0' $? \"$PWD\"")
        pattern = ".*".join(map(re.escape, expected.strip().split(_ANYTHING)))

        def matches() -> bool:
            printed = re.sub(r"\0.*\0.*\0", "", self._text(), flags=re.DOTALL)
            return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None

        ended = self._wait(lambda: self._printed.count(0) >= 3)
        self._background = self._background or command.rstrip().endswith("&")
        if ended and self._background:
            # What runs in the background prints when it is there.
            self._wait(matches)
        if ended:
            printed, status, folder, rest = self._text().split("\0", 3)
        else:
            # The command was `exit`, or takes for ever.
            printed, rest, folder = self._text(), "", str(self.folder)
            status = str(self._bash.wait(self._seconds)) if self._closed else "none"
        report = (
            f"{place}: $ {command}\nexpected:\n{expected}\nprinted, with status {status}:\n{printed}{rest}"
        )
        assert matches(), report
        # A command that shows an error is expected to fail.
        assert (status == "0") != ("error:" in expected), report
        self.folder = Path(folder)

    def _tell(self, line: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{line}\n".encode())
        self._bash.stdin.flush()

    def _text(self) -> str:
        return self._printed.decode("utf-8", "replace").replace("\r\n", "\n")

    def _read(self) -> None:
        assert self._bash.stdout is not None
        while data := os.read(self._bash.stdout.fileno(), 65536):
            with self._news:
                self._printed += data
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _wait(self, fits: Callable[[], bool]) -> bool:
        with self._news:
            self._news.wait_for(lambda: self._closed or fits(), self._seconds)
            return fits()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *about: object) -> None:
        # The group is ours alone, since the shell has a session of its own.
        for signum in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._bash.pid, signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._bash.wait(10)
        self._reader.join(10)
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._scratch.cleanup()


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Commands, continued over lines that end in a backslash, each with what it should print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        first, *lines = part.split("\n")
        while first.endswith("\\") and lines:
            first = first[:-1] + lines.pop(0)
        yield first, "\n".join(lines)
