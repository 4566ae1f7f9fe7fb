"""What is said of words of other languages: what the hints name is there."""

from __future__ import annotations

import re

import pytest
from mix_lang import library
from mix_lang.check.globals import TYPES as KNOWN_TYPES
from mix_lang.compile import check
from mix_lang.elsewhere import DEFINING, LEADING, TYPES, WORDS

CALLS = re.compile(r"\b(\w+)\.(\w+)\(")


@pytest.mark.parametrize("word", sorted(WORDS))
def test_what_a_hint_names_is_there(word: str) -> None:
    for module, name in CALLS.findall(WORDS[word]):
        assert module in library.sources()
        text = f"import {module}\ncell output = {module}.{name}\n"
        assert not check({"a.mix": text}).failed, (word, module, name)


@pytest.mark.parametrize("word", sorted(LEADING))
def test_a_word_that_begins_something_is_one_error(word: str) -> None:
    for text in (f"def f(x) = {word} x", f"def f(x) {{\n  {word} x\n  return 1\n}}"):
        (found,) = check({"a.mix": f"{text}\ncell output = f(1)\n"}).diagnostics
        assert found.code == "M0214" and found.hint == LEADING[word], found.message


def test_types_that_are_meant_are_types() -> None:
    for meant in TYPES.values():
        assert re.match(r"\w+", meant)[0] in KNOWN_TYPES  # type: ignore[index]


@pytest.mark.parametrize("word", sorted(DEFINING))
def test_a_definition_of_another_language_gives_its_name(word: str) -> None:
    (found,) = check({"a.mix": f"{word} limit = 3\ncell output = limit\n"}).diagnostics
    assert found.code == "M0201" and "def name = …" in found.hint
