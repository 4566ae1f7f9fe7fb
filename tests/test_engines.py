"""Which engines a profile has, and which of them runs a module."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from mixkit.engines import Choice, Engines, choose, decide
from mixkit.errors import EngineError, MixError, PluginError, ProfileError

OFFERED = {"one": "pkg:One", "two": "pkg:Two"}


def refuses(words: str, asked: list[str] | None = None) -> Callable[[bytes], Any]:
    def compile(code: bytes) -> Any:
        if asked is not None:
            asked.append(words)
        raise EngineError(words)

    return compile


def takes(code: bytes) -> Any:
    return f"module of {code!r}"


def test_the_engines_of_a_profile_are_those_that_are_there() -> None:
    assert [(c.engine, c.reason) for c in choose(["two", "one"], OFFERED)] == [
        ("two", "choice 1 of the profile's engines"),
        ("one", "choice 2 of the profile's engines"),
    ]
    (only,) = choose(["absent", "one", "one"], OFFERED)
    assert only == Choice("one", "pkg:One", "choice 1 of the profile's engines; absent not installed")
    for wanted in ([], ["absent"]):
        with pytest.raises(ProfileError, match="offered: one, two"):
            choose(wanted, OFFERED)


def test_the_first_engine_that_takes_a_module_runs_it(caplog: pytest.LogCaptureFixture) -> None:
    decision = decide(b"x", [("one", takes), ("two", refuses("never asked"))])
    assert (decision.index, decision.module, decision.reason) == (0, "module of b'x'", "one takes it")
    with caplog.at_level(logging.INFO, "mixkit.engines"):
        decision = decide(b"x", [("one", refuses("has tags")), ("two", takes)])
    assert (decision.index, decision.reason) == (1, "one: has tags")
    assert "one leaves a module of 1 bytes to the next engine: has tags" in caplog.text


def test_when_none_takes_it_the_last_ones_words_count() -> None:
    with pytest.raises(EngineError, match=r"^not valid$"):
        decide(b"x", [("one", refuses("not trusted")), ("two", refuses("not valid"))])


class One:
    name, version = "one", "1"

    def __init__(self) -> None:
        self.asked = 0

    def prepare(self) -> None:
        pass

    def compile(self, code: bytes) -> Any:
        self.asked += 1
        if code == b"odd":
            raise RuntimeError("oh")
        if code == b"tags":
            raise EngineError("has tags")
        return self


def failed(choice: Choice, what: str) -> Callable[[str], MixError]:
    return lambda reason: PluginError(f"{choice.engine} {what}: {reason}", choice.engine)


def test_an_engine_is_not_asked_again_for_what_it_has_left() -> None:
    first, second = One(), One()
    second.compile = takes  # type: ignore[method-assign]
    made = iter([first, second])
    engines = Engines(choose(["one", "two"], OFFERED), lambda _: next(made), failed)  # type: ignore[arg-type, return-value]
    for _ in range(3):
        engine, decision = engines.compile(b"tags")
        assert (engine, decision.reason) == (second, "one: has tags")
    assert first.asked == 1
    assert engines.compile(b"good")[0] is first


def test_an_engine_that_breaks_is_named_and_no_reason_to_take_the_next() -> None:
    engines = Engines(choose(["one", "two"], OFFERED), lambda _: One(), failed)  # type: ignore[arg-type, return-value]
    with pytest.raises(PluginError, match=r"one failed to compile the code: .*oh"):
        engines.compile(b"odd")
