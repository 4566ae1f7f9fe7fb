"""Values: what is one, equality and order of the language."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from typing import Any

import pytest
from hypothesis import given

from mixkit.errors import ValueKindError
from mixkit.testing.strategies import identical, values
from mixkit.value import (
    MAX_DEPTH,
    UNDEF,
    Case,
    Ref,
    Token,
    Undef,
    check,
    compare,
    equal,
    error,
    is_large,
    kind_of,
    ok,
    some,
)


def nested(depth: int) -> Any:
    """A scalar inside `depth` arrays."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


REFUSED: list[tuple[Any, str, str]] = [
    (object(), "$", "the Python type object is not a Value"),
    ({"a": [1, (2,)]}, "$.a[1]", "the Python type tuple is not a Value"),
    ([True, 2**63], "$[1]", "an integer beyond 64 bits"),
    (-(2**63) - 1, "$", "an integer beyond 64 bits"),
    ({"odd key": "\udc00"}, '$["odd key"]', "a lone surrogate U+DC00 in a string"),
    ({"\ud800": 1}, "$", "a lone surrogate U+D800 in a string"),
    ([Ref("\ud800")], "$[0]", "a lone surrogate U+D800 in a string"),
    (Case("\ud800"), "$", "a lone surrogate U+D800 in a string"),
    ([UNDEF], "$[0]", "undefined may not be stored in arrays and maps"),
    ({"a": UNDEF}, "$.a", "undefined may not be stored in arrays and maps"),
    (ok([None, UNDEF]), "$.ok[1]", "undefined may not be stored in arrays and maps"),
    ({"a": {1: 2}}, "$.a", "a map key is a str, not int,"),
    (bytearray(b"x"), "$", "the Python type bytearray is not a Value"),
    (type("Sub", (dict,), {})(), "$", "the Python type Sub is not a Value"),
    (type("Sub", (int,), {})(), "$", "the Python type Sub is not a Value"),
]
"""Objects that are no Value, with path and reason; the tests of every writer use it."""


@pytest.mark.parametrize(("value", "path", "reason"), REFUSED)
def test_check_names_reason_and_path(value: Any, path: str, reason: str) -> None:
    with pytest.raises(ValueKindError) as caught:
        check(value)
    assert caught.value.path == path
    assert str(caught.value) == f"{reason} at {path}"


@given(values(tokens=True))
def test_check_accepts_every_value(value: Any) -> None:
    check(value)


def test_depth_limit_is_exact() -> None:
    check(nested(MAX_DEPTH))
    with pytest.raises(ValueKindError, match="nesting above 256"):
        check(nested(MAX_DEPTH + 1))


def test_a_cycle_is_refused_and_not_followed() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueKindError, match="nesting above 256"):
        check(loop)


def test_a_long_key_is_cut_in_the_path() -> None:
    with pytest.raises(ValueKindError) as caught:
        check({"k" * 1_000_000: object()})
    assert len(str(caught.value)) < 300


def test_tokens_are_refused_on_request() -> None:
    check([Token("x")])
    with pytest.raises(ValueKindError) as caught:
        check([Token("x")], tokens=False)
    assert caught.value.path == "$[0]"


def test_kinds() -> None:
    every: list[Any] = [UNDEF, None, True, 1, 1.0, "", Ref("r"), b"", [], {}, Token(""), Case("c")]
    names = "undef null bool int number string ref binary array map token case"
    assert [kind_of(value) for value in every] == names.split()
    with pytest.raises(ValueKindError):
        kind_of(())


def test_undef_is_one_and_false() -> None:
    assert Undef() is UNDEF
    assert not UNDEF
    assert pickle.loads(pickle.dumps(UNDEF)) is UNDEF
    assert copy.deepcopy(UNDEF) is UNDEF


@pytest.mark.parametrize("value", [Ref("a"), Case("a"), Case("a", [1]), ok(None), error("x"), some(1)])
def test_ours_pickle_and_copy(value: Any) -> None:
    assert identical(pickle.loads(pickle.dumps(value)), value)
    assert identical(copy.deepcopy(value), value)


@pytest.mark.parametrize("value", [Ref("a"), Case("a"), Token("a")])
def test_ours_are_immutable(value: Any) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        value.id = "b"


@pytest.mark.parametrize("make", [Ref, Case, Token])
def test_ours_check_what_they_hold(make: Any) -> None:
    with pytest.raises(ValueKindError):
        make(7)


def test_a_token_gives_its_content_to_reveal_only() -> None:
    token = Token("hunter2")
    assert token.reveal() == b"hunter2"
    assert "hunter2" not in f"{token} {token!r} {[token]} {Case('c', token)!r}"
    assert token != Token("hunter2")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never serialised"):
            leak(token)


def test_a_refused_token_does_not_leak_into_the_error() -> None:
    with pytest.raises(ValueKindError, match="a lone surrogate in the text of a Token") as caught:
        Token("hunter2\ud800")
    assert "hunter2" not in f"{caught.value!r} {vars(caught.value)}"
    assert caught.value.__context__ is None


def test_equality_of_kinds() -> None:
    groups: list[list[Any]] = [
        [UNDEF],
        [None],
        [True],
        [False],
        [1, 1.0],
        [0, 0.0, -0.0],
        ["1"],
        [Ref("1")],
        [b"1"],
        [[1], [1.0]],
    ]
    groups += [
        [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}],
        [Case("a")],
        [Case("a", None)],
        [Case("a", 1), Case("a", 1.0)],
    ]
    for (i, left), (j, right) in itertools.product(enumerate(groups), repeat=2):
        for a, b in itertools.product(left, right):
            assert equal(a, b) is (i == j), (a, b)


def test_equality_is_exact_across_numbers() -> None:
    assert equal(2**53, 2.0**53)
    assert not equal(2**53 + 1, 2.0**53)
    assert equal(math.nan, -math.nan)
    assert equal([{"a": math.nan}], [{"a": float("nan")}])
    assert not equal(math.nan, 0) and not equal(0.0, math.nan) and not equal(math.nan, None)
    assert not equal([True], [1])
    assert Case("a", True) != Case("a", 1)


@given(values(), values())
def test_equality_is_symmetric(a: Any, b: Any) -> None:
    assert equal(a, b) is equal(b, a)


def test_order() -> None:
    ladders: list[list[Any]] = [
        [None, False, True],
        [None, -math.inf, -(2**63), -1, 0.5, 1, 2.0**53, 2**53 + 1, math.inf],
        [None, "", "a", "a\x00", "b", "\u00e9", "\uffff", "\U00010000"],
        [None, [], [None], [1], [1, 2], [2]],
    ]
    for ladder in ladders:
        for (i, a), (j, b) in itertools.product(enumerate(ladder), repeat=2):
            assert compare(a, b) == (i > j) - (i < j), (a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *[
            (1, "1"),
            (True, 1),
            (UNDEF, None),
            (None, UNDEF),
            (math.nan, 1),
            (1, math.nan),
            ({}, {}),
            (b"a", b"b"),
        ],
        *[([1], ["1"]), (Ref("a"), Ref("b")), (Ref("a"), "a"), (Case("a"), Case("b")), (UNDEF, UNDEF)],
    ],
)
def test_what_does_not_compare(a: Any, b: Any) -> None:
    assert compare(a, b) is UNDEF


@given(values(), values())
def test_order_is_antisymmetric(a: Any, b: Any) -> None:
    forward, backward = compare(a, b), compare(b, a)
    if isinstance(forward, Undef):
        assert backward is UNDEF
    else:
        assert backward == -forward


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "x" * 1_000,
        [[]] * 900,
        {"a": [1, {"b": b"c"}]},
        {f"k{n}": n for n in range(500)},
        Case("c", [1]),
        {},
        {"a": 1, "b": "x" * 1_000},
        {1: 2, ("a",): None},
    ],
)
def test_what_is_small(value: Any) -> None:
    assert not is_large(value)


def test_what_is_large() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    for value in (
        [None] * 10_000_000,
        {n: n for n in range(5_000)},
        ["x" * 1_000] * 500,
        {"k" * 300_000: 1},
        {"a": 1, "b": "x" * 300_000},
        {"a": 1, "b": [None] * 5_000},
        {1: [None] * 5_000},
        b"x" * 300_000,
        Case("c", [[1] * 1_500] * 2),
        deep,
        endless,
    ):
        assert is_large(value)
