"""Answers to forms."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mixkit.answers import check_answer, check_form
from mixkit.errors import FFIError

FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "share": {"type": "number", "maximum": 1},
        "sure": {"type": "boolean"},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "size": {"oneOf": [{"const": "s", "title": "Small"}, {"const": "l", "title": "Large"}]},
        "tags": {"type": "array", "maxItems": 2, "items": {"anyOf": [{"const": "a"}, {"const": "b"}]}},
        "any": {},
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    "answer",
    [
        {"name": "Ada"},
        {"name": "Ada", "age": 0, "share": 1, "sure": False, "color": "red", "size": "l", "tags": ["a", "b"]},
        {"name": "Ada", "share": 0.5, "tags": [], "any": [{"x": None}], "more": 1},
    ],
)
def test_an_answer(answer: Any) -> None:
    check_form(FORM)
    check_answer(FORM, answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "expected a map of answers, found None"),
        ([], "expected a map"),
        ({}, "expected an answer for 'name', found none"),
        ({"name": None}, "expected string for 'name', found None"),
        ({"name": "A"}, "expected at least 2 characters for 'name', found 1"),
        ({"name": "A" * 1000}, "expected at most 5 characters for 'name', found 1000"),
        ({"name": "Ada", "age": True}, "expected integer for 'age', found True"),
        ({"name": "Ada", "age": 1.5}, "expected integer for 'age'"),
        ({"name": "Ada", "age": -1}, "expected at least 0 for 'age', found -1"),
        ({"name": "Ada", "share": math.nan}, "expected at most 1 for 'share', found nan"),
        ({"name": "Ada", "sure": 1}, "expected boolean for 'sure'"),
        ({"name": "Ada", "color": "green"}, "expected one of 'red', 'blue' for 'color', found 'green'"),
        ({"name": "Ada", "size": "m"}, "expected one of 's', 'l' for 'size'"),
        ({"name": "Ada", "tags": ["a", "c"]}, r"expected one of 'a', 'b' for 'tags'\[1\], found 'c'"),
        ({"name": "Ada", "tags": ["a", "a", "a"]}, "expected at most 2 items for 'tags', found 3"),
    ],
)
def test_what_is_no_answer_says_why(answer: Any, message: str) -> None:
    with pytest.raises(FFIError, match=message):
        check_answer(FORM, answer)


def test_a_closed_form_takes_no_other_names() -> None:
    with pytest.raises(FFIError, match="found 'nmae'; did you mean 'name'"):
        check_answer({**FORM, "additionalProperties": False}, {"name": "Ada", "nmae": 1})


@pytest.mark.parametrize(
    "schema",
    [
        None, [], {}, {"properties": []}, {"properties": {"a": True}}, {"properties": {}, "required": "a"},
        {"properties": {}, "required": [["a"]]},
    ],
)  # fmt: skip
def test_what_is_no_form(schema: Any) -> None:
    with pytest.raises(FFIError, match="expected a JSON Schema of an object with properties"):
        check_form(schema)
