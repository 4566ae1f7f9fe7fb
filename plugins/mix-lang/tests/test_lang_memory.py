"""What is compiled again after a change is what is compiled anew, byte for byte; and folders of agents."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from mix_lang import compiler, memory
from mix_lang.compile import check
from mix_lang.compiler import build
from mix_lang.errors import CompileError

from mixkit.cli import main

MAIN = """\
module main(p: data)
  import part
  import text
  import array
  var cell n = part.start
  def times = 2
  def show(x) = text.framed("" + x * times)
  cell output = {n, all: array.map(show, [1, 2]), add: action (by) { n = n + by }, more: part.more}
module end
"""
PART = """\
module part
  case red
  var cell sum = 0
  def start = 1
  def more = action { sum = sum + start |> type(number) }
module end
"""
TEXT = 'module text\n  def mark = "<"\n  def framed(s) = mark + s + (x -> x)(">")\nmodule end\n'

CHANGES: list[tuple[str, str, str]] = [
    ("main.mix", "times = 2", "times = 3"),
    ("text.mix", 'mark = "<"', 'mark = "["'),
    ("text.mix", "def framed(s) = mark + s", "def framed(s) = do { let t = s; return mark + t }"),
    ("text.mix", "def framed(s) =", "def framed(s, t) ="),
    ("main.mix", '"" + x * times)', '"" + x * times, 1)'),
    ("part.mix", "def start = 1", "var cell begun = 0\n  def start = 5"),
    ("part.mix", "action { sum", 'action (v) { debug("" + v); sum'),
    ("part.mix", "module part\n", "static module part\n"),
    ("main.mix", "import part\n", "import part\n  import string\n"),
    ("main.mix", "def show(x) =", 'def other(x) = [string.length("a"), (y -> y + x)]\n  def show(x) ='),
    ("main.mix", "module main(p: data)", "module main(p: data)\n"),
]


def _built(sources: dict[str, str]) -> Any:
    try:
        code, checked = build(sources)
    except CompileError as exc:
        return [item.record() for item in exc.diagnostics]
    return code, [item.record() for item in checked.diagnostics]


def test_a_change_gives_what_a_cold_start_gives() -> None:
    sources = {"main.mix": MAIN, "part.mix": PART, "text.mix": TEXT}
    assert type(_built(sources)) is tuple
    for file, old, new in CHANGES:
        assert old in sources[file]
        sources[file] = sources[file].replace(old, new)
        warm = _built(sources)
        memory._known.clear()
        assert warm == _built(sources), new
    assert type(warm) is tuple


def test_programs_do_not_mix() -> None:
    """Modules of one name, in programs that are compiled in turn."""
    one = {"a.mix": "import b\ncell output = b.f(1)\n", "b.mix": "def f(x) = x |> (y -> y + 1)\n"}
    two = {"a.mix": "import b\ncell output = b.f(1)\n", "b.mix": "def g(x) = (y -> y)\ndef f(x) = g(x)(x)\n"}
    both = {"c.mix": "import a\nimport b\ncell output = [b.f(2), a?]\n"} | two
    memory._known.clear()
    own = {
        "d.mix": "import main\ncell output = contents(main.output)\n",
        "main.mix": MAIN.replace("(p: data)", ""),
    }
    own |= {"part.mix": PART, "text.mix": TEXT}
    alone = {"main.mix": own["main.mix"]} | own
    _built(own)
    assert "main.action" in str(_built(alone)[0]), "an agent that was a module before"
    memory._known.clear()
    turns = [_built(sources) for sources in (one, two, both, one, both, two)]
    memory._known.clear()
    for sources, found in ((both, turns[2]), (two, turns[1]), (one, turns[0])):
        assert _built(sources) == found
        memory._known.clear()
    assert turns[3:] == [turns[0], turns[2], turns[1]]


def test_only_what_changed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # As much as there is room for: nothing is forgotten meanwhile.
    memory._known.clear()
    monkeypatch.setattr(memory, "_weight", 0)
    sources = {"main.mix": MAIN, "part.mix": PART, "text.mix": TEXT}
    _built(sources)
    made: list[Any] = []
    known = dict.fromkeys(memory._known)
    _built(sources | {"text.mix": TEXT.replace('"<"', '"("')})
    made = [key for key in memory._known if key not in known]
    assert made and not any("part" in str(key[0]) for key in made if isinstance(key, tuple))
    assert not any(key[:2] == ("read", "main.mix") for key in made if isinstance(key, tuple))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST", 200_000)
    for number in range(60):
        check({"a.mix": f"def x{number} = {number}\n" * 20})
        assert len(memory._known) < 250


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("main", MAIN), ("part", PART), ("text", TEXT), ("other", "cell output = 1\n")):
        (tmp_path / f"{name}.mix").write_text(text)
    return tmp_path


def test_a_folder_is_compiled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--json", str(folder), "-o", str(folder / "out")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert sorted(Path(name).name for name in said["outputs"]) == ["main.mixexe", "other.mixexe"]
    code, _ = compiler.build({"main.mix": MAIN, "part.mix": PART, "text.mix": TEXT})
    assert (folder / "out" / "main.mixexe").read_bytes() == code
    assert not (folder / "main.mixexe").exists()


def test_all_that_is_wrong_in_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other.mix").write_text("cell output = nope\n")
    (folder / "text.mix").write_text(TEXT.replace("mark + s", "mork + s"))
    assert main(["compile", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "other.mix:1:15" in said and "text.mix:3:19" in said and "2 errors" in said
    assert not list(folder.glob("*.mixexe"))
    (folder / "empty").mkdir()
    assert main(["compile", str(folder / "empty")]) == 2


def test_modules_of_the_library_are_read_when_they_are_imported() -> None:
    program = check({"a.mix": "import csv\ncell output = csv.parse({}, string)"})
    assert {
        "csv",
        "array",
        "string",
        "map",
    } <= program.program.units.keys() and "xml" not in program.program.units
    hints = [item.hint for item in check({"a.mix": "import xmll\ncell output = calendar"}).diagnostics]
    assert hints == ["did you mean 'xml'?", "add 'import calendar'"]


def _edited(text: str, chance: random.Random) -> str:
    """The text with one line changed, moved, said twice, or left out; it may be no program any more."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    match chance.randrange(6):
        case 0:
            lines[at] = re.sub(r"\d+", lambda _: str(chance.randrange(9)), lines[at])
        case 1:
            lines.insert(at, chance.choice(("", "// a comment", f"def more{at} = {at}")))
        case 2:
            lines.insert(chance.randrange(len(lines)), lines.pop(at))
        case 3:
            lines.insert(at, lines[at])
        case 4:
            del lines[at]
        case _:
            lines[at] = lines[at].replace("=", "= let v = 1;", 1)
    return "\n".join(lines)


def test_any_edits_give_what_a_cold_start_gives() -> None:
    chance = random.Random(5)
    sources = {"main.mix": MAIN, "part.mix": PART, "text.mix": TEXT}
    right = 0
    for number in range(60):
        file = chance.choice(list(sources))
        changed = sources | {file: _edited(sources[file], chance)}
        warm = _built(changed)
        kept = dict(memory._known)
        memory._known.clear()
        assert warm == _built(changed), (number, changed[file])
        memory._known.clear()
        memory._known.update(kept)
        if type(warm) is tuple:
            # Go on from what is right, so that most edits are of programs.
            sources, right = changed, right + 1
    assert 10 < right < 60
