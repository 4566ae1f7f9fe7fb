"""What is compiled again after a change is what is compiled anew, byte for byte; and folders of agents."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from mix_lang import compiler, passages
from mix_lang.codegen.generator import Generator
from mix_lang.compile import check
from mix_lang.compiler import build, build_library
from mix_lang.errors import CompileError
from mix_lang.lexer import tokenize
from mix_lang.memory import Memory
from mix_lang.render import render_all

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

SOURCES = {"main.mix": MAIN, "part.mix": PART, "text.mix": TEXT}
CELLS = """\
module main(p: data)
  import array
  import shapes
  case small(number)
  case large(number)
  type size = small | large
  type both = [size, shapes.form]
  private def half(x) = x / 2
  def limit : number
  def measure : number -> size
  def measure(x) = if (x > limit) large(x) else small(half(x))
  def limit = shapes.most - 1
  var cell count : number = 1
  cell doubled = count * 2
  cell sized = measure(doubled)
  def told(s: size) = s |> (self.small(n) -> "small " + n | self.large(n) -> "large " + n)
  def turned(s: both) = s |> ([a, b] -> [b, a])
  def given = p
  on doubled when count > 3 do { debug(told(sized)) }
  initializer { count = 2 }
  def more(by: number) = action { count = count + by }
  def _ = debug(limit)
  cell output = {
    told: told(sized), count, by: more(2), all: array.map(x -> half(x) + 1, [1, 2]), f: shapes.area(shapes.square(2)),
    turned: turned([sized, shapes.round(1)]), given
  }
module end
"""
SHAPES = """\
module shapes
  case square(number)
  case round(number)
  type form = square | round
  def most = 7
  def twice(x) = x + x
  def area(f: form) = f |> (self.square(a) -> a * a | self.round(r) -> twice(r))
module end
"""
PROGRAMS = {
    "small": SOURCES,
    "cells": {"main.mix": CELLS, "shapes.mix": SHAPES},
    "wide": {
        "main.mix": "import shapes\n" + "".join(
            f"def f{n}(x) = do {{\n  let y = x + {n}\n  return {f'f{n - 1}(y)' if n else 'y'}\n}}\n"
            f"def g{n}(x: number) : number = f{n}(x) * shapes.most\n"
            for n in range(12)
        ) + "cell output = [g3(1), g11(2)]\n",
        "shapes.mix": SHAPES,
    },
}  # fmt: skip

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


def _built(sources: dict[str, str], memory: Memory | None = None) -> Any:
    """Everything that a compilation answers: errors with their places, or the executable with its debug symbols."""
    try:
        code, checked = build(sources, memory=memory)
    except CompileError as exc:
        return [item.record() for item in exc.diagnostics]
    return code, [item.record() for item in checked.diagnostics]


def _library(sources: dict[str, str], memory: Memory | None = None) -> Any:
    try:
        return build_library(sources, memory)[0]
    except CompileError as exc:
        return render_all(exc.diagnostics)


def test_a_change_gives_what_a_cold_start_gives() -> None:
    sources, memory = dict(SOURCES), Memory()
    assert type(_built(sources, memory)) is tuple
    for file, old, new in CHANGES:
        assert old in sources[file]
        sources[file] = sources[file].replace(old, new)
        warm = _built(sources, memory)
        assert warm == _built(sources), new
        assert _library(sources, memory) == _library(sources), new
    assert type(warm) is tuple


def test_programs_do_not_mix() -> None:
    """Modules of one name, in programs that are compiled in turn."""
    one = {"a.mix": "import b\ncell output = b.f(1)\n", "b.mix": "def f(x) = x |> (y -> y + 1)\n"}
    two = {"a.mix": "import b\ncell output = b.f(1)\n", "b.mix": "def g(x) = (y -> y)\ndef f(x) = g(x)(x)\n"}
    both = {"c.mix": "import a\nimport b\ncell output = [b.f(2), a?]\n"} | two
    own = {
        "d.mix": "import main\ncell output = contents(main.output)\n",
        "main.mix": MAIN.replace("(p: data)", ""),
    }
    own |= {"part.mix": PART, "text.mix": TEXT}
    alone = {"main.mix": own["main.mix"]} | own
    memory = Memory()
    _built(own, memory)
    assert "main.action" in str(_built(alone, memory)[0]), "an agent that was a module before"
    for sources in (one, two, both, one, both, two):
        assert _built(sources, memory) == _built(sources)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passages that were really read."""
    found: list[str] = []

    def noted(source: Any, report: Any, passage: str | None = None, first: int = 0) -> Any:
        found.append(passage or "")
        return tokenize(source, report, passage, first)

    monkeypatch.setattr(passages, "tokenize", noted)
    return found


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What code was really generated for."""
    found: list[str] = []
    made = Generator._made

    def noted(self: Generator, name: str, make: Any) -> Any:
        found.append(name)
        return made(self, name, make)

    monkeypatch.setattr(Generator, "_made", noted)
    return found


def test_only_what_changed_is_made_again(read: list[str], generated: list[str]) -> None:
    memory = Memory()
    _built(SOURCES, memory)
    assert "code text.framed text" in generated
    for old, new, again in (
        ("  def times = 2\n", "  // about times\n\n  def times = 2\n", []),
        ("def times = 2", "def times = 3", ["code main.times main"]),
        ("x * times)", "x * times, 1)", None),
        ("[1, 2]", "[1, 2, 3]", ["inner output main"]),
        ("var cell n = part.start", "var cell n = part.start + 1", ["inner n main"]),
    ):
        read.clear()
        generated.clear()
        changed = _built(SOURCES | {"main.mix": MAIN.replace(old, new)}, memory)
        assert len(read) <= 2, new
        # What makes the instance is made of all of the module.
        parts = [name for name in generated if not name.startswith("maker")]
        assert again is None or (type(changed) is tuple and parts == again), new


def test_what_moves_is_not_made_again(read: list[str], generated: list[str]) -> None:
    """A definition that is put in front moves all others; their places are right all the same."""
    memory = Memory()
    text = "def a(x) = do { let y = x; return y + 1 }\ndef b(x) = a(a(x))\ncell output = b(1)\n"
    _built({"a.mix": text}, memory)
    read.clear()
    generated.clear()
    moved = {"a.mix": "// All of it.\n\ndef more(x) = [x]\n" + text}
    assert _built(moved, memory) == _built(moved)
    memory = Memory()
    _built({"a.mix": text}, memory)
    read.clear()
    generated.clear()
    _built(moved, memory)
    assert not any("def b" in passage for passage in read)
    assert generated and not any("code a.b" in name or "inner" in name for name in generated)


def test_what_is_remembered_is_bounded() -> None:
    memory = Memory(200_000)
    for number in range(60):
        check({"a.mix": "".join(f"def x{number}_{n} = {number}\n" for n in range(20))}, memory)
        assert len(memory) < 1_000
    kept = Memory(10)
    assert kept.remembered("a", lambda: 1) == kept.remembered("a", lambda: 2) == 1


def test_what_is_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(10)
    for number in range(50):
        assert memory.remembered("often", lambda: "kept", 1) == "kept"
        memory.note(number, number, 3)
        assert memory.remembered("often", lambda: "made again", 1) == "kept"
    assert memory.find(3) is None and len(memory) < 12


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


LINES = (
    "", "// a comment", "  def more(x) = x + 1", "  case red(number)", "  case blue", "  type shade = red | blue",
    "  import array", "  import map", "private", "module end", "  def text = 1", "  cell output = 2", "  }", "  def",
    "  _meta_ {deprecated: true}", '  def s = """', "  /*", "#line 7",
    "  initializer { n = 1 }", "  on n do { debug(n) }",
    "  def start : number", "  foreign def pow : number -> number -> number = \"%number_pow\"", "\"", "  alias n2 = n",
    "  _pragma_ {strictTyping: true}", "  def act = action { debug(1) }", "  static", "    def deeper = 1",
)  # fmt: skip


def _edited(text: str, chance: random.Random) -> str:
    """The text with one line changed, moved, said twice, or left out; it may be no program any more."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    match chance.randrange(8):
        case 0:
            lines[at] = re.sub(r"\d+", lambda _: str(chance.randrange(9)), lines[at])
        case 1:
            lines.insert(at, chance.choice(("", "// a comment", f"  def more{at} = {at}")))
        case 2:
            lines.insert(chance.randrange(len(lines)), lines.pop(at))
        case 3:
            lines.insert(at, lines[at])
        case 4:
            del lines[at]
        case 5:
            lines.insert(at, chance.choice(LINES))
        case 6:
            words = [match.span() for match in re.finditer(r"\w+|\S", lines[at])]
            if words:
                start, end = chance.choice(words)
                word = chance.choice(re.findall(r"\w+|\S", text))
                lines[at] = lines[at][:start] + word + lines[at][end:]
        case _:
            lines[at] = lines[at].replace("=", "= let v = 1;", 1)
    return "\n".join(lines)


@pytest.mark.parametrize("program", ["small", "cells", "wide"])
def test_any_edits_give_what_a_cold_start_gives(program: str) -> None:
    """Edits of what is right and of what is wrong, undone now and then: what is remembered changes no answer."""
    chance = random.Random(program)
    sources = good = PROGRAMS[program]
    memory = Memory()
    right = 0
    for number in range(50):
        file = chance.choice(list(sources))
        changed = sources | {file: _edited(sources[file], chance)}
        warm = _built(changed, memory)
        assert warm == _built(changed), (number, changed[file])
        right += type(warm) is tuple
        if type(warm) is tuple:
            good = changed
        sources = good if chance.random() < 0.5 else changed
    assert 5 < right < 45, right
