"""Types: from annotations and texts, back to texts and JSON Schema, and hostile texts and values."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, Literal, NotRequired, Optional, Required, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    UnknownField,
    from_annotation,
    json_schema,
)
from mixkit.schema_text import TypeTextError, parse, parse_params
from mixkit.testing.strategies import identical, texts, values
from mixkit.value import Case, Ref, Token, Value, kind_of

SCALARS = [
    ScalarType(n)
    for n in ("data", "null", "bool", "int", "number", "string", "binary", "ref", "token", "case")
]

types: st.SearchStrategy[Type] = st.recursive(
    st.sampled_from(SCALARS) | st.lists(texts, min_size=1, max_size=3).map(lambda t: LiteralType(tuple(t))),
    lambda inner: st.one_of(
        inner.map(ArrayType),
        inner.map(MapType),
        st.lists(inner, min_size=2, max_size=3).map(lambda o: UnionType(tuple(o))),
        st.builds(
            RecordType,
            st.dictionaries(texts, st.builds(Field, inner, st.booleans()), max_size=3),
            st.booleans(),
        ),
    ),
    max_leaves=8,
)


@given(type=types)
def test_the_text_of_a_type_parses_to_the_same_text(type: Type) -> None:
    assert str(parse(str(type))) == str(type)


@given(type=types, value=values(undef=False, tokens=True))
def test_a_converter_answers_a_value_or_a_mismatch(type: Type, value: Any) -> None:
    try:
        found = converter(type)(value)
    except Mismatch as exc:
        assert exc.expected and exc.found
        assert type != ANY
    else:
        assert identical(found, value) or kind_of(found) != kind_of(value) or isinstance(value, dict | list)


@given(options=st.lists(types, min_size=1, max_size=4), value=values(undef=True, tokens=True))
def test_a_union_converts_as_its_first_option_that_fits(options: list[Type], value: Any) -> None:
    def first() -> Any:
        for option in options:
            try:
                return [converter(option)(value)]
            except Mismatch:
                continue
        return []

    try:
        found = [converter(UnionType(tuple(options)))(value)]
    except Mismatch:
        found = []
    assert identical(found, first())


@given(type=types)
def test_json_schema_is_plain_and_without_references(type: Type) -> None:
    import json

    assert "$ref" not in json.loads(json.dumps(json_schema(type)))


# -- annotations ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Address:
    city: Annotated[str, "Where."]
    tags: list[str] = dataclasses.field(default_factory=list)
    made: int = dataclasses.field(init=False, default=7)


class Point(TypedDict):
    x: float
    label: NotRequired[Annotated[str, "What stands beside it."]]


class Loose(TypedDict, total=False):
    x: Required[float]
    y: float


class Span(msgspec.Struct):
    begin: int
    end: Annotated[int, "Behind the last."] = 0

    def __post_init__(self) -> None:
        if self.end < 0:
            raise ValueError("end is not negative")


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Any, "data"),
        (Value, "data"),
        (Value | None, "data"),
        (None, "null"),
        (bool, "bool"),
        (int, "int"),
        (float, "number"),
        (str, "string"),
        (bytes, "binary"),
        (Ref, "ref"),
        (Token, "token"),
        (Case, "case"),
        (list, "array(data)"),
        (dict, "map(data)"),
        (list[int], "array(int)"),
        (dict[str, list[Value]], "map(array(data))"),
        (int | None, "int | null"),
        (Optional[int], "int | null"),  # noqa: UP045
        (Literal["a", 1, True], '"a" | 1 | true'),
        (Annotated[int, "a number"], "int"),
        (Annotated[int, ["unhashable"]], "int"),
        (Address, "{city: string, tags?: array(string)}"),
        (list[Address], "array({city: string, tags?: array(string)})"),
        (Point, "{x: number, label?: string}"),
        (Loose, "{x: number, y?: number}"),
        (Span | None, "{begin: int, end?: int} | null"),
    ],
)
def test_annotations(annotation: Any, text: str) -> None:
    assert str(from_annotation(annotation)) == text


@dataclasses.dataclass
class Tree:
    children: list[Tree]


class Renamed(msgspec.Struct, rename="camel"):
    one_name: int


def test_typed_dicts_and_structs_are_records() -> None:
    point = converter(from_annotation(list[Point]))
    assert point([{"x": 1, "label": "a"}, {"x": 2.5}]) == [{"x": 1, "label": "a"}, {"x": 2.5}]
    for wrong, message in (
        ({"x": 1, "lable": "a"}, r"found key 'lable' at \[0\]; did you mean 'label'\?"),
        ({"x": 1, "label": None}, r"expected string, found null at \[0\]\.label"),
        ({}, r"expected number, found nothing at \[0\]\.x"),
    ):
        with pytest.raises(Mismatch, match=message):
            point([wrong])
    span = from_annotation(Span)
    assert converter(span)({"begin": 1}) == Span(1, 0)
    with pytest.raises(Mismatch, match="end is not negative"):
        converter(span)({"begin": 1, "end": -1})
    leaving = converter(span, out=True)
    assert leaving(Span(1, 2)) == leaving({"begin": 1, "end": 2}) == {"begin": 1, "end": 2}
    with pytest.raises(Mismatch, match=r"expected int, found string at \.begin"):
        leaving(Span("1"))  # type: ignore[arg-type]
    assert json_schema(span)["properties"]["end"] == {"type": "integer", "description": "Behind the last."}
    with pytest.raises(TypeError, match="renames its field 'one_name'"):
        from_annotation(Renamed)


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "annotation",
    [
        set,
        complex,
        object,
        tuple[int, int],
        dict[int, str],
        list[set[int]],
        Tree,
        Colour,
        Literal[None],
        Literal[b"x"],
    ],
)
def test_annotations_without_a_counterpart(annotation: Any) -> None:
    with pytest.raises(TypeError):
        from_annotation(annotation)


def test_a_dataclass_is_made() -> None:
    convert = converter(from_annotation(list[Address]))
    assert convert([{"city": "Rome"}]) == [Address("Rome")]
    with pytest.raises(Mismatch, match=r"expected string, found int 1 at \[0\]\.tags\[1\]"):
        convert([{"city": "Rome", "tags": ["a", 1]}])
    with pytest.raises(Mismatch, match="found key 'made'"):
        convert([{"city": "Rome", "made": 1}])
    schema = json_schema(from_annotation(Address))
    assert schema["properties"]["city"] == {"type": "string", "description": "Where."}
    assert schema["required"] == ["city"] and schema["additionalProperties"] is False


# -- conversion -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "expected"), [(1, 1), (1.0, 1), (-0.0, 0), (-(2.0**63), -(2**63))])
def test_whole_numbers_are_ints(value: Any, expected: int) -> None:
    assert identical(converter(ScalarType("int"))(value), expected)


@pytest.mark.parametrize("value", [True, 1.5, 2.0**63, 1e300, float("inf"), float("nan"), "1", None])
def test_other_things_are_no_ints(value: Any) -> None:
    with pytest.raises(Mismatch, match="expected int"):
        converter(ScalarType("int"))(value)


def test_a_union_reports_the_option_that_came_furthest() -> None:
    convert = converter(parse("{kind: string, items: array(int)} | string"))
    with pytest.raises(Mismatch, match=r"expected int, found string at \.items\[1\]"):
        convert({"kind": "a", "items": [1, "x"]})
    with pytest.raises(Mismatch, match=r"expected \{kind.* \| string, found int 1"):
        convert(1)


def test_literals_keep_kinds_apart() -> None:
    convert = converter(LiteralType((1, "a", True)))
    assert [convert(v) for v in (1, "a", True)] == [1, "a", True]
    for wrong in (1.0, False, "b", None, [1], b"a"):
        with pytest.raises(Mismatch):
            convert(wrong)


def test_messages_stay_short_and_hide_contents() -> None:
    convert = converter(parse('"a" | "b"'))
    with pytest.raises(Mismatch) as caught:
        convert("x" * 1_000_000)
    assert len(str(caught.value)) < 200
    convert = converter(parse("map(int)"))
    with pytest.raises(Mismatch) as caught:
        convert({"k" * 1_000_000 + "\n": "s3cret"})
    assert len(str(caught.value)) < 300 and "s3cret" not in str(caught.value)
    with pytest.raises(Mismatch) as caught:
        convert({"evil\nline": Token("s3cret")})
    assert str(caught.value) == r'expected int, found token at ["evil\nline"]'


def test_open_and_closed_records() -> None:
    open_type = parse("{a: int, ...}")
    assert converter(open_type)({"a": 1.0, "b": "kept"}) == {"a": 1, "b": "kept"}
    assert json_schema(open_type)["additionalProperties"] is True
    assert converter(parse("{...}"))({"b": 1}) == {"b": 1}
    closed = parse("{timeout: int, inner?: {urls: data}}")
    assert json_schema(closed)["additionalProperties"] is False
    for value, message in (
        (
            {"timeuot": 1},
            "expected one of the keys timeout, inner, found key 'timeuot'; did you mean 'timeout'?",
        ),
        (
            {"TIMEOUT": 1},
            "expected one of the keys timeout, inner, found key 'TIMEOUT'; did you mean 'timeout'?",
        ),
        ({"zz": 1}, "expected one of the keys timeout, inner, found key 'zz'"),
        (
            {"inner": {"url": 1}},
            "expected one of the keys urls, found key 'url' at .inner; did you mean 'urls'?",
        ),
    ):
        with pytest.raises(UnknownField) as caught:
            converter(closed)(value)
        assert str(caught.value) == message
    with pytest.raises(UnknownField, match="expected no keys, found key 'a'"):
        converter(parse("{}"))({"a": 1})
    with pytest.raises(Mismatch, match=r"expected int, found nothing at \.a"):
        converter(open_type)({})


# -- texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("word", "int"),
        ("any", "data"),
        ("array", "array(data)"),
        ("map", "map(data)"),
        ("option(string)", "string | null"),
        (' "a"|"b" ', '"a" | "b"'),
        ("{}", "{}"),
        ("{a:int,}", "{a: int}"),
        ('{"odd key"?: int, b : array( map (null) )}', '{"odd key"?: int, b: array(map(null))}'),
        (r'"a\"b\\"', r'"a\"b\\"'),
        ("{urls: array(string), timeout?: number}", "{urls: array(string), timeout?: number}"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a type, found the end at column 1"),
        ("strin", "unknown type 'strin'"),
        ("int int", "expected the end of the text at column 4"),
        ("array(int", r"expected \), found the end"),
        ("{a int}", "expected :, found int"),
        ("{a: int b: int}", "expected ,, found b"),
        ("{a: int, a: int}", "field 'a' stands twice"),
        ('{"a": int, a: int}', "field 'a' stands twice"),
        ("{: int}", "expected a field name, found ':'"),
        ("int |", "found the end"),
        ("$x", r"found \$"),
        ("é", "found é"),
        ('"open', 'found "'),
        ("{..., a: int}", "expected }, found ,"),
        ("...", "unknown type '...'"),
        (r'"\x"', "expected a string as JSON writes it"),
        (r'"\ud800"', "expected a string as JSON writes it"),
        ("array(" * 40 + "int" + ")" * 40, "nesting above 32"),
        ("x" * 10_001, "at most 10000 characters"),
    ],
)
def test_malformed_texts(text: str, message: str) -> None:
    with pytest.raises(TypeTextError, match=message) as caught:
        parse(text)
    assert len(str(caught.value)) < 1_000


@given(text=st.text('arymp({})[]:,?|"\\ int\n', max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse(text)
    except TypeTextError as exc:
        assert 1 <= exc.column <= len(text) + 1


def test_parameters() -> None:
    expected = "{urls: array(string), timeout?: number}"
    assert str(parse_params({"urls": "array(string)", "timeout?": "number"})) == expected
    assert str(parse_params(expected)) == expected
    assert str(parse_params({"a": "int", "...": "data"})) == "{a: int, ...}"
    for wrong, message in (
        ({"a": "int", "a?": "int"}, "parameter 'a' stands twice"),
        ({"...": "int"}, "parameters that are not named"),
        ({"a": 1}, "the type of 'a' is a text"),
        ("int", "a record"),
        (["int"], "a map of names"),
        (None, "a map of names"),
    ):
        with pytest.raises(TypeTextError, match=message):
            parse_params(wrong)
