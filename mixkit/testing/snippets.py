"""Runs the snippets of documents, so that what they show is what happens.

Snippets are fenced blocks whose info string says so, which readers of the document do not see:

    ```console run            commands after `$ `, each followed by what it prints; `…` stands for anything
    ```python run             a script that must not raise
    ```toml file=a/b.toml     the content of a file, written before the next snippet runs
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Snippet", "read_snippets", "run_snippet"]

_FENCE = re.compile(r"^```(\w+) +(run|file=(\S+))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANYTHING = "…"
_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block that is run, or written to `file`. `place` is `document:line`."""

    language: str
    text: str
    place: str
    file: str | None = None


def read_snippets(document: Path) -> list[Snippet]:
    """The snippets of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Snippet(match[1], match[4], f"{document.name}:{text.count(chr(10), 0, match.start()) + 1}", match[3])
        for match in _FENCE.finditer(text)
    ]


def run_snippet(snippet: Snippet, folder: Path, env: Mapping[str, str]) -> Path:
    """Run a snippet in a folder and answer the folder that it ends in, after any `cd`.

    Raises:
        AssertionError: a command failed, or printed something else; shows both.
    """
    if snippet.file is not None:
        path = folder / snippet.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(snippet.text, encoding="utf-8")
    elif snippet.language == "python":
        done = subprocess.run(
            [sys.executable, "-c", snippet.text],
            cwd=folder, env=dict(env), capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{snippet.place}\n{done.stdout}{done.stderr}"
    else:
        for command, expected in _commands(snippet.text):
            folder = _run_command(command, expected, folder, env, snippet.place)
    return folder


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Commands, continued over lines that end in a backslash, each with what it should print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = re.sub(r"\\\n", "", part).partition("\n")
        yield command, expected


def _run_command(command: str, expected: str, folder: Path, env: Mapping[str, str], place: str) -> Path:
    # The last line tells where a `cd` has led.
    done = subprocess.run(
        ["bash", "-c", f"{command}\nstatus=$?\nprintf '\\0%s' \"$PWD\"\nexit $status"],
        cwd=folder, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=_SECONDS, check=False,
    )  # fmt: skip
    printed, _, end = done.stdout.partition("\0")
    report = (
        f"{place}: $ {command}\nexpected:\n{expected}\nprinted, with status {done.returncode}:\n{printed}"
    )
    pattern = ".*".join(map(re.escape, expected.strip().split(_ANYTHING)))
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), report
    # A command that shows an error is expected to fail.
    assert (done.returncode == 0) != ("error:" in expected), report
    return Path(end)
