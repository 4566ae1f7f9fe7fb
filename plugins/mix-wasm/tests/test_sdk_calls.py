"""What a guest in C can do with memory, host calls and wrong use, as its author and its host see it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from mixkit import codec
from mixkit.value import Case, Token

MIB = 1 << 20


@pytest.fixture
def guest(make_guest: Callable[[str], Any]) -> Any:
    return make_guest("calls")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_ffi_gets_an_array_of_its_arguments(guest: Any) -> None:
    guest.ffis["$test"] = lambda *args: list(args)
    assert guest.call("ffi", [1, {"a": [None]}, "x"]) == [1, {"a": [None]}, "x"]
    assert guest.call("ffi", []) == []


def test_ffi_macro_takes_any_number_of_arguments(guest: Any) -> None:
    calls = []
    guest.ffis["$add"] = lambda a, b: a + b
    guest.ffis["$none"] = lambda *args: calls.append(args)
    assert guest.call("add", {"a": 40}) == 42
    assert calls == [()]


def test_result_is_unwrapped_or_panics(guest: Any, panic: type[Exception]) -> None:
    guest.ffis["$result"] = lambda: Case("ok", [1])
    assert guest.call("result") == [1]
    guest.ffis["$result"] = lambda: Case("error", "no such record")
    with pytest.raises(panic, match=r"^no such record$"):
        guest.call("result")


@pytest.mark.parametrize("answer", [b"", b"\1", b"\xff\0\0\0", b"\1\0\0\0\1\0\0\0"])
def test_unreadable_answer_of_the_host_is_a_panic(guest: Any, panic: type[Exception], answer: bytes) -> None:
    guest.ffis["$test"] = lambda: bytearray(answer)
    with pytest.raises(panic, match=r"^\$test cannot be read: "):
        guest.call("ffi", [])


def test_texts_stand_in_the_order_of_their_code_points(guest: Any) -> None:
    texts = sorted(
        [
            "",
            "a",
            "a",
            "ab",
            "b",
            "B",
            "\0",
            "a\0",
            "é",
            "\u007f",
            "\ud7ff",
            "\ue000",
            "\uffff",
            "😀",
            "z" * 99,
        ]
    )
    expected = [(a > b) - (a < b) for a, b in itertools.pairwise(texts)]
    assert guest.call("order", texts) == expected
    assert guest.call("order", texts[::-1]) == [-sign for sign in expected[::-1]]


def test_token_passes_through(guest: Any) -> None:
    words = codec.encode([Token("secret")], token=lambda token: b"handle")
    seen = []
    guest.ffis["$test"] = lambda token: seen.append(token.reveal())
    guest.call_words("ffi", words)
    assert seen == [b"handle"]


def test_memory_of_a_call_is_used_again(guest: Any) -> None:
    text = "x" * MIB
    guest.ffis["$test"] = lambda argument: argument
    assert guest.call("ffi", [text]) == text
    pages = guest.pages
    for _ in range(50):
        assert guest.call("ffi", [text]) == text
    assert guest.pages == pages


def test_small_calls_do_not_grow_the_memory(guest: Any) -> None:
    pages = guest.pages
    for _ in range(100):
        guest.call("fields", {"text": "t" * 1000, "int": 1, "number": 2})
    assert guest.pages == pages <= 20


def test_scopes_give_memory_back(guest: Any) -> None:
    guest.ffis["$large"] = lambda: b"x" * MIB
    assert guest.call("loop", 1) == MIB
    pages = guest.pages
    assert guest.call("loop", 200) == 200 * MIB
    assert guest.pages == pages


@pytest.mark.parametrize("most", [1, 100, 5_000, 70_000, 300_000])
def test_blocks_never_overlap(guest: Any, most: int) -> None:
    for _ in range(3):
        assert guest.call("blocks", most) is None


def test_environment_outlives_calls(guest: Any) -> None:
    assert guest.call("env") is None
    guest.export("mix_init", *guest.push(codec.encode({"user": "u" * 1000})))
    for _ in range(20):
        guest.call("fields", {"text": "t" * 5000, "int": 1, "number": 2})
        assert guest.call("env") == {"user": "u" * 1000}


def test_fields(guest: Any) -> None:
    answer = guest.call("fields", {"text": "é", "int": 3.0, "number": 4, "a": {"b": 5}, "flag": False})
    assert answer == {"text": "é", "int": 3, "number": 4.0, "deep": 5, "flag": False}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (None, 'field "text": expected string, found undefined'),
        ({"text": "", "int": 3.5}, 'field "int": expected int, found number'),
        ({"text": "", "int": 2.0**63}, 'field "int": expected int, found number'),
        ({"text": "", "int": float("nan")}, 'field "int": expected int, found number'),
        ({"text": "", "int": 1, "number": "1"}, 'field "number": expected number, found string'),
    ],
)
def test_missing_field_is_a_panic(guest: Any, panic: type[Exception], params: Any, message: str) -> None:
    with pytest.raises(panic) as caught:
        guest.call("fields", params)
    assert str(caught.value) == message


def test_format(guest: Any) -> None:
    assert guest.call("format", {"name": "Zoë"}) == "Zoë has 3, 1.50"


def test_clock_randomness_log(guest: Any) -> None:
    assert guest.call("host") == [True, b"\7\7\7\7"]
    assert guest.logs == [(2, "careful")]


def test_much_randomness_is_asked_for_in_parts(guest: Any) -> None:
    assert guest.call("randomness", 0) == b""
    assert guest.call("randomness", 3 * MIB + 1) == b"\7" * (3 * MIB + 1)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no key", "a value in a map has no key"),
        ("no value", "the last key of a map has no value"),
        ("key key", "a key follows a key"),
        ("twice", "a key stands twice in a map"),
        ("key outside", "a key stands outside of a map"),
        ("two", "a second value follows a finished one"),
        ("end", "mix_end without an open array"),
        ("open", "an array, map or case is still open"),
        ("undefined", "undefined may not be stored"),
        ("case", "a case carries one value"),
        ("latin", "a text is not UTF-8"),
        ("scope", "a value is written outside of the scope"),
        ("left scope", "a value is written outside of the scope"),
        ("scopes", "scopes are left in the reverse order"),
        ("deep", "values are nested more than 256 deep"),
        ("memory", "out of memory"),
        ("huge", "out of memory"),
        ("panic", "on purpose"),
        ("nothing", "nothing was written"),
    ],
)
def test_misuse_is_a_panic_that_says_which(
    guest: Any, panic: type[Exception], what: str, message: str
) -> None:
    with pytest.raises(panic, match=f"^(mix_leave: )?{message}"):
        guest.call("misuse", what)


def test_depth_counts_across_joined_values(guest: Any, panic: type[Exception]) -> None:
    assert guest.call("wrap", nested(255)) == nested(256)
    with pytest.raises(panic, match="nested more than 256 deep"):
        guest.call("wrap", nested(256))


@pytest.mark.parametrize("name", ["", "field", "fieldss", "\0", "x" * 10_000])
def test_unknown_entry(guest: Any, panic: type[Exception], name: str) -> None:
    with pytest.raises(panic, match="no such entry"):
        guest.call(name)


def test_call_inside_a_call_is_refused(guest: Any, panic: type[Exception]) -> None:
    guest.ffis["$test"] = lambda: guest.call("format", {})
    with pytest.raises(panic, match="while another one is at work"):
        guest.call("ffi", [])


def test_direct_export_does_what_mix_call_does(guest: Any) -> None:
    answer = guest.export("mix_entry_format", *guest.push(codec.encode({"name": "A"})))
    assert codec.decode(guest.read(answer >> 32, answer)) == "A has 3, 1.50"


@pytest.mark.parametrize(("shift", "longer"), [(1, 0), (0, -1), (0, -8), (0, 4)])
def test_lying_host_gets_a_panic_not_a_wild_read(
    guest: Any, panic: type[Exception], shift: int, longer: int
) -> None:
    ptr, size = guest.push(codec.encode("12345678"))
    with pytest.raises(panic, match="the parameters cannot be read"):
        guest.export("mix_entry_format", ptr + shift, size + longer)
