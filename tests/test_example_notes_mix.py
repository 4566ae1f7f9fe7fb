"""examples/notes-mix: agents in Mix, built, installed and run as its page says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixkit.cli import main

NOTES = Path(__file__).parents[1] / "examples" / "notes-mix"

pytestmark = pytest.mark.slow

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "notes.remix"
    assert main(["remix", "build", str(NOTES), "--output", str(path)]) == 0
    return path


@pytest.fixture
def call(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    where = ["--ws-dir", str(tmp_path)]
    assert main(["remix", "install", str(package), "--ws", "first", "--yes", *where]) == 0
    capsys.readouterr()

    def run(agent: str, **params: Any) -> Any:
        status = main(["run", *where, f"first/notes/{agent}", json.dumps(params)])
        said = capsys.readouterr()
        return json.loads(said.out) if status == 0 else said.err

    return run


def test_notes_are_kept_found_tagged_and_summed_up(call: Call) -> None:
    assert call("summary") == {"notes": 0, "words": None, "tags": {}, "newest": []}
    milk = call("add", title="Milk", text="Buy milk & BREAD", tags=["today", "shop", "today"])
    assert {**milk, "id": 0} == {
        "id": 0,
        "title": "Milk",
        "text": "Buy milk & BREAD",
        "tags": ["shop", "today"],
    }
    call("add", title="Grüße", text="an Zoë schreiben")
    call("add", title="Bread", text="bake bread", tags=["today"])
    for asked, titles in (
        ({}, ["Bread", "Grüße", "Milk"]),
        ({"words": "BREAD, bread!"}, ["Bread", "Milk"]),
        ({"words": "milk bread"}, ["Milk"]),
        ({"words": "ZOË"}, ["Grüße"]),
        ({"words": "brea"}, []),
        ({"words": '") || true'}, []),
        ({"tags": ["today"], "limit": 1}, ["Bread"]),
    ):
        assert [note["title"] for note in call("search", **asked)] == titles, asked
    assert call("tag", id=milk["id"], add=["paid"], remove=["shop"])["tags"] == ["paid", "today"]
    assert call("summary") == {
        "notes": 3, "words": 3, "tags": {"paid": 1, "today": 2}, "newest": ["Bread", "Grüße", "Milk"],
    }  # fmt: skip


def test_what_is_wrong_is_said(call: Call) -> None:
    note = call("add", title="A", text="b")
    assert "limit: expected 1 to 1000, found 0" in call("search", limit=0)
    assert "expected at most 65536 characters" in call("add", title="A", text="b" * 65536)
    assert "tags: expected at most 100" in call("tag", id=note["id"], add=[str(n) for n in range(101)])
    gone = {**note["id"], "_rmx_value": "0" * 32}
    assert "there is no such note" in call("tag", id=gone, add=[])
