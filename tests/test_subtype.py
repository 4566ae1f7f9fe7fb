"""Subtypes: what fits by description fits by value, and a misfit says where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit.converter import converter
from mixkit.schema import (
    ArrayType,
    Field,
    LiteralType,
    MapType,
    Mismatch,
    RecordType,
    ScalarType,
    Type,
    UnionType,
)
from mixkit.schema_text import parse
from mixkit.subtype import Misfit, misfit

names = st.sampled_from("ab")
types: st.SearchStrategy[Type] = st.recursive(
    st.sampled_from([ScalarType(name) for name in ("null", "bool", "int", "number", "string")])
    | st.lists(names, min_size=1, max_size=2).map(lambda found: LiteralType(tuple(found))),
    lambda inner: st.one_of(
        inner.map(ArrayType),
        inner.map(MapType),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: UnionType(tuple(options))),
        st.dictionaries(names, st.builds(Field, inner, st.booleans()), max_size=2).map(RecordType),
    ),
    max_leaves=4,
)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.sampled_from([1, 1.0, 1.5]) | names,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


def accepts(type: Type, value: Any) -> bool:
    try:
        converter(type)(value)
    except Mismatch:
        return False
    return True


@given(narrow=types, wide=types, value=plain)
def test_what_fits_is_accepted(narrow: Type, wide: Type, value: Any) -> None:
    if misfit(narrow, wide) is None and accepts(narrow, value):
        assert accepts(wide, value)


@given(type=types)
def test_a_type_fits_itself_and_anything(type: Type) -> None:
    assert misfit(type, type) is None
    assert misfit(type, parse("data")) is None and misfit(parse("data"), type) is None
    assert misfit(type, UnionType((ScalarType("ref"), type))) is None


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("int", "number"),
        ('"a"', "string"),
        ('"a" | "b"', '"a" | "b" | "c"'),
        ('"a" | int', "string | number"),
        ("{a: int}", "{a: number, b?: string}"),
        ("{a: int}", "map(int)"),
        ("{a: int, b: string}", "{a: int, ...}"),
        ("{...}", "{a?: int, ...}"),
        ("array({a: data})", "array({a: int})"),
        ("array", "array(int)"),
    ],
)
def test_what_fits(narrow: str, wide: str) -> None:
    assert misfit(parse(narrow), parse(wide)) is None


@pytest.mark.parametrize(
    ("narrow", "wide", "problem"),
    [
        ("number", "int", Misfit("", "number", "int")),
        ("string", '"a"', Misfit("", "string", '"a"')),
        ("int | string", "int", Misfit("", "string", "int")),
        ("array({a: string})", "array({a: int})", Misfit("[].a", "string", "int")),
        ("map(string)", "map(int)", Misfit(".*", "string", "int")),
        ("{a: string}", "map(int)", Misfit(".a", "string", "int")),
        ("{a?: int}", "{a: int}", Misfit(".a", "int, which may be missing", "int, which may not")),
        ("{}", "{a: int}", Misfit(".a", "nothing", "int, which may not be missing")),
        ("{b: int}", "{a?: int}", Misfit(".b", "int", "no such key")),
        ("{...}", "{}", Misfit("", "{...}, which takes more keys", "{}, which does not")),
        ("map(int)", "{a: int}", Misfit("", "map(int)", "{a: int}")),
    ],
)
def test_what_does_not_fit(narrow: str, wide: str, problem: Misfit) -> None:
    assert misfit(parse(narrow), parse(wide)) == problem
