"""Regular expressions: leftmost-longest, in linear time."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from mix_rt.calls import Calls
from mix_rt.testing import Panicked
from mix_rt.vm import Virtual

from mixkit.value import UNDEF


@pytest.fixture
def calls(native: Callable[[], Virtual]) -> Calls:
    return Calls(native())


FOUND: list[tuple[str, str, Any]] = [
    ("b+", "abbbc", [1, 4]),
    ("a|ab|abc", "xabcd", [1, 4]),
    ("(a+)(b*)", "caabb", [1, 5, 1, 3, 3, 5]),
    ("(a)|(b)", "b", [0, 1, -1, -1, 0, 1]),
    ("x*", "aaa", [0, 0]),
    ("^b", "ab", UNDEF),
    ("(?m)^b$", "a\nb\nc", [2, 3]),
    ("(?i)STRASSE|été", "x ÉTÉ", [2, 5]),
    ("[^a-c]+", "abcdéfa", [3, 6]),
    ("[]a]+", "x]a]", [1, 4]),
    (r"\bfoo\b", "afoo foo", [5, 8]),
    (r"\B-\B", "a- -", [3, 4]),
    (r"\d{2,3}", "1 1234", [2, 5]),
    (r"\d{3}", "12 345", [3, 6]),
    (r"a{2,}", "a aaaa", [2, 6]),
    (r"a{,2}", "a{,2}", [0, 5]),
    (r"[\w.]+@\w+\.(com|org)", "to me.x@site.org now", [3, 16, 13, 16]),
    (r"\x41\x{1D11E}\.", "A𝄞.", [0, 3]),
    ("(?:ab)+", "xababx", [1, 5]),
    ("(a*)*", "b", [0, 0, -1, -1]),
    ("(|a)+", "aa", [0, 2, 1, 2]),
    ("a.c", "a\nc abc", [4, 7]),
    ("é+?", "aéé", [1, 3]),
    ("$", "ab", [2, 2]),
    ("", "ab", [0, 0]),
]


def test_find(calls: Calls) -> None:
    for pattern, text, expected in FOUND:
        assert calls("regex_find", pattern, 0, text) == expected, pattern
    assert calls("regex_find", "a", 2, "aéa") == [2, 3] and calls("regex_find", "a", 4, "aéa") is UNDEF


def test_find_all(calls: Calls) -> None:
    assert calls("regex_find_all", "é|b+", -1, "éabbé b") == [[0, 1], [2, 4], [4, 5], [6, 7]]
    assert calls("regex_find_all", "a", 2, "aaa") == [[0, 1], [1, 2]]
    assert calls("regex_find_all", "b*", -1, "abbc") == [[0, 0], [1, 3], [4, 4]]
    assert calls("regex_find_all", "x", -1, "abc") == []
    text = "one two, three" * 2000
    assert len(calls("regex_find_all", r"(\w+)", -1, text)) == len(re.findall(r"\w+", text))


def test_random_patterns_find_what_python_finds(calls: Calls) -> None:
    """Of each random pattern the start of the leftmost match, and the longest match there."""
    random = Random(seed := Random().randrange(2**32))

    def pattern(depth: int) -> str:
        choice = random.randrange(9 if depth else 4)
        match choice:
            case 0 | 1 | 2:
                return random.choice("abc")
            case 3:
                return random.choice(["[ab]", "[^a]", ".", r"\w"])
            case 4:
                return f"({pattern(depth - 1)})"
            case 5:
                return f"({pattern(depth - 1)}|{pattern(depth - 1)})"
            case 6:
                return f"(?:{pattern(depth - 1)}){random.choice(['*', '+', '?', '{2}', '{1,3}'])}"
            case _:
                return pattern(depth - 1) + pattern(depth - 1)

    for _ in range(250):
        expression = pattern(4)
        text = "".join(random.choice("abc") for _ in range(12))
        compiled = re.compile(expression)
        expected: Any = UNDEF
        for start in range(len(text) + 1):
            ends = [end for end in range(start, len(text) + 1) if compiled.fullmatch(text, start, end)]
            if ends:
                expected = [start, max(ends)]
                break
        found = calls("regex_find", expression, 0, text)
        assert (found[:2] if found is not UNDEF else found) == expected, (expression, text, f"seed {seed}")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "byte 2: a group that does not end"),
        ("a)", "byte 1: a \\) without its \\("),
        ("[a", "a class that does not end"),
        ("*a", "byte 0: a repetition of nothing"),
        ("a{3,2}", "a count whose end is below its start"),
        ("a{1001}", "a count above 1000"),
        ("(?:a{1000}){1000}", "the pattern is too long"),
        ("\\", "a backslash at the end"),
        (r"\q", "an escape that is not known"),
        ("[b-a]", "a range whose end is before its start"),
        ("a" + "*" * 3000, "too many repetitions in a row"),
        ("(?x)a", "flags stand at the start"),
        ("(" * 200, "nested too deep|too many groups"),
    ],
)
def test_what_is_no_pattern(calls: Calls, pattern: str, message: str) -> None:
    assert re.search(message, calls("regex_check", pattern))
    with pytest.raises(Panicked, match=message):
        calls("regex_find", pattern, 0, "a")


def test_hostile_patterns_are_linear(calls: Calls) -> None:
    assert calls("regex_check", "a+") is UNDEF
    text = "a" * 3000
    for pattern in (
        "(a*)*b",
        "(a|a)*b",
        "(a?){50}a{50}b",
        "(.*)(.*)(.*)b",
        "(?:(?:(?:(?:){1000}){1000}){1000}){1000}b",
    ):
        assert calls("regex_find", pattern, 0, text) is UNDEF


def test_texts_are_those_of_the_indices(calls: Calls) -> None:
    random = Random(seed := Random().randrange(2**32))
    for _ in range(300):
        pattern = random.choice(["(a)|(b)|c+", "", "(é*)(x)?", "[^,]+|,", "(?m)^.*$", "(a(b)?)*"])
        text = "".join(random.choice("abcé,x\n😀") for _ in range(random.randrange(30)))
        most = random.choice([-1, 0, 1, 3])
        expected = [
            [None if at < 0 else text[at:end] for at, end in zip(match[::2], match[1::2], strict=True)]
            for match in calls("regex_find_all", pattern, most, text)
        ]
        assert calls("regex_texts", pattern, most, text) == expected, f"seed {seed}: {pattern!r} {text!r}"
