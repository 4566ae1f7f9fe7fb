"""Whatever text comes: diagnostics, never an exception, in time that is linear in its length."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from mix_lang import library
from mix_lang.compile import check
from mix_lang.compiler import build
from mix_lang.errors import CompileError
from mix_lang.lexer import KEYWORDS
from mix_lang.render import render_all

SEEDS = [*library.sources().values()]
CASES = Path(__file__).parents[3] / "tests" / "mix"
WORDS = [
    *sorted(KEYWORDS), "x", "y", "array", "output", "some", "1", "2.5", '"s"', '"""', '"', ";;", "/*", "//", "\n",
    *"()[]{}.,:;=+-*/%|?^'#~@<>!&", "->", "..", "++", "|>", "==", "===", "&&", "||", "_meta_", "_pragma_", "_escJSON_",
    "appstate", "~multiple", "~optional", "§", "\x00", "\u2028", "é", "😀", "#line 3 \"f\"\n",
]  # fmt: skip


def _survives(text: str) -> None:
    checked = check({"a.mix": text})
    render_all(checked.diagnostics)
    for item in checked.diagnostics:
        place = item.location
        assert (place.start_line, place.start_col) <= (place.end_line, place.end_col) or place.file != "a.mix"


@pytest.mark.parametrize("seed", range(6))
def test_random_words(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        _survives(" ".join(chance.choice(WORDS) for _ in range(chance.randrange(1, 60))))


@pytest.mark.parametrize("seed", range(6))
def test_mutated_programs(seed: int) -> None:
    chance = random.Random(seed)
    texts = SEEDS + [path.read_text(encoding="utf-8") for path in sorted(CASES.rglob("*.mix"))]
    for _ in range(40):
        text = chance.choice(texts)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(text) + 1)
            end = min(len(text), at + chance.randrange(12))
            piece = chance.choice(("", chance.choice(WORDS), text[at:end] * 2))
            text = text[:at] + piece + text[end:]
        _survives(text)


@pytest.mark.parametrize(
    "text",
    [
        "def a = " + "(" * 20_000,
        "def a = " + "[" * 5_000 + "]" * 20_000,
        "def a = " + "not " * 10_000 + "true",
        "def a = " + "- " * 10_000 + "1",
        "def a = " + "try " * 10_000 + "f(x)",
        "def a : " + "A -> " * 10_000 + "A",
        "def a = " + "if (true) 1 else " * 5_000 + "2",
        "def a = " + "(x -> " * 10_000,
        "def a(x) { " + "if (x) { " * 10_000,
        "def a = " + "x." * 10_000 + "y",
        "def a = " + "1 |> f " * 20_000,
        "def a = (" + "[" * 10_000 + " -> 1)",
        "def a = f" + "()" * 10_000,
        '"' * 20_000,
        "}" * 20_000,
        "def a = " + "x -> " * 10_000 + "1",
    ],
    ids=lambda text: text[:24],
)
def test_deep(text: str) -> None:
    _survives(text)


def _seconds(text: str) -> float:
    best = 1e9
    for _ in range(2):
        start = time.process_time()
        check({"a.mix": text})
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    "piece",
    [
        "def a{0} = 1 + 2 * (3 + f(4))\ndef f{0} = (x -> x)\n",
        "def a{} = (1 + \n",
        'def a{} = "abc\n',
        "def a{} = {{x: 1, y: [1, 2, unknown]}}\n",
        "cell c{} = 1\n",
        "( ",
        "/* ",
    ],
)  # fmt: skip
def test_linear(piece: str) -> None:
    short, long = ("".join(piece.format(i) for i in range(count)) for count in (100, 800))
    # Eight times the text: sixty-four times the time would be quadratic.
    assert _seconds(long) < 30 * max(_seconds(short), 0.002)


STRICT = "_pragma_ {strictTyping: true}\n"


def _lines(text: str) -> int:
    """How many lines of Python a compilation runs, which does not depend on what else the computer does."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        build({"a.mix": text})
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    ("before", "piece", "after"),
    [
        ("def f(x) {", "let x{0} = n0 + x", "return n0 }\ncell output = f(1)"),
        ("def f(x) {", "let [x{0}, y{0}] = [n0, x]", "return n0 }\ncell output = f(1)"),
        ("def f(x) {", "var x{0} = x\nx{0} = n0", "return n0 }\ncell output = f(1)"),
        ("def f(x) {", "let x{0} = (y -> y + n0)", "return n0 }\ncell output = f(1)"),
        ("def f(x) {", "let x{0} = n0\nif (x == 2) {{ let y = n0; return y }}", "return n0 }\ncell output = f(1)"),
        ("def f(x) =", "let x{0} = n0;", "n0\ncell output = f(1)"),
        ("var cell c = 0\ncell output = action {", "let x{0} = n0\nc = x{0}", "}"),
    ],
)  # fmt: skip
def test_many_locals(before: str, piece: str, after: str) -> None:
    def lines(count: int) -> int:
        end = ";" if before.endswith("=") else ""
        pieces = (piece.format(i) for i in range(count))
        return _lines(STRICT + "\n".join([before, f"let n0 = 1{end}", *pieces, after]))

    # The first one reads the library.
    lines(1)
    few, some, many = map(lines, (100, 200, 400))
    # Twice the locals that are added: four times the work would be quadratic.
    assert many - some < 2.4 * (some - few)


def _doubling(first: str, line: str, count: int = 40) -> str:
    """Lines that are each made of two of the one before."""
    return first + "".join(line.format(i, i - 1) for i in range(1, count))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (_doubling("type t0 = [number, number]\n", "type t{0} = [t{1}, t{1}]\n") + "def f = (type(t39) -> 1)", "M0409"),
        (_doubling("type t0 = {a: bool}\n", "type t{0} = {{a: t{1}, b: t{1}}}\n") + "def f = type(t39)", "M0409"),
        (STRICT + _doubling("type t0 = bool\n", "type t{0} = t{1} -> t{1}\n") + "def f(x: t39): t39 = x", "M0409"),
        (STRICT + _doubling("case c0\n", "case c{0}([c{1}, c{1}])\n") + "def f(x: c39) = 1", ""),
        (STRICT + _doubling("case c0(A)\n", "case c{0}([c{1}(A), c{1}(A)])\n") + "def f(x: c39) = 1", ""),
        (
            STRICT + "case leaf\ncase node({a: t, b: t, c: t, d: t})\ntype t = leaf | node\n"
            "def f(x: t): t = x\ncell output = f(node({a: leaf, b: leaf, c: leaf, d: leaf}))",
            "",
        ),
    ],
)  # fmt: skip
def test_types_that_double(text: str, code: str) -> None:
    start = time.process_time()
    found = [item.code for item in check({"a.mix": text}).diagnostics]
    # One for the type that is too large first, whatever is made of it.
    assert found.count("M0409") == (code == "M0409"), found
    # Written out, they would be larger than any memory.
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def small = 1\ndef f(x) = {}\ncell output = f(true)".format(" && ".join(["x"] * 17_000)), "'f'"),
        ("def f(x) = (y -> [{}])\ncell output = f(1)(1)".format(", ".join(["x"] * 66_000)), "'f'"),
    ],
)
def test_code_that_does_not_fit(text: str, name: str) -> None:
    with pytest.raises(CompileError) as caught:
        build({"a.mix": text})
    (item,) = caught.value.diagnostics
    assert item.code == "M0604" and name in item.message
    assert text[item.span.start : item.span.end] == "f"


@pytest.mark.parametrize("piece", [".a", "[0]", "(1)", " |> g", "?"])
def test_chains_have_a_place(piece: str) -> None:
    text = f"def g(x) = x\ndef f(x) = x{piece * 199}\ncell output = [f]"
    assert len(build({"a.mix": text})[0]) > 1_000
    checked = check({"a.mix": text.replace(piece * 199, piece * 2_000)})
    assert [item.code for item in checked.diagnostics] == ["M0203"]
    assert checked.diagnostics[0].location.start_line == 2
    assert checked.diagnostics[0].location.start_col > 200


@pytest.mark.parametrize(
    ("alternative", "again"),
    [
        ("{0} -> {0}", "5 -> 0"),
        ('"a{0}" -> {0}', '"a5" -> 0'),
        ("global.some({0}) -> {0}", "global.some(5) -> 0"),
        ("[{0}, _] -> {0}", "[5, 1] -> 0"),
        ("{0} || -{0} -> {0}", "5 -> 0"),
        ("v @ {0} -> v", "v @ 5 -> 0"),
        ("{{k: {0}}} -> {0}", "{k: 5, l: 1} -> 0"),
        ("x && {0} -> {0}", "x && 5 -> 0"),
    ],
)
def test_many_alternatives(alternative: str, again: str) -> None:
    def text(count: int) -> str:
        return f"def f = ({' | '.join(alternative.format(i) for i in range(1, count))})"

    short, long = text(150), text(1_200)
    assert _seconds(long) < 40 * max(_seconds(short), 0.02)
    repeated = check({"a.mix": short.removesuffix(")") + f" | {again})"}).diagnostics
    assert [(item.code, "line 1" in item.message) for item in repeated] == [("M0506", True)]


def test_a_union_of_many_cases() -> None:
    def text(count: int) -> str:
        cases = [f"c{i}" for i in range(count)]
        return (
            "\n".join(f"case {name}" for name in cases)
            + f"\ntype t = {' | '.join(cases)}\ndef f(x: t) = ({' | '.join(f'self.{c} -> 1' for c in cases[:-1])})(x)"
        )

    (missing,) = check({"a.mix": text(200)}).diagnostics
    assert missing.code == "M0507" and "self.c199" in missing.message
    assert _seconds(text(1_200)) < 40 * max(_seconds(text(150)), 0.02)


def test_many_functions_in_one() -> None:
    def seconds(count: int) -> float:
        text = f"def f(x) = [{', '.join(['(x -> x)'] * count)}]\ncell output = [f]"
        start = time.process_time()
        build({"a.mix": text})
        return time.process_time() - start

    assert seconds(2_400) < 40 * max(seconds(300), 0.02)
