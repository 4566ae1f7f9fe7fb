"""The documents are true: snippets run, references are what the code says, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mixkit.testing.snippets import Snippet, read_snippets, run_snippet

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEEDS_AN_ENVIRONMENT = {"write-a-plugin.md"}  # run by test_plugin_template
RUNNABLE = [path for path in DOCUMENTS if path.name not in NEEDS_AN_ENVIRONMENT and read_snippets(path)]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


@pytest.mark.parametrize("document", RUNNABLE, ids=lambda path: path.name)
def test_snippets_run(document: Path, tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    env = {**inherited, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    folder = tmp_path
    for snippet in read_snippets(document):
        folder = run_snippet(snippet, folder, env)


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
    ],
)
def test_a_snippet_that_lies_is_found_out(text: str, ends_well: bool, tmp_path: Path) -> None:
    snippet = Snippet("console", text, "a.md:1")
    if ends_well:
        run_snippet(snippet, tmp_path, dict(os.environ))
    else:
        with pytest.raises(AssertionError, match=r"a\.md:1"):
            run_snippet(snippet, tmp_path, dict(os.environ))
