"""What queries answer: the reference evaluator, case by case and by its laws."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_db.query import Query, arrays, evaluate, execute, from_json, parse
from mix_db.query.ast import (
    And,
    Comparison,
    Exists,
    Field,
    Filter,
    Not,
    Or,
    Order,
    Reverse,
    Scalar,
    Slice,
    Subquery,
)
from mix_db.query.errors import QueryError
from mix_db.query.folding import MAX_FOLDED, fold
from mix_db.query.lexer import RESERVED
from mix_db.query.semantics import MAX_JOINED, Members, aggregate, calculate, compared, sort_key, unique
from mix_db.testing.listed import ListedSnapshot

from mixkit.testing.snippets import Session, read_snippets
from mixkit.testing.strategies import identical, values
from mixkit.value import INT64_MAX, MAX_DEPTH, UNDEF, Ref, compare, equal

DOCUMENT = Path(__file__).parents[3] / "docs" / "query-language.md"

PEOPLE: dict[str, dict[str, Any]] = {
    "ann": {
        "name": "Ann",
        "age": 34,
        "tags": ["a", "b"],
        "boss": Ref("bob"),
        "home": {"city": "Rome", "zip": 1},
    },
    "bob": {"name": "Bob", "age": 51.0, "tags": [], "home": {"city": "Oslo"}, "boss": Ref("nobody")},
    "cyd": {"name": "Cyd", "age": None, "pets": [{"kind": "cat", "age": 3}, {"kind": "dog", "age": 9}]},
    "dan": {"name": "Dan", "boss": Ref("ann"), "age": "old", "pets": [Ref("ann"), 5], "tags": ["b", 1]},
}
ROWS = [
    {"_rmx_id": Ref(id), "_rmx_rev": f"{row:04}", **record} for row, (id, record) in enumerate(PEOPLE.items())
]


def resolve(ref: Ref) -> dict[str, Any] | None:
    return next((row for row in ROWS if row["_rmx_id"] == ref), None)


def run(text: str, **params: Any) -> list[dict[str, Any]]:
    return evaluate(parse(text), ROWS, params, resolve)


def names(text: str, **params: Any) -> str:
    return " ".join([row["name"] for row in run(text, **params)])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", "Ann Bob Cyd Dan"),
        ("age == 34.0", "Ann"),
        ("age == 51", "Bob"),
        ("age != 34", "Bob Cyd Dan"),
        ("age == null", "Cyd"),
        ("age < 40", "Ann Cyd"),  # null is smallest
        ("age >= 40", "Bob"),
        ("not age >= 40", "Ann Cyd"),  # a string does not compare with a number
        ("age == true or not age == true", "Ann Bob Cyd Dan"),
        ('home.city != "Rome"', "Bob"),  # missing is not different, it is undefined
        ('not home.city == "Rome"', "Bob"),
        ("exists home and not exists home.zip", "Bob"),
        ("exists age", "Ann Bob Cyd Dan"),
        ('tags contains "b"', "Ann Dan"),
        ("tags contains 1.0", "Dan"),
        ("tags contains true", ""),
        ('name contains "n"', "Ann Dan"),
        ('name like "%n"', "Ann Dan"),
        ('name like "_nn"', "Ann"),
        ('name in ["Ann", "Cyd", 3]', "Ann Cyd"),
        ('name not in ["Ann", "Cyd"]', "Bob Dan"),
        ('tags in [["a", "b"]]', "Ann"),
        ("tags not in []", "Ann Bob Dan"),
        ('tags all in ["a", "b"]', "Ann Bob"),
        ('tags not all in ["a", "b"]', "Dan"),
        ('boss == ref("ann")', "Dan"),
        ('boss == "ann"', ""),
        ('boss.name == "Ann"', "Dan"),
        ('boss.boss.home.city == "Oslo"', "Dan"),
        ("exists boss.name", "Ann Dan"),  # Bob's leads nowhere
        ('pets.(kind == "cat" and age == 3)', "Cyd"),
        ('pets.(kind == "cat" and age == 9)', ""),
        ('pets.(not kind == "cat")', "Cyd"),
        ('pets.(name == "Ann")', "Dan"),  # an element that is a ref is followed
        ('pets.(.name == "Cyd" and kind == "dog")', "Cyd"),
        ('home.(city == "Oslo")', "Bob"),
        ("home.(true)", "Ann Bob"),
        ("tags.(true)", "Ann Dan"),
        ('after "0001"', "Cyd Dan"),
        ("exists tags and exists boss or age == null", "Ann Bob Cyd Dan"),
        ("exists tags and (exists boss or age == null)", "Ann Bob Dan"),
        ("not true", ""),
        ("| skip(1) | limit(2)", "Bob Cyd"),
        ("| orderAsc(age)", "Cyd Ann Bob Dan"),
        ("| orderDesc(age)", "Dan Bob Ann Cyd"),
        ("| orderAsc(home.city)", "Cyd Dan Bob Ann"),
        ("| orderDesc(nothing) | reverse()", "Dan Cyd Bob Ann"),
        ("| limit(0)", ""),
    ],
)
def test_rows_that_are_kept(text: str, kept: str) -> None:
    assert names(text) == kept


def test_parameters() -> None:
    assert names("$key == $value and name in $list", key="age", value=34, list=["Ann", "Bob"]) == "Ann"
    assert names("$key == 1", key="home.zip") == ""  # the name of one field, not a path
    assert names("name == $x", x='" or true or name == "') == ""
    assert names("after $w | order(name, $d) | limit($n)", w="0000", d="desc", n=2) == "Dan Cyd"


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("name == $x", {}, "found none"),
        ("true", {"x": 1}, r"those of the query \(none\), found \$x"),
        ("name == $x", {"x": UNDEF}, "undefined"),
        ("name == $x", {"x": object()}, r"object.*at \$x"),
        ("name in $x", {"x": "Ann"}, "expected a list"),
        ("nothing in $x", {"x": "Ann"}, "expected a list"),
        ("$x == 1", {"x": 3}, "name of a field"),
        ("after $x", {"x": 3}, "watermark"),
        ("| limit($x)", {"x": -1}, "whole number from 0 .* found a negative one"),
        ("| limit($x)", {"x": "2"}, "whole number from 0 .* found the kind string"),
        ("| order(a, $x)", {"x": "up"}, "direction of order, found another string"),
        ("| order(a, $x)", {"x": 1}, "direction of order, found the kind int"),
        ("| skip($x)", {"x": True}, "whole number"),
        ("| order(name, $x)", {"x": "up"}, "asc"),
        ("name like $x", {"x": "%" * 2000}, "pattern"),
        ("| { n: 1 } | group($x)", {"x": 1}, "name of a field"),
        ("nothing.($x.a in [1])", {"x": 1}, "name of a field"),
    ],
)
@pytest.mark.parametrize("rows", [ROWS, []])
def test_parameters_that_are_refused(
    text: str, params: dict[str, Any], message: str, rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(QueryError, match=message):
        evaluate(parse(text), rows, params)


def test_history_is_seen_when_asked_for() -> None:
    rows = [{"a": 1, "_rmx_superseded": True}, {"a": 2}, {"_rmx_deleted": True}]
    assert evaluate(parse(""), rows) == [{"a": 2}]
    assert evaluate(parse(""), rows, history=True) == rows


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("{ name, years: age + 1, town: home.city }", {"name": "Ann", "years": 35, "town": "Rome"}),
        ("{ no, x: no ?? 1, y: no ?? null, z: no + 1 }", {"x": 1, "y": None}),
        ("{ x: null + 1, y: name + 1 }", {"x": None}),
        ('{ s: "<" + name + ">", l: tags + ["c", age] }', {"s": "<Ann>", "l": ["a", "b", "c", 34]}),
        ("{ l: [no] }", {}),
        ("{ o: { n: name, home }, e: {} }", {"o": {"n": "Ann", "home": {"city": "Rome", "zip": 1}}, "e": {}}),
        ("{ a: 7 / 2, b: 7 % 4, c: 2 + 3 * 4, d: (2 + 3) * 4, e: 1 - 2 - 3 }",
         {"a": 3.5, "b": 3.0, "c": 14, "d": 20, "e": -4}),
        ("{ age, name, -age }", {"name": "Ann"}),
        ("{ -age, age }", {"age": 34}),
        ("{ boss }", {"boss": Ref("bob")}),
        ("{ +boss }", {"boss": ROWS[1]}),
        ("{ +name, +no }", {"name": "Ann"}),
        ("{ *, name: 1 }", {**ROWS[0], "name": 1}),
        ("{ ** }", {**ROWS[0], "boss": ROWS[1]}),  # one step: Bob's own boss stays a ref
    ],
)  # fmt: skip
def test_projections(text: str, row: dict[str, Any]) -> None:
    assert identical(run(f'name == "Ann" | {text}'), [row])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("| count()", [{"count": 4}]),
        ("not true | count() | sum(age) | avg(age) | min(age) | distinct(age)",
         [{"count": 0, "sum": 0, "avg": None, "min": None, "distinct": []}]),
        ("| sum(age) | avg(age) | min(name) | max(age)", [{"sum": 85.0, "avg": 42.5, "min": "Ann", "max": "old"}]),
        ("| distinct(tags)", [{"distinct": [["a", "b"], [], ["b", 1]]}]),
        ("exists boss | group(home.city) | count()",
         [{"key": "Rome", "count": 1}, {"key": "Oslo", "count": 1}, {"count": 1}]),
        ("exists boss | {name} | group(no)", [{"rows": [{"name": "Ann"}, {"name": "Bob"}, {"name": "Dan"}]}]),
        ("| group(home.zip) | count() | orderDesc(count) | limit(1)", [{"count": 3}]),
        ("| group(name) | count() | { n: key } | skip(3)", [{"n": "Dan"}]),
        ("| group(name) | group(no) | count()", [{"count": 4}]),
        ("| count() | { n: count * 2 }", [{"n": 8}]),
    ],
)  # fmt: skip
def test_aggregates(text: str, rows: list[dict[str, Any]]) -> None:
    assert identical(run(text), rows)


ORDERS = [
    {
        "n": 1, "placed": 1_714_557_600_000, "due": "2024-05-07T01:00:00+02:00", "by": "Élan",
        "items": [{"sku": "a", "qty": 2}, {"sku": "b", "qty": 3, "tags": ["x", "y"]}],
    },
    {"n": 2, "placed": "2023-12-31", "due": 1_000, "by": "ELAN", "items": [{"sku": "a", "qty": 5}, Ref("odd")]},
    {"n": 3, "placed": True, "due": None, "by": "Straße", "items": []},
    {"n": 4, "placed": "soon", "by": 5, "items": {"sku": "c", "qty": 0.5, "tags": "z"}},
]  # fmt: skip
ODD = {"sku": "b", "qty": 7, "tags": ["x"]}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        # A condition between fields, and between expressions.
        ("n * 1000 > due | { n }", [{"n": 2}, {"n": 3}]),
        ("(n + 1) * 2 == n + 4 | { n }", [{"n": 2}]),
        ("items.(qty == .n + 1) | { n }", [{"n": 1}]),
        ("n == $n and by == by | { n }", [{"n": 2}]),
        ("not nothing < n | count()", [{"count": 0}]),
        ("n + 0 in [5 - 4, n * 2] | { n }", [{"n": 1}]),
        ("n + 0 in [nothing, n] | count()", [{"count": 0}]),
        ("n + 0 in $list | { n }", [{"n": 3}]),
        # Times.
        ("year(placed) == 2024 | { n }", [{"n": 1}]),
        (
            "year(placed) in [2023, 2024] | { n, m: month(placed), d: weekday(due) }",
            [{"n": 1, "m": 5, "d": 1}, {"n": 2, "m": 12, "d": 4}],
        ),
        (
            'n < 3 | { m: trunc(placed, "month"), h: trunc(due, "hour"), w: trunc(placed, "week") }',
            [
                {"m": 1_714_521_600_000, "h": "2024-05-06T23:00:00Z", "w": 1_714_348_800_000},
                {"m": "2023-12-01", "h": 0, "w": "2023-12-25"},
            ],
        ),
        ("n > 2 | { y: year(placed), d: year(due) }", [{"d": None}, {}]),
        # Comparisons in projections.
        (
            "n < 3 | { n, late: due < 5000, big: n > 1, e: (n == 1) == (n < 2) }",
            [{"n": 1, "big": False, "e": True}, {"n": 2, "late": True, "big": True, "e": True}],
        ),
        # Arrays.
        (
            "| sum(items.qty) | max(items.qty) | distinct(items.sku) | count()",
            [{"sum": 17.5, "max": 7, "distinct": ["a", "b", "c"], "count": 4}],
        ),
        ("| distinct(items.tags)", [{"distinct": [["x", "y"], ["x"], "z"]}]),
        (
            "| group(items.sku) | sum(items.qty) | count()",
            [
                {"key": "a", "sum": 7, "count": 2},
                {"key": "b", "sum": 10, "count": 2},
                {"sum": 0, "count": 1},
                {"key": "c", "sum": 0.5, "count": 1},
            ],
        ),
        (
            "n < 3 | { n, items } | group(items.sku) | { key, n: rows }",
            [
                {
                    "key": "a",
                    "n": [
                        {"n": 1, "items": {"sku": "a", "qty": 2}},
                        {"n": 2, "items": {"sku": "a", "qty": 5}},
                    ],
                },
                {"key": "b", "n": [{"n": 1, "items": ORDERS[0]["items"][1]}, {"n": 2, "items": ODD}]},
            ],
        ),
        (
            "| unnest(items) | { n, s: items.sku }",
            [
                {"n": 1, "s": "a"},
                {"n": 1, "s": "b"},
                {"n": 2, "s": "a"},
                {"n": 2, "s": "b"},
                {"n": 4, "s": "c"},
            ],
        ),
        (
            "| unnest(items.tags) | { n, t: items.tags, s: items.sku }",
            [
                {"n": 1, "t": "x", "s": "b"},
                {"n": 1, "t": "y", "s": "b"},
                {"n": 2, "t": "x", "s": "b"},
                {"n": 4, "t": "z", "s": "c"},
            ],
        ),
        ("| unnest(due) | { n }", [{"n": 1}, {"n": 2}]),
        # What is calculated.
        (
            "| unnest(items) | sum(items.qty * n) | max(fold(items.sku))",
            [{"sum": 2 + 3 + 10 + 14 + 2.0, "max": "c"}],
        ),
        (
            "| group(year(placed)) | count()",
            [{"key": 2024, "count": 1}, {"key": 2023, "count": 1}, {"count": 2}],
        ),
        (
            "| group((n > 2)) | sum(n % 2) | orderDesc(sum * -1)",
            [{"key": False, "sum": 1}, {"key": True, "sum": 1}],
        ),
        ("| orderDesc(n % 2 * 10 + n) | { n }", [{"n": 3}, {"n": 1}, {"n": 4}, {"n": 2}]),
        # Groups that are kept.
        ('| group(items.sku) | count() | where(count > 1 and key != "a")', [{"key": "b", "count": 2}]),
        ("| { m: n % 2 } | group(m) | count() | where(m == 0 or true) | limit(1) | where(count == 3)", []),
        # Without case and accents.
        ('by like:ci "elan" | { n }', [{"n": 1}, {"n": 2}]),
        ('by like:ci "%SS_" | { n }', [{"n": 3}]),
        ('by contains:ci "LÁ" | { n }', [{"n": 1}, {"n": 2}]),
        ('not by contains:ci "e" | count()', [{"count": 0}]),
        ('items.(tags contains:ci "X") | { n }', [{"n": 1}, {"n": 2}]),
        ('fold(by) == "strasse" | { n }', [{"n": 3}]),
        ("| orderAsc(by:ci) | { n }", [{"n": 4}, {"n": 2}, {"n": 1}, {"n": 3}]),
        ("| orderDesc(by:ci) | { n }", [{"n": 3}, {"n": 1}, {"n": 2}, {"n": 4}]),
    ],
)
def test_what_expressions_and_arrays_answer(text: str, answer: list[dict[str, Any]]) -> None:
    query = parse(text)
    params = {name: {"n": 2, "list": [3.0]}[name] for name in query.parameters()}
    assert evaluate(query, ORDERS, params, {Ref("odd"): ODD}.get) == answer
    # And from indexes.
    versions = [
        {**row, "_rmx_id": Ref(id), "_rmx_rev": f"{n:016}", "_rmx_last_modified_at": n}
        for n, (id, row) in enumerate([("odd", ODD), *[(f"r{row['n']}", row) for row in ORDERS]])
    ]
    orders = Query(And((Exists(Field("n")), query.filter)), query.stages)
    assert _plain(list(execute.run(orders, params, ListedSnapshot(versions)))) == answer


def _plain(value: Any) -> Any:
    """Without the engine's fields."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if not name.startswith("_rmx_")}
    return value


def test_elements_that_refs_multiply_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_ELEMENTS", 100)
    deep = [{"a": [Ref("x")] * 5}]
    followed = {"a": [Ref("x")] * 5, "b": 1}
    assert evaluate(parse("| sum(a.a.b)"), deep, {}, {Ref("x"): followed}.get) == [{"sum": 25}]
    with pytest.raises(QueryError, match="more than 100 elements"):
        evaluate(parse("| sum(a.a.a.a.b)"), deep, {}, {Ref("x"): followed}.get)


def test_texts_that_are_folded_are_bounded() -> None:
    for text in ("a like:ci $p", "a contains:ci $p", "fold(a) == $p"):
        assert evaluate(parse(text), [{"a": "É"}], {"p": "e"}) != []
        with pytest.raises(QueryError, match="characters"):
            evaluate(parse(text), [{"a": "É" * (MAX_FOLDED + 1)}], {"p": "e"})
    with pytest.raises(QueryError, match="without regard to case"):
        evaluate(parse("a contains:ci $p"), [], {"p": "e" * (MAX_FOLDED + 1)})


@given(st.text(max_size=6), st.text(max_size=6))
def test_a_text_is_folded_once_and_for_all(left: str, right: str) -> None:
    assert fold(fold(left)) == fold(left)
    if fold(left) == fold(right):
        assert compared("contains:ci", left, right) is True
    pattern = re.sub(r"[%_\\]", r"\\\g<0>", right)
    assert compared("like:ci", left, pattern) is (fold(left) == fold(right))


def test_subqueries_that_multiply_are_stopped() -> None:
    text = "true"
    for _ in range(12):
        text = f".a.({text} and not true)"
    with pytest.raises(QueryError, match="conditions"):
        evaluate(parse(text), [{"a": [{}] * 20}])


def test_answers_of_plus_are_bounded() -> None:
    text = "s"
    for _ in range(10):
        text = f"({text} + {text})"
    with pytest.raises(QueryError, match="made more than"):
        evaluate(parse(f"| {{ x: {text} }}"), [{"s": "x" * 100_000}])
    many = ", ".join(f"m{n}: s + s" for n in range(100))
    with pytest.raises(QueryError, match="made more than"):
        evaluate(parse(f"| {{ {many} }}"), [{"s": "x" * 100_000}])
    with pytest.raises(QueryError, match="longer"):
        calculate("+", "x" * MAX_JOINED, "x")
    # What counts is one row, not all of them.
    assert len(evaluate(parse("| { x: s + s }"), [{"s": "x" * 1_000_000}] * 20)) == 20


def test_values_of_the_deepest_nesting_are_worked_on() -> None:
    deep: Any = 1
    for turn in range(MAX_DEPTH - 1):
        deep = [deep] if turn % 2 else {"a": deep}
    rows = [{"x": deep, "r": Ref("a")}] * 2
    text = "x == $p and x in [$p] | orderAsc(x) | { **, y: x } | group(y) | count() | distinct(x)"
    found = evaluate(parse(text), rows, {"p": deep}, {Ref("a"): {}}.get)
    assert found[0]["count"] == 2
    assert len(found[0]["distinct"]) == 1


def test_like_answers_on_hostile_patterns() -> None:
    assert compared("like", "a" * 100_000, "%a" * 500 + "b") is False
    assert compared("like", "a" * 5_000, "%_a" * 300 + "%b") is False
    # What cannot be interrupted is not begun.
    with pytest.raises(QueryError, match="shorter pattern"):
        compared("like", "a" * 10_000_000, "%_" + "a" * 1_000 + "b%")
    assert compared("like", "a" * 10_000_000, "%" + "a" * 1_000 + "b%") is False


pieces = st.text(alphabet="ab%_\\.\n", max_size=6)


@given(pieces, pieces)
def test_like_agrees_with_a_regular_expression(text: str, pattern: str) -> None:
    parts, characters = [], iter(pattern)
    for char in characters:
        char = {"%": ".*", "_": "."}.get(char) or re.escape(next(characters, "\\") if char == "\\" else char)
        parts.append(char)
    assert compared("like", text, pattern) is (re.fullmatch("".join(parts), text, re.DOTALL) is not None)


@pytest.mark.parametrize(
    ("operator", "left", "right", "answer"),
    [
        ("+", INT64_MAX, 1, 2.0**63),
        ("*", 2**62, 2, 2.0**63),
        ("-", -(2**63), 0, -(2**63)),
        ("+", 1, 1.0, 2.0),
        ("/", 6, 3, 2.0),
        ("/", -1, 0, -math.inf),
        ("/", 1, -0.0, -math.inf),
        ("/", 0, 0, math.nan),
        ("%", -7, 4, -3.0),
        ("%", 1, 0, math.nan),
        ("%", math.inf, 2, math.nan),
        ("%", 2, math.inf, 2.0),
        ("+", None, UNDEF, UNDEF),
        ("+", None, "a", None),
        ("+", True, 1, UNDEF),
        ("-", "a", "a", UNDEF),
        ("+", [1], "a", UNDEF),
    ],
)
def test_arithmetic(operator: str, left: Any, right: Any, answer: Any) -> None:
    assert identical(calculate(operator, left, right), answer)


def test_sums_do_not_depend_on_the_order_of_rows() -> None:
    numbers = [1e308, 1e308, -1e308, 1, 2**60, 1e-3, -1e308]
    assert len({aggregate("sum", list(order)) for order in itertools.permutations(numbers)}) == 1
    assert aggregate("sum", [INT64_MAX, 1, -1]) == INT64_MAX
    assert aggregate("sum", [1e308, 1e308]) == math.inf
    assert aggregate("avg", [1e308, 1e308]) == 1e308
    assert math.isnan(aggregate("sum", [math.inf, -math.inf, 1]))
    assert aggregate("sum", [True, "1", None, UNDEF, 2]) == 2


# Laws

FIELDS = ["a", "b", "c"]
some_values = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, 1.0, math.nan, "", "a", "ab", Ref("a"), [1]])
)
records = st.lists(
    st.dictionaries(
        st.sampled_from(FIELDS), some_values | st.lists(st.dictionaries(st.sampled_from(FIELDS), some_values))
    ),
    max_size=8,
)
keys = st.sampled_from(FIELDS).map(Field)
scalars = some_values.filter(lambda value: not isinstance(value, list)).map(Scalar)
filters = st.recursive(
    st.builds(
        Comparison, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "contains", "like"]), keys, scalars
    )
    | st.builds(Exists, keys),
    lambda part: (
        st.builds(Not, part)
        | st.builds(lambda a, b: And((a, b)), part, part)
        | st.builds(lambda a, b: Or((a, b)), part, part)
        | st.builds(Subquery, keys, part)
    ),
    max_leaves=5,
)


def numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "n": n} for n, row in enumerate(rows)]


def kept(condition: Filter, rows: list[dict[str, Any]]) -> list[int]:
    return [row["n"] for row in evaluate(Query(condition), numbered(rows))]


@settings(deadline=None)
@given(filters, filters, records)
def test_laws_of_logic(a: Filter, b: Filter, rows: list[dict[str, Any]]) -> None:
    assert kept(Not(Not(a)), rows) == kept(a, rows)
    assert kept(Not(And((a, b))), rows) == kept(Or((Not(a), Not(b))), rows)
    assert kept(Not(Or((a, b))), rows) == kept(And((Not(a), Not(b))), rows)
    assert kept(And((a, b)), rows) == sorted(set(kept(a, rows)) & set(kept(b, rows)))
    assert kept(Or((a, b)), rows) == sorted(set(kept(a, rows)) | set(kept(b, rows)))
    assert not set(kept(a, rows)) & set(kept(Not(a), rows))


@settings(deadline=None)
@given(st.sampled_from(FIELDS), some_values, records)
def test_pairs_of_operators_are_opposites(name: str, value: Any, rows: list[dict[str, Any]]) -> None:
    for one, other in (("==", "!="), ("<", ">="), (">", "<="), ("in", "not_in"), ("all_in", "not_all_in")):
        right = [value] if "in" in one else value
        for row in rows:
            left = row.get(name, UNDEF)
            first, second = compared(one, left, right), compared(other, left, right)
            assert (first is UNDEF and second is UNDEF) or first is (not second)


@settings(deadline=None)
@given(records, st.sampled_from(FIELDS), st.integers(0, 9), st.integers(0, 9))
def test_laws_of_order_skip_and_limit(rows: list[dict[str, Any]], name: str, n: int, m: int) -> None:
    def after(*stages: Any) -> list[int]:
        return [row["n"] for row in evaluate(Query(stages=stages), numbered(rows))]

    everything = list(range(len(rows)))
    up, down = Order(Field(name)), Order(Field(name), "desc")
    assert after(Slice("limit", n)) + after(Slice("skip", n)) == everything
    assert after(Slice("skip", n), Slice("skip", m)) == after(Slice("skip", n + m))
    assert after(Slice("limit", n), Slice("limit", m)) == after(Slice("limit", min(n, m)))
    assert after(Reverse(), Reverse()) == everything
    assert sorted(after(up)) == everything
    assert after(up, up) == after(up)
    # Stable both ways: turned round before and after, the other direction is the same order.
    assert after(Reverse(), up, Reverse()) == after(down)
    ordered = after(up)
    for first, second in itertools.pairwise(ordered):
        x, y = rows[first].get(name, UNDEF), rows[second].get(name, UNDEF)
        assert compare(x, y) != 1
        if equal(x, y):
            assert first < second


@settings(deadline=None)
@given(st.lists(values(), max_size=8))
def test_values_are_sorted_and_told_apart(found: list[Any]) -> None:
    ordered = sorted(found, key=sort_key)
    for x, y in itertools.combinations(ordered, 2):
        assert not sort_key(y) < sort_key(x)
        assert compare(x, y) != 1 or isinstance(x, list)
    groups = unique(found)
    assert sorted(place for _, places in groups for place in places) == list(range(len(found)))
    for value, places in groups:
        assert all(equal(found[place], value) for place in places[1:])
    for (x, _), (y, _) in itertools.combinations(groups, 2):
        assert not equal(x, y)


@settings(deadline=None)
@given(values(), st.lists(values(undef=False), max_size=8))
def test_members_are_what_is_equal_to_an_item(value: Any, items: list[Any]) -> None:
    assert (value in Members(items)) is any(equal(value, item) for item in items)
    assert compared("in", value, Members(items)) is compared("in", value, items)


@settings(deadline=None)
@given(values(), values())
def test_keys_for_sorting_sort_as_the_language_does(x: Any, y: Any) -> None:
    order = compare(x, y)
    if order is not UNDEF and type(x) is type(y) and not isinstance(x, list):
        assert (sort_key(x) < sort_key(y)) is (order == -1)
        assert (sort_key(x) == sort_key(y)) is (order == 0)


@settings(deadline=None)
@given(values(undef=False), values(undef=False))
def test_values_of_strangers_are_values_and_no_more(stored: Any, asked: Any) -> None:
    found = evaluate(parse("x == $p"), [{"x": stored}], {"p": asked})
    assert bool(found) is equal(stored, asked)


# The document


def test_examples_of_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    examples = re.findall(r"^```mixquery\n(.*?)^```\n+```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(examples) == text.count("```mixquery") >= 3
    for source, form in examples:
        assert parse(source) == from_json(json.loads(form))


def test_the_script_of_the_document(tmp_path: Path) -> None:
    snippets = read_snippets(DOCUMENT)
    assert snippets
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with Session(tmp_path, env) as session:
        for snippet in snippets:
            session.run(snippet)


def test_reserved_words_of_the_document() -> None:
    rule = re.search(r"^reserved   = (.*) ;$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rule is not None
    assert set(re.findall(r'"(\w+)"', rule[1])) == RESERVED
