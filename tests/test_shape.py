"""Shapes: what fits one is what its type's converter leaves as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixkit import codec
from mixkit.converter import converter
from mixkit.schema import (
    ANY,
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
from mixkit.shape import shape
from mixkit.testing.strategies import identical, values
from mixkit.value import Case

_forms = pytest.importorskip("mixkit._forms", reason="the extensions were not built here")

_names = st.sampled_from(["a", "b", "ab", "é", "", "note"])
_scalars = st.sampled_from(["data", "null", "bool", "int", "number", "string", "ref", "binary", "case"]).map(
    ScalarType
)
_literals = st.lists(st.sampled_from([1, 2, True, "a", "b", ""]), min_size=1, max_size=3).map(
    lambda found: LiteralType(tuple(found))
)
_types: st.SearchStrategy[Type] = st.recursive(
    _scalars | _literals,
    lambda part: (
        part.map(ArrayType)
        | part.map(MapType)
        | st.lists(part, min_size=1, max_size=3).map(lambda found: UnionType(tuple(found)))
        | st.builds(
            RecordType,
            st.dictionaries(_names, st.builds(Field, part, st.booleans()), max_size=4),
            st.booleans(),
        )
    ),
    max_leaves=8,
)
_near = st.recursive(
    st.sampled_from([None, True, 0, 1, 2, 2**40, 1.0, 1.5, "a", "b", "", b"x"]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(_names, part, max_size=4),
    max_leaves=8,
)


def taken_as_it_is(type: Type, value: Any) -> bool:
    try:
        return identical(converter(type)(value), value)
    except Mismatch:
        return False


def has_floats(value: Any) -> bool:
    match value:
        case float():
            return True
        case list():
            return any(map(has_floats, value))
        case dict():
            return any(map(has_floats, value.values()))
        case Case():
            return has_floats(value.arg)
    return False


@settings(max_examples=500)
@given(_types, values(undef=False) | _near)
def test_what_fits_is_what_the_converter_leaves_as_it_is(type: Type, value: Any) -> None:
    found = shape(type)
    if found is None:
        return
    if _forms.fits(codec.encode(value), found):
        assert taken_as_it_is(type, value)
    elif not has_floats(value):
        # Of a float that an int would change if it were whole, only Python says whether it is.
        assert not taken_as_it_is(type, value)


@pytest.mark.parametrize(
    ("type", "value", "fits"),
    [
        (ScalarType("int"), 1, True),
        (ScalarType("int"), 1.0, False),
        (UnionType((ScalarType("int"), ScalarType("number"))), 1.0, False),
        (UnionType((ScalarType("number"), ScalarType("int"))), 1.0, True),
        (UnionType((ANY, ScalarType("int"))), 1.0, True),
        (UnionType((UnionType((ScalarType("int"), ScalarType("null"))), ScalarType("number"))), 1.0, False),
        (UnionType((ScalarType("string"), ScalarType("null"))), None, True),
        (RecordType({"a": Field(ANY), "b": Field(ANY, True)}), {"a": 1}, True),
        (RecordType({"a": Field(ANY), "b": Field(ANY, True)}), {"b": 1}, False),
        (RecordType({"a": Field(ANY)}), {"a": 1, "c": 2}, False),
        (RecordType({"a": Field(ANY)}, open=True), {"Z": [1, {"x": 2}], "a": 1, "c": {"d": "e"}}, True),
        (RecordType({}), {}, True),
        (ArrayType(LiteralType(("on", 1, False))), ["on", 1, False], True),
        (ArrayType(LiteralType(("on", 1, False))), [True], False),
    ],
)  # fmt: skip
def test_cases(type: Type, value: Any, fits: bool) -> None:
    found = shape(type)
    assert found is not None
    assert _forms.fits(codec.encode(value), found) is fits is taken_as_it_is(type, value)


@pytest.mark.parametrize(
    "type",
    [
        ScalarType("token"),
        UnionType((ArrayType(ScalarType("int")), ArrayType(ScalarType("number")))),
        ArrayType(UnionType((MapType(ScalarType("int")), ScalarType("null")))),
    ],
)
def test_some_types_have_none(type: Type) -> None:
    assert shape(type) is None


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (ANY, {"a": ["text", 1.5, 1 << 40], "b": Case("ok", [True])}),
        (ArrayType(MapType(ScalarType("int"))), [{"a": 1}, {"b": 2, "c": 1 << 40}]),
        (RecordType({"a": Field(ScalarType("string")), "b": Field(ANY)}, open=True), {"a": "x", "b": [], "c": b"y"}),
        (LiteralType(("on", "off")), "on"),
    ],
)  # fmt: skip
def test_words_that_are_not_as_long_as_they_say_fit_nothing(type: Type, value: Any) -> None:
    words = codec.encode(value)
    found = shape(type)
    assert found is not None
    assert _forms.fits(words, found)
    for end in range(0, len(words), 4):
        # A bytes object of that size, so that what lies behind it is not the rest.
        assert not _forms.fits(words[:end], found)
    assert not _forms.fits(words + b"\x01\0\0\0", found)
