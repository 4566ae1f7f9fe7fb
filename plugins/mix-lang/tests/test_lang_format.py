"""The formatter: what stays as it is, what becomes something else, and what it never does: change what a text means,
lose a comment, or find more to do the second time."""

from __future__ import annotations

import io
import json
import random
import re
from pathlib import Path

import pytest
from mix_lang.diagnostic import Report
from mix_lang.errors import CompileError
from mix_lang.format import WIDTH, command, formatted
from mix_lang.format.document import HARD, LINE, SOFT, Doc, Group, Nest, Suffix, concat, render
from mix_lang.format.same import same
from mix_lang.lexer import tokenize
from mix_lang.random_programs import program
from mix_lang.source import Source

from mixkit.cli import main

CASES = Path(__file__).parent / "format"
CONFORMANCE = sorted((Path(__file__).parents[3] / "tests" / "mix").rglob("*.mix"))
BECOMES = "// becomes\n"
COMMENT = re.compile(
    r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|(//[^\n]*|/\*[\s\S]*?\*/|^#(?:line|push|pop)[^\n]*)', re.M
)


def comments(text: str) -> list[str]:
    return [found.rstrip() for found in COMMENT.findall(text) if found]


def check(text: str, what: object) -> str:
    """Format a text, with all that holds for any."""
    found = formatted(text)
    assert same(text, found), what
    assert formatted(found) == found, what
    assert comments(found) == comments(text), what
    assert not re.search(r"[ \t]\n|\n\n\n", re.sub(r'"""[\s\S]*?"""|/\*[\s\S]*?\*/', '""', found)), what
    return found


@pytest.mark.parametrize("path", sorted((CASES / "stays").glob("*.mix")), ids=lambda path: path.stem)
def test_stays(path: Path) -> None:
    text = path.read_text()
    assert check(text, path) == text


@pytest.mark.parametrize("path", sorted((CASES / "becomes").glob("*.mix")), ids=lambda path: path.stem)
def test_becomes(path: Path) -> None:
    before, after = path.read_text().split(BECOMES)
    assert check(before, path) == after


def test_random_programs() -> None:
    for seed in range(25):
        found = check(program(seed), seed)
        assert found.count("\n") > 10


def shaken(text: str, chance: random.Random, rate: float) -> str:
    """The text with lines, spaces and comments where there may be some."""
    source = Source("", text)
    parts, end = [], 0
    for number, token in enumerate(tokenize(source, Report(source))):
        parts.append(text[end : token.span.start])
        if chance.random() < rate:
            parts.append(
                chance.choice(
                    ["\n", "\n\n\n", "  ", f" /* {number} */ ", f" // {number}\n", f"\n// {number}\n",
                     f"\n/* {number}\n   more */\n", f"\n\n// {number}\n\n", f" /* {number} */ // behind\n",
                     f"\n/* {number} */ "]
                )
            )  # fmt: skip
        parts.append(text[token.span.start : token.span.end])
        end = token.span.end
    return "".join(parts)


def test_any_layout_with_comments_anywhere() -> None:
    chance = random.Random(13)
    texts = [path.read_text() for path in chance.sample(CONFORMANCE, 90)] + [program(n) for n in range(20)]
    count = 0
    for number, text in enumerate(texts):
        loose = shaken(text, chance, chance.choice((0.02, 0.1, 0.3)))
        if same(text, loose):
            check(loose, (number, loose))
            count += 1
    assert count > 70


def test_layout_does_not_matter() -> None:
    """Spaces, and lines where nothing is told apart by them, give the same."""
    text = "module m(p:data)\nimport  array\ndef f( x )=x+1\ncell output={a:[1,2],b:f( 3 )}\nmodule end"
    expected = formatted(text)
    for tight, loose in (("+", "  +\n"), (":", " : "), (",", " ,\n "), ("(", "( "), ("=", "\n=\n")):
        assert formatted(text.replace(tight, loose)) == expected.replace("{a:", "{a:"), loose


def test_lines_fit_where_they_can() -> None:
    items = ", ".join(f"a{number}" for number in range(60))
    text = check(f"def f = g({items})\ndef h = [{items}] |> g |> (x -> {{y: x, z: [{items}]}})\n", 0)
    assert max(map(len, text.split("\n"))) <= WIDTH
    check("def f = " + " + ".join(["x"] * 3000), "long")
    check("def f = " + "[" * 50 + "]" * 50, "deep")


def test_empty_and_odd_texts() -> None:
    for text, expected in (
        ("", ""), ("\n\n", ""), ("// a", "// a\n"), ("// a\r\n\r\ndef x = 1\r\n", "// a\n\ndef x = 1\n"),
        (";;", ";;\n"), ("module m", "module m\n"), ("module m module end", "module m\nmodule end\n"),
        ("module m\n// c\nmodule end", "module m\n  // c\nmodule end\n"), ("def é = 1", "def é = 1\n"),
        ('def x = """a\n  b"""', 'def x = """a\n  b"""\n'), ("def x = 1.50e3", "def x = 1.50e3\n"),
    ):  # fmt: skip
        assert formatted(text) == expected, text


def test_what_is_no_mix_is_refused() -> None:
    with pytest.raises(CompileError, match="expected"):
        formatted("def f( = 1\n", "a.mix")


def test_same() -> None:
    assert same("def x=1", "def x =\n  1") and same('def x = "a"', 'def x = """a"""')
    for other in ("def x = 2", "def x = 1.0", "def x = [1]", "def y = 1", "def x = 1 def y = 2", "def x = ("):
        assert not same("def x = 1", other), other
    assert not same("def x = {a: 1, b: 2}", "def x = {b: 2, a: 1}")
    assert same("def x : array(_)", "def  x : array(_)") and not same("def x : array(_)", "def x : array(A)")
    assert not same("_meta_ {a: 1}", "_meta_ {a: true}")


def test_documents() -> None:
    inner: Doc = Group(concat(["[", Nest(concat([SOFT, "one,", LINE, "two"])), SOFT, "]"]))
    assert render(inner, 20) == "[one, two]\n"
    assert render(inner, 8) == "[\n  one,\n  two\n]\n"
    assert render(Group(concat([inner, LINE, inner])), 12) == "[one, two]\n[one, two]\n"
    assert render(Group(concat([inner, ";;;"])), 12) == "[\n  one,\n  two\n];;;\n", "what follows counts"
    assert render(Group(concat(["a", Suffix("// c"), ",", LINE, "b"])), 80) == "a, // c\nb\n"
    assert render(concat(["a ", HARD, "b"]), 80) == "a\nb\n"


# The command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.mix").write_text("def x = 1\n")
    (tmp_path / "loose.mix").write_text("def  x=1 // é\n")
    for place in ("inner", ".hidden"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "loose.mix").write_text("def  y=1\n")
    (tmp_path / "other.txt").write_text("def  x=1\n")
    return tmp_path


def test_files_and_folders(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "loose.mix").chmod(0o640)
    (folder / "link.mix").symlink_to(folder / "other.txt")
    assert main(["fmt", "--check", str(folder)]) == 1
    told = capsys.readouterr().out.split()
    assert told == [str(folder / name) for name in ("link.mix", "loose.mix", "inner/loose.mix")]
    assert (folder / "loose.mix").read_text() == "def  x=1 // é\n"
    assert main(["fmt", str(folder)]) == 0
    assert capsys.readouterr().out.split() == told
    assert (folder / "loose.mix").read_text() == "def x = 1 // é\n"
    assert (folder / "loose.mix").stat().st_mode & 0o777 == 0o640
    assert (folder / "link.mix").is_symlink() and (folder / "other.txt").read_text() == "def x = 1\n"
    assert (folder / ".hidden" / "loose.mix").read_text() == "def  y=1\n"
    assert main(["fmt", "--check", str(folder)]) == 0 and main(["fmt", str(folder / "good.mix")]) == 0
    assert capsys.readouterr().out == ""


def test_a_diff(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--diff", str(folder / "loose.mix")]) == 0
    said = capsys.readouterr().out
    assert "-def  x=1 // é\n+def x = 1 // é\n" in said
    assert (folder / "loose.mix").read_text() == "def  x=1 // é\n"
    assert main(["fmt", "--diff", "--check", str(folder / "loose.mix")]) == 1


def test_what_is_wrong_is_told_and_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.mix").write_text("def  f( = 1\n")
    (folder / "bytes.mix").write_bytes(b"\xff")
    assert main(["fmt", str(folder)]) == 2
    said = capsys.readouterr()
    assert "broken.mix:1:9" in said.err and "bytes.mix: is no UTF-8, at byte 0" in said.err
    assert "loose.mix" in said.out, "the others are formatted"
    assert (folder / "broken.mix").read_text() == "def  f( = 1\n"
    assert main(["fmt", str(folder / "nothing.mix")]) == 2
    assert main(["fmt", "-", str(folder)]) == 2
    assert main(["fmt"]) == 2


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.mix").write_text("def f( = 1\n")
    assert main(["fmt", "--json", "--check", str(folder)]) == 2
    said = json.loads(capsys.readouterr().out)
    found = {Path(file["path"]).name: file for file in said["files"] if "inner" not in file["path"]}
    assert not said["ok"] and found["broken.mix"]["diagnostics"][0]["code"] == "M0201"
    assert found["loose.mix"]["changed"] and not found["good.mix"]["changed"]


def _stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for options, code, said in (
        ([], 0, "def x = 1\n"), (["--check"], 1, ""), (["--diff"], 0, "@@ -1 +1 @@"),
    ):  # fmt: skip
        _stdin(monkeypatch, "def  x=1\n")
        assert main(["fmt", *options, "-"]) == code
        out = capsys.readouterr().out
        assert out == said if said == "" else said in out
    _stdin(monkeypatch, "def f( = 1\n")
    assert main(["fmt", "-"]) == 2
    said_ = capsys.readouterr()
    assert said_.out == "" and "standard input:1:8" in said_.err


def test_a_fault_of_ours_changes_no_program(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "formatted", lambda text, name: "def x = 2\n")
    assert main(["fmt", str(folder / "loose.mix")]) == 2
    assert "would change what this means" in capsys.readouterr().err
    assert (folder / "loose.mix").read_text() == "def  x=1 // é\n"
