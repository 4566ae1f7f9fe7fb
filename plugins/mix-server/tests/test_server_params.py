"""Texts that become parameters: what fits, what is refused, and that nothing else can happen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_server.errors import BadRequest
from mix_server.params import from_texts, read_body, read_query

from mixkit import tagged_json
from mixkit.converter import converter
from mixkit.errors import TaggedJSONError
from mixkit.schema import ANY, Mismatch
from mixkit.schema_text import parse, parse_params
from mixkit.value import Case, Ref, check

TYPES = [
    "int", "number", "bool", "null", "string", "data", "binary", "ref", "case", "array(int)", "array(data)", "map(int)",
    "int | null", "string | int", "array(int) | int", '"a" | "b"', "array(array(int))", "{x: int}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("type", "texts", "value"),
    [
        ("int", ["-5"], -5),
        ("int", ["5.0"], 5.0),
        ("number", ["1e3"], 1000.0),
        ("bool", ["false"], False),
        ("null", [""], None),
        ("string", ["5"], "5"),
        ("data", ["5"], "5"),
        ("ref", ["id-1"], Ref("id-1")),
        ("case", ['{"_rmx_type": "{tag}case:ok", "_rmx_value": 1}'], Case("ok", 1)),
        ("array(int)", ["1", "2"], [1, 2]),
        ("array(int)", ["1"], [1]),
        ("array(int)", ["[1, 2]"], [1, 2]),
        ("map(int)", ['{"a": 1}'], {"a": 1}),
        ("string | int", ["5"], 5),
        ("string | int", ["five"], "five"),
        ("int | null", ["null"], None),
        ('"a" | "b"', ["b"], "b"),
        ("bool", ["on"], True),
        ("bool | null", ["on"], True),
        ("bool | string", ["on"], "on"),
        ("string", ["[draft"], "[draft"),
        ("data", ["[1]"], "[1]"),
        ("array(string)", ["[draft]"], ["[draft]"]),
        ("array(string)", ['["a"]', "b"], ['["a"]', "b"]),
        ("array(string | int)", ["[draft"], ["[draft"]),
        ('array("[a" | "b")', ["[a"], ["[a"]),
        ("array(int) | string", ["[draft"], "[draft"),
    ],
)
def test_texts_become_what_the_entry_takes(type: str, texts: list[str], value: Any) -> None:
    found = from_texts([("k", text) for text in texts], parse_params({"k": type}))
    assert repr(found) == repr({"k": value})


@pytest.mark.parametrize(
    ("type", "texts"),
    [
        ("int", ["x"]), ("int", [""]), ("int", [" 1"]), ("int", ["1_0"]), ("int", ["٣"]), ("int", ["9" * 30]),
        ("int", ["1.5"]), ("int", ["1", "2"]), ("number", ["nan"]), ("number", ["Infinity"]), ("number", ["0x1"]),
        ("bool", ["1"]), ("bool", ["True"]), ("null", ["x"]), ("array(int)", ["1", "x"]), ('"a" | "b"', ["c"]),
        ("map(int)", ["{"]), ("binary", ["x"]),
    ],
)  # fmt: skip
def test_texts_that_do_not_fit(type: str, texts: list[str]) -> None:
    with pytest.raises((Mismatch, BadRequest, TaggedJSONError)):
        from_texts([("k", text) for text in texts], parse_params({"k": type}))


@pytest.mark.parametrize("type", TYPES)
def test_an_optional_field_that_was_left_empty_is_none_unless_it_may_be_empty(type: str) -> None:
    taken = {
        "string": "",
        "data": "",
        "null": None,
        "int | null": None,
        "string | int": "",
        "array(data)": [""],
    }
    expected = {"k": taken[type]} if type in taken else {}
    assert from_texts([("k", "")], parse_params({"k?": type})) == expected


@pytest.mark.parametrize("type", ["int", "number", "bool", '"a" | "b"', "map(int)", "{x: int}", "array(int)"])
def test_a_required_field_that_was_left_empty_is_refused(type: str) -> None:
    with pytest.raises((Mismatch, TaggedJSONError)):
        from_texts([("k", "")], parse_params({"k": type}))


async def read_form(body: bytes, types: dict[str, str]) -> Any:
    class Form:
        content_type = "application/x-www-form-urlencoded"

        def body_at_hand(self, limit: int) -> bytes:
            return body

    return (await read_body(Form(), parse_params(types), 1000, 1.0, 1_000))[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("name=José", {"name": "José"}),
        ("name=%4Aos%C3%A9 José+x", {"name": "José José x"}),
        ("ключ=знач", {"ключ": "знач"}),
        ("\N{BYTE ORDER MARK}name=a", {"name": "a"}),
        ("a=😀&b=%F0%9F%98%80", {"a": "😀", "b": "😀"}),
    ],
)
async def test_a_form_is_utf8(body: str, found: Any) -> None:
    assert await read_form(body.encode(), {}) == found


@pytest.mark.parametrize("body", [b"name=Jos\xe9", b"name=Jos%E9", b"\xff\xfen\0=\0a\0", b"a=%C3\xa9"])
async def test_a_form_in_another_charset_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        await read_form(body, {})


async def test_a_form_says_by_nothing_that_a_checkbox_is_not_ticked() -> None:
    types = {"must": "bool", "may?": "bool", "n?": "int"}
    assert await read_form(b"n=", types) == {"must": False}
    assert await read_form(b"must=on&may=on&n=1", types) == {"must": True, "may": True, "n": 1}
    assert read_query("n=1", parse_params(types)) == {"n": 1}


def test_an_error_says_where_and_not_too_much() -> None:
    with pytest.raises(Mismatch, match=r"expected int, found the text 'x+' at \.k") as caught:
        from_texts([("k", "x" * 100_000)], parse_params({"k": "int"}))
    assert len(str(caught.value)) < 200


def test_the_timeout_is_the_servers() -> None:
    assert read_query("timeout=5&a=1&timeout=6", ANY) == {"a": "1"}


@given(
    type=st.sampled_from(TYPES),
    texts=st.lists(
        st.text() | st.sampled_from(["1", "[1]", "null", "true", "{}", '"a"', "[[", "-"]), min_size=1
    ),
)
def test_any_texts_fit_or_are_refused(type: str, texts: list[str]) -> None:
    types = parse_params({"k": type})
    try:
        found = from_texts([("k", text) for text in texts], types)
    except (Mismatch, BadRequest, TaggedJSONError):
        return
    try:
        check(found)
    except ValueError:
        return
    # What came out as a simple type passes the entry's own check.
    if type in ("int", "number", "bool", "null", "string", "data", "ref"):
        converter(types)(found)


@given(st.binary(max_size=200))
def test_any_query_string_is_read_or_refused(query: bytes) -> None:
    try:
        found = read_query(query.decode("latin-1"), parse("{a: int, b: array(string)}"))
    except (Mismatch, BadRequest, TaggedJSONError):
        return
    tagged_json.dumps(found)
