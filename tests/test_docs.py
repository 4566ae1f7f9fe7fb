"""The documents are true: snippets run, references are what the code says, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mixkit.testing.snippets import Session, Snippet, own_port, read_snippets

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEEDS_AN_ENVIRONMENT = {"write-a-plugin.md"}  # run by test_plugin_template
RUNNABLE = [path for path in DOCUMENTS if path.name not in NEEDS_AN_ENVIRONMENT and read_snippets(path)]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


@pytest.mark.parametrize("document", RUNNABLE, ids=lambda path: path.name)
def test_snippets_run(document: Path, tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables, places = own_port()
    with Session(tmp_path, {**inherited, "PATH": path, **variables}, places) as session:
        for snippet in read_snippets(document):
            session.run(snippet)


COMMANDS = ["README.md", *(f"{folder}/*.md" for folder in ("docs", "plugins/*", "examples/*", "sdk/c"))]
RUN_ELSEWHERE = {
    "docs/write-a-guest.md": 2,  # test_write_a_guest
    "docs/server.md": 1,  # gunicorn, whose port is its own: test_server_process
    "docs/deployment.md": 1,  # docker, which tests have not: scripts/image.py
}


def test_each_command_is_run() -> None:
    """A console block that is marked by nothing is run by nothing; scripts/newcomer.py runs those marked `clone`."""
    found = {}
    for path in [path for pattern in COMMANDS for path in ROOT.glob(pattern)]:
        blocks = path.read_text(encoding="utf-8").count("```console\n")
        if blocks:
            found[str(path.relative_to(ROOT))] = blocks
    assert found == RUN_ELSEWHERE


def test_there_are_snippets_in_the_documents_of_the_kernel() -> None:
    assert {path.name for path in RUNNABLE} >= {"README.md", "profiles.md", "limits-and-grants.md"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for match in LINK.finditer(document.read_text(encoding="utf-8")):
        if "://" not in match[1]:
            assert (document.parent / match[1]).exists(), f"{document.name}: {match[0]}"


def test_references_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "ends_well"),
    [
        ("$ echo one\none\n$ echo two; echo three\ntwo\n…\n", True),
        ("$ echo one\ntwo\n", False),
        ("$ echo one\n", False),
        ("$ exit 3\n", False),
        ("$ echo error: no; exit 1\nerror: no\n", True),
        ("$ echo error: no\nerror: no\n", False),
        ("$ mkdir deep && cd deep\n$ basename $PWD\ndeep\n", True),
        ("$ export a=1 && alias b='echo $a'\n$ b\n1\n", True),
        ("$ (sleep 0.2; echo late; sleep 60) &\nlate\n$ kill %1\n", True),
        ("$ (sleep 0.2; echo one; sleep 0.3; echo two; sleep 60) &\none\n$ true\ntwo\n$ kill %1\n", True),
        ("$ echo 'a \\'; echo b\na \\\nb\n", True),
        ("$ echo a \\\n    b\na b\n", True),
        ("$ cat\n$ echo on\non\n", True),
    ],
)
def test_a_snippet_that_lies_is_found_out(text: str, ends_well: bool, tmp_path: Path) -> None:
    snippet = Snippet("console", text, "a.md:1")
    with Session(tmp_path, os.environ) as session:
        if ends_well:
            session.run(snippet)
        else:
            with pytest.raises(AssertionError, match=r"a\.md:1"):
                session.run(snippet)
