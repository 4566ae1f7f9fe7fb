"""Texts that become parameters: what fits, what is refused, and that nothing else can happen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_server.errors import BadRequest
from mix_server.params import from_texts, read_query

from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.schema import ANY, Mismatch, converter
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
