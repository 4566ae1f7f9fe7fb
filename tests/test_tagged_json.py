"""Tagged and plain JSON."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.tagged_json import dumps, from_json, loads, to_json
from mixkit.testing.strategies import identical, keys, texts, values
from mixkit.value import MAX_DEPTH, UNDEF, Case, Ref, Token, ok, some

INT64 = st.integers(-(2**63), 2**63 - 1)
json_trees = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda part: st.lists(part, max_size=5) | st.dictionaries(keys, part, max_size=5),
    max_leaves=25,
)


def tagged(tag: str, *value: Any) -> dict[str, Any]:
    """The JSON object of a tag, with `_rmx_value` if one is given."""
    return {"_rmx_type": "{tag}" + tag} | ({"_rmx_value": value[0]} if value else {})


def nested(depth: int, wrap: Any, value: Any = 0) -> Any:
    for _ in range(depth):
        value = wrap(value)
    return value


# ------------------------------------------------------------------------------------------------ round trips


@given(values())
def test_tagged_round_trip(value: Any) -> None:
    text = dumps(value)
    assert identical(loads(text), value)
    assert identical(loads(text.encode()), value)
    assert identical(from_json(json.loads(text)), value)
    assert json.loads(text) == to_json(value)


@given(json_trees)
def test_plain_round_trip(tree: Any) -> None:
    text = dumps(tree, plain=True)
    assert identical(loads(text, plain=True), tree)
    assert identical(json.loads(text), tree)
    assert identical(to_json(tree, plain=True), tree)
    assert identical(from_json(tree, plain=True), tree)


@given(json_trees)
def test_any_json_is_read_alike_by_both_ways_or_refused_by_both(tree: Any) -> None:
    text = json.dumps(tree)
    try:
        value = loads(text)
    except TaggedJSONError as exc:
        with pytest.raises(TaggedJSONError) as caught:
            from_json(tree)
        assert str(caught.value) == str(exc)
    else:
        assert identical(from_json(tree), value)
        assert identical(loads(dumps(value)), value)


_SPELLED_NAMES = st.sampled_from(
    [
        "_rmx_type",
        "_rmx_value",
        "\\u005frmx_type",
        "a",
        "\\u0061",
        "b",
        "é",
        "{tag}",
        '\\"',
        "\\u0022",
        "\\\\",
        "\\n",
    ]
)
_SPELLED: list[str] = [
    '"{tag}case:db.ref"', '"\\u007btag}case:db.ref"', '"{tag}case:ok"', '"{tag}case:"', '"{tag}case:{tag}nan"',
    '"{tag}bin"', '"{tag}nan"', '"{tag}undefined"', '"{tag}x"', '"{str}x"', '"\\u007bstr}x"', '"{ref}x"',
    '"YQ=="', '"a"', '"\\n"', '"\\""', '"\\u0022"', '"\\\\u0022"', '"\\\\"', '"\\/"', '"\\ud83d\\ude00"', '"😀"',
    '"\\ud800"', '"\ud800"', '"\x7f"', '"\x01"', '"\\x"', '"a', '"', "",
    "0", "-0", "-0.0", "1.0", "1E+2", "1.5e-3", "1e999", "1e-999", "01", "1.", "-", "0.1234567890123456789",
    "9223372036854775807", "-9223372036854775808", "9223372036854775808", "99999999999999999999",
    "NaN", "-Infinity", "true", "null", "[", "]", "{}", "1,", "\ufeff1",
    '{"_rmx_type":"{tag}case:db.ref","_rmx_value":"x"}', '{"_rmx_type":"{tag}case:ok","_rmx_value":1}',
    '{"_rmx_type":"person"}',
]  # fmt: skip
_BLANKS = st.sampled_from(["", "", "", " ", "\t", "\r\n", "\x0b"])


def _object(pairs: list[tuple[str, str]], blank: str) -> str:
    return "{" + ",".join(f'"{name}"{blank}:{blank}{part}' for name, part in pairs) + "}"


spelled = st.recursive(
    st.sampled_from(_SPELLED) | json_trees.map(json.dumps) | values().map(dumps),
    lambda part: (
        st.lists(part, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        | st.builds(_object, st.lists(st.tuples(_SPELLED_NAMES, part), max_size=4), _BLANKS)
    ),
    max_leaves=8,
)
"""JSON in the spellings of others, often with something wrong."""


def _carefully(text: str | bytes, *, plain: bool) -> Any:
    return from_json(tagged_json._parse(text, tagged_json._parser), plain=plain)


def _as_read(read: Callable[..., Any], source: str | bytes, plain: bool) -> tuple[Any, str | None]:
    try:
        return read(source, plain=plain), None
    except TaggedJSONError as exc:
        return None, f"{exc.path}: {exc}"


@settings(max_examples=400, deadline=None)
@given(text=spelled, plain=st.booleans())
def test_the_quick_way_reads_what_the_careful_one_does(text: str, plain: bool) -> None:
    sources: list[str | bytes] = [text]
    if not any("\ud800" <= character <= "\udfff" for character in text):
        sources.append(text.encode())
    for source in sources:
        expected, refused = _as_read(_carefully, source, plain)
        found, error = _as_read(loads, source, plain)
        assert (error, identical(found, expected)) == (refused, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":"\\u0022","a":1}', None),
        ('{"a":"x\\u0022","b":1,"b":2}', None),
        ('{"_rmx_type":"\\u007btag}case:db.ref","_rmx_value":"x"}', Ref("x")),
        ('{"\\u005frmx_type":"{tag}case:x"}', Case("x")),
        ('["{tag}",{"_rmx_type":"{tag}nan"}]', ["{tag}", math.nan]),
        ('{"_rmx_type":"{tag}case:a","_rmx_value":{"_rmx_type":"{tag}ref","_rmx_value":"x"}}', Case("a", Ref("x"))),
        ('{"_rmx_type":"{tag}case:{tag}b","_rmx_value":{"_rmx_type":"{str}"}}', Case("{tag}b", {"_rmx_type": ""})),
    ],
)  # fmt: skip
def test_spellings_that_hide_something(text: str, value: Any) -> None:
    if value is None:
        with pytest.raises(TaggedJSONError, match="twice"):
            loads(text)
    else:
        assert identical(loads(text), value)


@given(values())
def test_input_is_left_alone(value: Any) -> None:
    before = repr(value)
    tree = to_json(value)
    shown = repr(tree)
    from_json(tree)
    assert repr(value) == before
    assert repr(tree) == shown


# -------------------------------------------------------------------------------------------------- the table

TABLE: list[tuple[Any, Any]] = [
    (Case("open"), tagged("case:open")),
    (Case(""), tagged("case:")),
    (ok(None), tagged("case:ok", None)),
    (some([1]), tagged("case:some", [1])),
    (Ref("r1"), tagged("case:db.ref", "r1")),
    (b"\x00\xff", tagged("bin", "AP8=")),
    (UNDEF, tagged("undefined")),
    (math.nan, tagged("nan")),
    (math.inf, tagged("posinf")),
    (-math.inf, tagged("neginf")),
    ({"_rmx_type": "{tag}nan"}, {"_rmx_type": "{str}{tag}nan"}),
    ({"_rmx_type": "{str}x", "a": b""}, {"_rmx_type": "{str}{str}x", "a": tagged("bin", "")}),
    ({"_rmx_type": "other"}, {"_rmx_type": "other"}),
    (
        {"_rmx_type": None, "_rmx_value": Ref("a")},
        {"_rmx_type": None, "_rmx_value": tagged("case:db.ref", "a")},
    ),
    ({"_rmx_type": [b""]}, {"_rmx_type": [tagged("bin", "")]}),
    ({"_rmx_value": 1}, {"_rmx_value": 1}),
    ("{tag}nan", "{tag}nan"),
    ("{ref}r1", "{ref}r1"),
    ({"b": 1, "a": [2.0, -0.0, True, "é"]}, {"b": 1, "a": [2.0, -0.0, True, "é"]}),
]


@pytest.mark.parametrize(("value", "tree"), TABLE)
def test_table(value: Any, tree: Any) -> None:
    for shown, whole in ((value, tree), ([{"k": value}], [{"k": tree}])):
        if shown is not value and value is UNDEF:
            continue
        assert identical(to_json(shown), whole)
        assert dumps(shown) == json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        assert identical(loads(json.dumps(whole)), shown)


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        (tagged("ref", "r1"), Ref("r1")),
        (tagged("int", "-9223372036854775808"), -(2**63)),
        (tagged("int", "0"), 0),
        (tagged("float", "0x1.8p+1"), 3.0),
        (tagged("float", "-0x0p0"), -0.0),
        (tagged("str", "{tag}x"), "{tag}x"),
        (tagged("null"), None),
        (tagged("null", None), None),
        (tagged("bool", False), False),
        (tagged("case:ok", tagged("int", "5")), ok(5)),
    ],
)
def test_what_is_read_only(tree: Any, value: Any) -> None:
    assert identical(loads(json.dumps(tree)), value)
    assert identical(loads(json.dumps([tree])), [value])


@pytest.mark.parametrize("tree", [tree for value, tree in TABLE if value is not tree])
def test_plain_interprets_nothing(tree: Any) -> None:
    assert identical(loads(json.dumps(tree), plain=True), tree)
    assert identical(json.loads(dumps(tree, plain=True)), tree)


# ---------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({"items": [0, 1, 2, {"when": Token("hunter2")}]}, "$.items[3].when", "a Token is never serialised"),
        ([Case("db.ref", "x")], "$[0]", "a Case named db.ref"),
        (ok([Case("db.ref")]), "$.ok[0]", "a Case named db.ref"),
        ([object()], "$[0]", "the Python type object is not a Value"),
        ([2**63], "$[0]", "an integer beyond 64 bits"),
        ({"a": UNDEF}, "$.a", "undefined may not be stored"),
        ({"a": "\ud800"}, "$.a", "a lone surrogate U[+]D800"),
        ({"a": {1: 2}}, "$.a", "a map key is a str, not int"),
        ({"a": (1,)}, "$.a", "the Python type tuple"),
        (nested(MAX_DEPTH + 1, ok), "$" + ".ok" * (MAX_DEPTH + 1), "nesting above 256"),
    ],
)
def test_writing_refuses_with_the_path(value: Any, path: str, message: str) -> None:
    for write in (dumps, to_json):
        with pytest.raises(TaggedJSONError, match=message) as caught:
            write(value)
        assert caught.value.path == path
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (UNDEF, "the kind undef"),
        (Ref("a"), "the kind ref"),
        (b"", "the kind binary"),
        (Case("a"), "the kind case"),
        (Token("a"), "a Token is never serialised"),
        (math.nan, "a number that is not finite"),
        (math.inf, "a number that is not finite"),
    ],
)
def test_plain_writing_refuses_what_json_cannot_hold(value: Any, kind: str) -> None:
    for shown, path in ((value, "$"), ({"a": [0, value]}, "$.a[1]")):
        if shown is not value and value is UNDEF:
            continue
        for write in (dumps, to_json):
            with pytest.raises(TaggedJSONError, match=kind) as caught:
                write(shown, plain=True)
            assert caught.value.path == path


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ([tagged("")], "$[0]"),
        ([tagged("INT", "1")], "$[0]"),
        ([tagged("undefined")], "$[0]"),
        ({"a": tagged("undefined")}, "$.a"),
        (tagged("case:ok", tagged("undefined")), "$.ok"),
        (tagged("case:ok", [tagged("nan", 1)]), "$.ok[0]"),
        (tagged("undefined", None), "$"),
        (tagged("case:a") | {"b": 1}, "$.b"),
        (tagged("case:a", 1) | {"odd key": 1}, '$["odd key"]'),
        (tagged("case:db.ref"), "$._rmx_value"),
        (tagged("case:db.ref", 1), "$._rmx_value"),
        (tagged("ref", None), "$._rmx_value"),
        (tagged("bin", "QQ"), "$._rmx_value"),
        (tagged("bin", "QQ==\n"), "$._rmx_value"),
        (tagged("bin", "é"), "$._rmx_value"),
        (tagged("bin", [1]), "$._rmx_value"),
        (tagged("int", 5), "$._rmx_value"),
        (tagged("int", "9223372036854775808"), "$._rmx_value"),
        (tagged("int", "9" * 5000), "$._rmx_value"),
        (tagged("int", "1_0"), "$._rmx_value"),
        (tagged("int", "٣"), "$._rmx_value"),
        (tagged("int", "007"), "$._rmx_value"),
        (tagged("int", " 1"), "$._rmx_value"),
        (tagged("float", "1.5"), "$._rmx_value"),
        (tagged("float", "nan"), "$._rmx_value"),
        (tagged("float", "0x1p99999"), "$._rmx_value"),
        (tagged("str"), "$._rmx_value"),
        (tagged("bool", 1), "$._rmx_value"),
        (tagged("bool", "true"), "$._rmx_value"),
        (tagged("null", 0), "$._rmx_value"),
    ],
)
def test_reading_refuses_bad_tags(tree: Any, path: str) -> None:
    for read, source in ((from_json, tree), (loads, json.dumps(tree))):
        with pytest.raises(TaggedJSONError) as caught:
            read(source)
        assert caught.value.path == path


@pytest.mark.parametrize("plain", [False, True], ids=["tagged", "plain"])
@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("", "$", "expected JSON: Expecting value .line 1, column 1"),
        ("[1", "$", "expected JSON"),
        ("1 2", "$", "Extra data"),
        ("'a'", "$", "expected JSON"),
        ("\ufeff1", "$", "expected JSON"),
        ('"a\nb"', "$", "Invalid control character"),
        (b'"\xff"', "$", "expected UTF-8, found something else at byte 1"),
        (b'"\xed\xa0\x80"', "$", "expected UTF-8"),
        ("[1, NaN]", "$[1]", "NaN is not JSON"),
        ('{"a": -Infinity}', "$.a", "-Infinity is not JSON"),
        ('{"a": [1e400]}', "$.a[0]", "beyond the range of a double"),
        ("[9223372036854775808]", "$[0]", "an integer beyond 64 bits"),
        ("[0, -" + "9" * 10_000 + "]", "$[1]", "an integer beyond 64 bits"),
        ('["\\ud800"]', "$[0]", "a lone surrogate U[+]D800"),
        ('{"x": {"\\udfff": 1}}', "$.x", "a lone surrogate U[+]DFFF"),
        ('["\udc00"]', "$[0]", "a lone surrogate U[+]DC00"),
        ('{"a": {"b": 1, "b": 1}}', "$.a", "found 'b' twice"),
        ('{"a": {"_rmx_type": "{tag}case:x", "_rmx_type": "{tag}case:x"}}', "$.a", "twice"),
        ("[" * 257 + "0" + "]" * 257, "$" + "[0]" * 257, "nesting above 256"),
        ("[" * 1_000_000, "$", "nesting above 256"),
        ('{"a":' * 1_000_000, "$", "nesting above 256"),
    ],
)
def test_reading_refuses_bad_text(text: Any, path: str, message: str, plain: bool) -> None:
    with pytest.raises(TaggedJSONError, match=message) as caught:
        loads(text, plain=plain)
    assert caught.value.path == path


def test_many_keys_with_a_repeated_one_are_refused_in_no_time() -> None:
    text = "{" + ",".join(f'"k{number}":0' for number in range(100_000)) + ',"k99999":0}'
    with pytest.raises(TaggedJSONError, match="found 'k99999' twice"):
        loads(text)


@pytest.mark.parametrize("innermost", [Ref("a"), b"", math.nan, Case("a"), [], {}], ids=repr)
def test_depth_counts_values_not_the_objects_of_tags(innermost: Any) -> None:
    value = nested(MAX_DEPTH, lambda part: [part], innermost)
    assert identical(loads(dumps(value)), value)
    with pytest.raises(TaggedJSONError, match="nesting above 256"):
        loads(f"[{dumps(value)}]")


def test_a_tree_that_is_not_json_is_refused() -> None:
    parts = [(Ref("a"), "kind ref"), (b"", "kind binary"), ((1,), "type tuple"), (UNDEF, "kind undef")]
    for part, message in parts:
        for plain in (False, True):
            for tree, path in ((part, "$"), ({"a": [part]}, "$.a[0]")):
                with pytest.raises(TaggedJSONError, match=message) as caught:
                    from_json(tree, plain=plain)
                assert caught.value.path == path


@pytest.mark.parametrize(
    "wrap", [lambda part: [part], lambda part: {"a": part}, ok], ids=["array", "map", "case"]
)
def test_the_deepest_value_passes_from_a_deep_stack(wrap: Any) -> None:
    deepest = nested(MAX_DEPTH, wrap)
    with_binary = {"value": nested(MAX_DEPTH - 1, wrap), "binary": b""}
    seen: list[bool] = []

    def work(frames: int) -> None:
        if frames:
            work(frames - 1)
            return
        seen.append(identical(loads(dumps(deepest)), deepest))
        seen.append(identical(loads(dumps(with_binary)), with_binary))

    # A server's own frames, on a thread of its own because pytest's would come on top.
    thread = threading.Thread(target=work, args=(200,))
    thread.start()
    thread.join()
    assert seen == [True, True]
