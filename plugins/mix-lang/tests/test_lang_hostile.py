"""Whatever text comes: diagnostics, never an exception, in time that is linear in its length."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from mix_lang import library
from mix_lang.compile import check
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
