"""Strict typing of what is large, and of the library, which is strict throughout."""

from __future__ import annotations

import time

from mix_lang import library
from mix_lang.compile import check

STRICT = "_pragma_ {strictTyping: true}\n"


def _codes(text: str) -> list[str]:
    return [item.code for item in check({"a.mix": text}).diagnostics]


def test_the_library_is_typed_throughout() -> None:
    sources = {
        f"{name}.mix": text.replace(f"module {name}\n", f"module {name}\n{STRICT}", 1)
        for name, text in library.sources().items()
    }
    assert all(STRICT in text for text in sources.values())
    assert [str(item) for item in check(sources).diagnostics] == []


def test_types_that_are_huge_when_written_out() -> None:
    lines = [f"def f{n}(x) = let y = f{n - 1}(x); [y, y, 1]" for n in range(1, 60)]
    text = "\n".join([STRICT, "def f0(x) = [x, 1]", *lines, "cell output = f59(1) === f59(2)"])
    began = time.process_time()
    assert _codes(text) == []
    assert time.process_time() - began < 20


def test_a_thousand_functions() -> None:
    lines = [f"def f{n}(x) = f{n - 1}(x) + {n}" for n in range(1, 1000)]
    text = "\n".join([STRICT, "def f0(x) = x + 1", *lines, "cell output = f5(1)"])
    assert _codes(text) == []
    assert _codes(text + '\ncell b = f500("x") - 1') == ["M0406"]


def test_deep_expressions_end() -> None:
    nested = "(x -> " * 60 + "1" + ")" * 60
    assert _codes(f"{STRICT}cell output = {nested}?\n") == []
    many = " + ".join(["x"] * 3000)
    assert _codes(f"{STRICT}def f(x) = {many}\ncell output = f(1)\n") == []
