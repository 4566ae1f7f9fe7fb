"""What the compiler says of a regular expression is what the machine says."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from mix_lang.regex import wrong
from mix_rt.calls import Calls
from mix_rt.instance import virtual, wasm
from mix_wasmtime.engine import WasmtimeEngine

from mixkit.limits import Limits
from mixkit.value import UNDEF


@pytest.fixture(scope="module")
def calls() -> Iterator[Calls]:
    engine = WasmtimeEngine()
    instance = engine.instantiate(engine.compile(wasm()), Limits(), {})
    yield Calls(virtual(instance))
    instance.close()


def _same(calls: Calls, pattern: str) -> None:
    said = calls("regex_check", pattern)
    found = wrong(pattern)
    assert (said is UNDEF) == (found is None), (pattern, said, found)
    if found is not None:
        assert said.endswith(found[1]), (pattern, said, found)


@pytest.mark.parametrize(
    "pattern",
    ["", "a", "(", ")", "(?", "(?i", "(?ix)", "[", "[]", "[^]", "[b-a]", "\\", "\\x", "\\x4", "\\x{110000}", "\\x{}", "*",
     "a**", "a*?+?{2}{3}*", "a{", "a{1", "a{1,", "a{,2}", "a{2,1}", "a{1001}", "(a{1000}){3}", "(a{1000}){2}", "{", "a{x", "()|",
     "(" * 63 + ")" * 63, "(" * 64 + ")" * 64, "(?:" * 100 + ")" * 100, "(?:" * 101 + ")" * 101, "[\\d-x]", "[a\\", "é{2}[é-ü]",
     "a" * 2999, "a" * 3000, "|" * 1500, "[ab]" * 1500, "[ab]" * 1501, "(){1000}", "\\Q", "\\.", "(?m)^$", "(?:|)"],
)  # fmt: skip
def test_patterns(calls: Calls, pattern: str) -> None:
    _same(calls, pattern)


def test_random_patterns(calls: Calls) -> None:
    seed = Random().randrange(2**32)
    random = Random(seed)
    for _ in range(3000):
        _same(
            calls,
            "".join(random.choice("ab(())[]^-\\{},?*+|123xdwnéQ:im.") for _ in range(random.randrange(14))),
        )
