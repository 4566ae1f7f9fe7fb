"""What modules say of themselves: read from their comments, shown by `mixkit doc`, written as pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mix_lang import library
from mix_lang.documentation import Example, manuals_of, of_library
from mix_lang.documentation.pages import pages
from mix_lang.errors import CompileError

from mixkit.cli import main

NOTES = """\
/// Notes. They are short.
///
/// And a second paragraph.

/// One line of a note.
///
/// > notes.line("a",
/// >   2)
/// ["a", 2]
/// > notes.line("b", 1)
/// ["b",
///  1]
///
/// Behind the examples.
def line : string -> number -> array(data)
def line(text, n) = [text, n]
// No documentation.
def plain(x) = x + 1
private def hidden(x) = x
/// Answers.
cell output = line("a", 1)
/// Good or bad.
type kind = good | bad
/// Good: how much.
case good(number)

case bad
"""


def test_comments_are_read() -> None:
    (manual,) = manuals_of("notes.mix", NOTES)
    assert manual.module.text == "Notes. They are short.\n\nAnd a second paragraph."
    assert manual.module.about == "Notes."
    assert list(manual.members) == ["line", "plain", "output", "kind", "good", "bad"]
    line = manual.members["line"]
    assert (line.name, line.kind) == ("notes.line", "def")
    assert line.signature == "notes.line(text, n)"
    assert line.type == "string -> number -> array(data)"
    assert line.text == "One line of a note.\n\nBehind the examples."
    assert line.examples == (
        Example('notes.line("a", 2)', '["a", 2]'),
        Example('notes.line("b", 1)', '["b", 1]'),
    )
    assert manual.members["plain"].text == ""
    assert manual.members["good"].signature == "notes.good(number)"
    assert manual.members["kind"].type == "good | bad"


def test_types_are_found_out_where_they_are_certain() -> None:
    text = "import gone\ndef twice(f, x) = f(f(x))\ndef plus(a, b) = a + b\n"
    text += "def other(x) = gone.f(x)\ndef both(x: number, y: A): A = y\n"
    (manual,) = manuals_of("a.mix", text)
    types = {name: found.type for name, found in manual.members.items()}
    assert types == {
        "twice": "(A -> A) -> A -> A",
        "plus": "",
        "other": "A -> any",
        "both": "number -> A -> A",
    }


def test_comments_that_belong_to_something_else() -> None:
    text = "/// Of the module.\nmodule a\n/// Not above it.\n\ndef f(x) = x\n  //// f\ndef g(x) = x\nmodule end\n"
    (manual,) = manuals_of("a.mix", text)
    assert manual.module.text == "Of the module."
    assert manual.members["f"].text == ""


def test_what_is_no_mix_is_refused() -> None:
    with pytest.raises(CompileError):
        manuals_of("a.mix", "/// What?\ndef f( = 1\n")


def _doc(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = main(["doc", *args])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _doc(capsys, "number.round")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "number.round"
    assert lines[1] == "  : number -> number"
    assert "> number.round(2.5)" in lines and "\x1b" not in out
    status, out, _ = _doc(capsys, "--json", "number.round")
    assert json.loads(out)["examples"] == [{"expression": "number.round(2.5)", "value": "3"}]


def test_modules(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _doc(capsys)
    assert status == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == sorted(library.sources())
    status, out, _ = _doc(capsys, "option")
    assert status == 0
    assert "option.get(o)\tThe value; an error if there is none." in out.splitlines()
    assert json.loads(_doc(capsys, "--json", "option")[1])["members"][0]["name"] == "option.create"


def test_a_name_without_its_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert _doc(capsys, "sha256")[1].startswith("crypto.sha256\n")
    out = _doc(capsys, "safeGet")[1]
    assert {"option.safeGet(o)", "result.safeGet(r)"} <= {line.split("\t")[0] for line in out.splitlines()}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number.ruond", "there is no 'number.ruond'; did you mean 'number.round'?"),
        ("nubmer.round", "there is no module 'nubmer'; did you mean 'number'?"),
        ("sha265", "no module and no function 'sha265'; did you mean 'sha256'?"),
        ("none.mix", "cannot read 'none.mix'"),
        ("db.filterQuery", "there is no 'db.filterQuery'"),
    ],
)
def test_names_that_there_are_not(capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    status, out, err = _doc(capsys, name)
    assert (status, out) == (2, "")
    assert message in " ".join(err.split())


def test_a_file_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "notes.mix"
    path.write_text(NOTES)
    status, out, _ = _doc(capsys, str(path))
    assert status == 0
    assert out.startswith("module notes\n\nNotes. They are short.\n")
    assert "notes.line(text, n)\tOne line of a note." in out.splitlines()
    assert _doc(capsys, str(path), "line")[1].startswith("notes.line(text, n)\n")
    status, _, err = _doc(capsys, str(path), "lime")
    assert status == 2 and "did you mean 'line'?" in " ".join(err.split())
    path.write_text("def f( = 1\n")
    status, _, err = _doc(capsys, str(path))
    assert status == 1 and "notes.mix:1" in err
    assert json.loads(_doc(capsys, "--json", str(path))[1])["ok"] is False


def test_pages() -> None:
    found = pages("HEADING")
    assert set(found) == {"mix-library.md", *(f"mix-library/{name}.md" for name in library.sources())}
    assert all(text.startswith("HEADING\n") for text in found.values())
    assert "](mix-library/number.md#number.round)" in found["mix-library.md"]
    for name in library.sources():
        page = found[f"mix-library/{name}.md"]
        for member in of_library(name).members:
            assert f'<a id="{name}.{member}"></a>' in page


@pytest.mark.parametrize(("name", "of"), library.TWINS.items())
def test_twins(name: str, of: str) -> None:
    whole, limited = of_library(of), of_library(name)
    assert limited.module.about == f"As `{of}`, of data alone."
    assert list(limited.members) == list(whole.members)
    for member in limited.members.values():
        assert not re.search(r"\b[A-Z]\b", member.type), member.type
        assert all(f"{name}." in example.expression for example in member.examples)
    # Editors show places in the file of the other one.
    assert library.sources()[name].count("\n") == library.sources()[of].count("\n")
