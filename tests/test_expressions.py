"""No regular expression of ours takes time that grows with the square of a text: the texts come from strangers."""

from __future__ import annotations

import importlib
import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixkit.settings import is_service_link

ROOT = Path(__file__).parents[1]
MANY = 16_000
SLOW = 0.15
"""Seconds. The square of `MANY` takes longer, `MANY` itself a thousandth."""
OTHERS = {
    "mixkit.testing.snippets": "reads our own documents",
    "mix_wasm2c.translation": "reads what wasm2c wrote of a module whose names were taken away, line by line",
    "mix_db.query.semantics": "compiles the patterns of queries, and bounds what searching for them costs",
}

# What the parser of expressions calls its nodes.
_parser: Any = re._parser  # type: ignore[attr-defined]


def modules() -> list[str]:
    """All modules that compile an expression when they are imported."""
    found = []
    folders = [ROOT / "mixkit", *(ROOT / "plugins").glob("*/mix_*")]
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if "re.compile(" in path.read_text(encoding="utf-8"):
                found.append(".".join(path.relative_to(folder.parent).with_suffix("").parts))
    return [name for name in found if name not in OTHERS]


def expressions(module: str) -> Iterator[tuple[str, re.Pattern[Any], set[str]]]:
    """Name, expression, and what is done with it, of all that a module has of its own."""
    found = importlib.import_module(module)
    source = Path(found.__file__ or "").read_text(encoding="utf-8")
    for name, value in vars(found).items():
        if isinstance(value, re.Pattern) and re.search(rf"^{name}\b.*= re\.compile", source, re.MULTILINE):
            yield name, value, set(re.findall(rf"\b{name}\.(\w+)\(", source))


def units(pattern: re.Pattern[Any]) -> set[str]:
    """Texts that it may match a part of: its letters, one of each set, what stands together, and pairs of those."""
    letters: list[str] = []
    words: set[str] = set()

    def walk(nodes: Any) -> None:
        word = ""
        for op, argument in nodes:
            name = str(op)
            if name == "LITERAL":
                word += chr(argument)
                letters.append(chr(argument))
                continue
            words.add(word)
            word = ""
            if name == "IN":
                letters.extend(_of_set(argument))
            for part in _inner(argument):
                walk(part)
        words.add(word)

    walk(_parser.parse(pattern.pattern, pattern.flags))
    singles = list(dict.fromkeys(letters))[:12]
    return {*singles, *(a + b for a in singles[:5] for b in singles[:5]), *words} - {""}


def _of_set(items: Any) -> Iterator[str]:
    for op, argument in items:
        match str(op):
            case "LITERAL":
                yield chr(argument)
            case "RANGE":
                yield chr(argument[0])
            case "CATEGORY":
                yield {"CATEGORY_SPACE": " ", "CATEGORY_DIGIT": "1"}.get(str(argument), "a")


def _inner(argument: Any) -> Iterator[Any]:
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, tuple | list):
        for part in argument:
            yield from _inner(part)


def seconds(pattern: re.Pattern[Any], methods: set[str], text: str) -> float:
    """The longest of what is done with it, of two tries the shorter one."""
    subject: Any = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
    worst = 0.0
    for method in methods:
        # What goes through a text is as slow as finding all.
        work = getattr(pattern, method if method in ("fullmatch", "match", "search") else "findall")
        taken = []
        for _ in range(2):
            began = time.perf_counter()
            work(subject)
            taken.append(time.perf_counter() - began)
            if taken[-1] < SLOW:
                break
        worst = max(worst, min(taken))
    return worst


@pytest.mark.parametrize("module", modules())
def test_no_expression_is_slow(module: str) -> None:
    found = list(expressions(module))
    assert found, "expected an expression that is compiled at the module's level"
    for name, pattern, methods in found:
        assert methods, f"expected {name} to be used where it is compiled"
        for unit in units(pattern):
            text = (unit * MANY)[:MANY] + "\0"
            assert seconds(pattern, methods, text) < SLOW, (name, pattern.pattern, unit)


def test_a_slow_expression_is_found() -> None:
    slow = re.compile(r"\s*;\s*charset\s*=")
    assert any(seconds(slow, {"search"}, unit * MANY + "\0") > SLOW for unit in sorted(units(slow)))


def test_the_name_of_a_variable_is_judged_in_one_pass() -> None:
    old = re.compile(
        r"\w+_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
    )
    words = ("A", "_", "SERVICE_HOST", "SERVICE_PORT", "PORT", "80", "TCP", "ADDR", "-", "\n")
    names = ["_".join(parts) for n in range(1, 6) for parts in itertools.product(words, repeat=n)]
    for name in names:
        assert is_service_link(name, "", known=False) is (old.fullmatch(name) is not None), name
    began = time.perf_counter()
    assert not is_service_link("A" + "_SERVICE_PORT" * 5_000 + "-", "", known=False)
    assert time.perf_counter() - began < 1
