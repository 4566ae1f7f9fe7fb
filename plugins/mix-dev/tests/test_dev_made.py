"""`mixkit new app`: what it makes runs, passes its tests, is in the style, and makes a package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixkit.cli import main


@pytest.mark.parametrize("name", ["a", "greeter", "my_" + "long_" * 7 + "ab"])
def test_an_app_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert main(["new", "app", name]) == 0
    files = {Path(line).name for line in capfd.readouterr().out.splitlines()}
    assert files == {f"{name}.mix", f"{name}_test.mix", "manifest.json", "README.md", ".gitignore"}
    monkeypatch.chdir(name)
    assert main(["fmt", "--check", "."]) == 0
    assert main(["test", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["tests"]) == 2
    assert main(["run", ".", f"{name}/{name}", '{"name": "ada"}']) == 0
    assert capfd.readouterr().out == '{"text":"Good day, Ada"}\n'
    before = Path(f"{name}.mix").read_text()
    monkeypatch.chdir(tmp_path)
    assert main(["new", "app", name]) == 2
    assert "not empty" in capfd.readouterr().err
    assert Path(name, f"{name}.mix").read_text() == before


@pytest.mark.parametrize("name", ["If", "if", "string", "a b", "../a", "x" * 41, ""])
def test_names_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "app", name]) == 2
    assert list(tmp_path.iterdir()) == []


def test_agents_in_c(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "app", "words", "--lang", "c", "-d", str(tmp_path)]) == 0
    assert (tmp_path / "words" / "agent.c").is_file()
