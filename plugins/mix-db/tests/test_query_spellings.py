"""String, JSON and builder are spellings of one AST."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_db.query import ast, builder, format_query, from_json, parse, to_json
from mix_db.query.ast import (
    After,
    Aggregate,
    And,
    Arithmetic,
    AssignMember,
    Call,
    CaseOf,
    CloneMembers,
    Comparison,
    Exists,
    Field,
    FollowRef,
    Group,
    ListOf,
    MapOf,
    Member,
    Not,
    NullFilter,
    Object,
    Or,
    Order,
    Param,
    Query,
    Relation,
    RemoveMember,
    Reverse,
    Scalar,
    Slice,
    Subquery,
    Unnest,
    Where,
)
from mix_db.query.builder import field, param, root
from mix_db.query.dates import UNITS
from mix_db.query.errors import QueryError, QueryFormError, QuerySyntaxError
from mix_db.query.lexer import MAX_TEXT, RESERVED

from mixkit.testing.strategies import keys, scalars
from mixkit.value import Case, Ref

names = keys | st.sampled_from([*sorted(RESERVED), "param", "list", "token", "ref", "a b", "`", '"', "\\"])
params = st.builds(Param, st.sampled_from(["p", "name", "and", "_1"]))
plain = scalars(undef=False).filter(lambda value: not isinstance(value, Case)).map(Scalar) | params
case_names = names.filter(lambda name: name != "db.ref")
constants = st.recursive(
    plain,
    lambda part: (
        st.lists(part, max_size=3).map(lambda items: ListOf(tuple(items)))
        | st.dictionaries(names, part, max_size=3).map(lambda entries: MapOf(tuple(entries.items())))
        | st.builds(CaseOf, case_names, st.none() | part)
    ),
    max_leaves=6,
)
heads = st.sampled_from(["param", "list", "token", "object"]).map(Scalar)
lists = st.lists(constants | heads, max_size=3).map(lambda items: ListOf(tuple(items)))
paths = st.recursive(
    st.builds(Field, names) | st.builds(Member, st.none(), names),
    lambda base: st.builds(Member, base, names),
    max_leaves=3,
)
record_keys = paths | params | st.builds(Member, params, names)


def objects(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    members = (
        st.builds(AssignMember, names, part, st.none() | part)
        | names.map(lambda name: AssignMember(name, Field(name)))
        | st.builds(CloneMembers, st.booleans())
        | st.builds(RemoveMember, names)
        | st.builds(FollowRef, names)
    )
    return st.lists(members, max_size=3).map(lambda made: Object(tuple(made)))


def expression_lists(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(part | heads, max_size=3).map(lambda items: ListOf(tuple(items))) | params


expressions = st.recursive(
    plain | paths | st.builds(CaseOf, case_names, st.none() | constants),
    lambda part: (
        st.builds(Arithmetic, st.sampled_from(ast.ARITHMETIC), part, part)
        | st.builds(Relation, st.sampled_from(ast.COMPARISONS), part, part)
        | st.builds(Relation, st.sampled_from(ast.LIST_OPERATORS), part, expression_lists(part))
        | st.builds(lambda name, arg: Call(name, (arg,)), st.sampled_from(["year", "weekday", "fold"]), part)
        | st.builds(lambda arg, unit: Call("trunc", (arg, Scalar(unit))), part, st.sampled_from(UNITS))
        | st.lists(part | heads, max_size=3).map(lambda items: ListOf(tuple(items)))
        | objects(part)
    ),
    max_leaves=6,
)


# By their names, since hypothesis writes out what other strategies are made of.
@st.composite
def an_expression(draw: st.DrawFn) -> Any:
    return draw(expressions)


@st.composite
def a_filter(draw: st.DrawFn) -> Any:
    return draw(filters)


compared = an_expression()
leaves = (
    st.builds(Comparison, st.sampled_from(ast.COMPARISONS), record_keys, constants)
    | st.builds(Comparison, st.sampled_from(ast.LIST_OPERATORS), record_keys, lists | params)
    | st.builds(Exists, record_keys)
    | st.builds(After, names.map(Scalar) | params)
    | st.builds(Relation, st.sampled_from(ast.COMPARISONS), compared, compared)
    | st.builds(Relation, st.sampled_from(ast.LIST_OPERATORS), compared, expression_lists(compared))
    | st.just(NullFilter())
)
filters = st.recursive(
    leaves,
    lambda part: (
        st.builds(Not, part)
        | st.lists(part, min_size=2, max_size=3).map(lambda items: And(tuple(items)))
        | st.lists(part, min_size=2, max_size=3).map(lambda items: Or(tuple(items)))
        | st.builds(Subquery, record_keys, part)
    ),
    max_leaves=8,
)


row_keys = (
    record_keys
    | record_keys
    | st.builds(Arithmetic, st.sampled_from(ast.ARITHMETIC), compared, compared)
    | st.builds(Relation, st.sampled_from(ast.COMPARISONS), compared, compared)
    | compared.map(lambda arg: Call("year", (arg,)))
)
stages = (
    objects(compared)
    | st.just(Aggregate("count"))
    | st.builds(Group, row_keys)
    | st.builds(Where, a_filter())
    | st.builds(Unnest, record_keys)
    | st.builds(Order, row_keys, st.sampled_from(["asc", "desc"]) | params, st.booleans())
    | st.just(Reverse())
    | st.builds(Slice, st.sampled_from(["skip", "limit"]), st.integers(0, 2**63 - 1) | params)
)
tails = st.lists(stages, max_size=3) | st.builds(
    lambda function, key: [Aggregate(function, key)], st.sampled_from(ast.AGGREGATES[1:]), row_keys
)
queries = st.builds(
    lambda condition, tail: Query(condition, tuple(tail)),
    a_filter(),
    tails.filter(lambda tail: tail.count(Aggregate("count")) < 2),
)


@settings(max_examples=300, deadline=None)
@given(queries)
def test_text_and_json_lead_back_to_the_same_query(query: Query) -> None:
    assert parse(format_query(query)) == query
    assert from_json(json.loads(json.dumps(to_json(query)))) == query


@settings(max_examples=100, deadline=None)
@given(queries, st.data())
def test_any_text_is_a_query_or_an_error_of_ours(query: Query, data: st.DataObject) -> None:
    text = format_query(query)
    start = data.draw(st.integers(0, len(text)))
    damaged = text[:start] + data.draw(st.text(max_size=3)) + text[start + data.draw(st.integers(0, 3)) :]
    for candidate in (
        damaged,
        data.draw(st.text(alphabet='abc.$`"\\()[]{}|&!=<>+-*/%,: 019eE', max_size=30)),
    ):
        try:
            found = parse(candidate)
        except QueryError:
            continue
        assert parse(format_query(found)) == found


json_trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | names
    | st.sampled_from(["comparison", "and", "=="]),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(names, part, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(json_trees, st.sampled_from(["and", "not", "query", "comparison", "exists", "after", "subquery"]))
def test_any_json_is_a_query_or_an_error_of_ours(tree: Any, head: str) -> None:
    for candidate in (tree, [head, *(tree if isinstance(tree, list) else [tree])]):
        try:
            query = from_json(candidate)
        except QueryFormError:
            continue
        assert from_json(to_json(query)) == query


A = ["token", "a"]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", ["nullFilter"]),
        ('"k" == 1', ["comparison", "==", ["token", "k"], 1]),
        ("a != null", ["comparison", "!=", A, None]),
        (".a <= -1.5", ["comparison", "<=", ["objectMember", None, "a"], -1.5]),
        (
            "a.b.in > $x",
            ["comparison", ">", ["objectMember", ["objectMember", A, "b"], "in"], ["param", "x"]],
        ),
        ("$k contains [1]", ["comparison", "contains", ["param", "k"], [1]]),
        ('a like "pre%"', ["comparison", "like", A, "pre%"]),
        ("a in [1, 2]", ["comparison", "in", A, [1, 2]]),
        ("a all in [1, 2]", ["comparison", "all_in", A, [1, 2]]),
        ("a not in $l", ["comparison", "not_in", A, ["param", "l"]]),
        ('a not all in ["param", "x"]', ["comparison", "not_all_in", A, ["list", ["param", "x"]]]),
        ("exists a", ["exists", A]),
        ('after "w"', ["after", "w"]),
        ("a == 1 && exists a", ["and", [["comparison", "==", A, 1], ["exists", A]]]),
        ("not exists a or ! true", ["or", [["not", ["exists", A]], ["not", ["nullFilter"]]]]),
        ("a.(exists a)", ["subquery", A, ["exists", A]]),
        (
            'a == ref("x")',
            ["comparison", "==", A, {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "x"}],
        ),
        ('a == {"b c": [$x]}', ["comparison", "==", A, {"b c": [["param", "x"]]}]),
        (
            "| { *, **, -a, +b, c: 1 ?? 2, a } | count()",
            [
                "query",
                ["nullFilter"],
                [
                    [
                        "object",
                        [
                            ["cloneMembers"],
                            ["cloneMembersWithExpansion"],
                            ["removeMember", "a"],
                            ["followRef", "b"],
                            ["assignMember", "c", 1, 2],
                            ["assignMember", "a", A],
                        ],
                    ],
                    ["count"],
                ],
            ],
        ),
        ("a < .b", ["arithmetic", "<", A, ["objectMember", None, "b"]]),
        (
            "(a) == 1 or year(a) in [2024] or a + 1 > 2",
            [
                "or",
                [
                    ["arithmetic", "==", A, 1],
                    ["arithmetic", "in", ["arithmetic", "year", A], [2024]],
                    ["arithmetic", ">", ["arithmetic", "+", A, 1], 2],
                ],
            ],
        ),
        (
            'a like:ci "x" and a contains:ci $p',
            [
                "and",
                [["comparison", "like:ci", A, "x"], ["comparison", "contains:ci", A, ["param", "p"]]],
            ],
        ),
        (
            '| unnest(a) | group(a) | count() | where(count > 1) | { late: (a < b) == true, m: trunc(a, "month") }',
            [
                "query",
                ["nullFilter"],
                [
                    ["unnest", A],
                    ["group", A],
                    ["count"],
                    ["where", ["comparison", ">", ["token", "count"], 1]],
                    [
                        "object",
                        [
                            [
                                "assignMember",
                                "late",
                                ["arithmetic", "==", ["arithmetic", "<", A, ["token", "b"]], True],
                            ],
                            ["assignMember", "m", ["arithmetic", "trunc", A, "month"]],
                        ],
                    ],
                ],
            ],
        ),
        (
            "| group(year(a)) | sum(a * 2) | max((a < 1)) | orderAsc((1 + a)) | orderDesc((a + 1) * 2)",
            [
                "query",
                ["nullFilter"],
                [
                    ["group", ["arithmetic", "year", A]],
                    ["sum", ["arithmetic", "*", A, 2]],
                    ["max", ["arithmetic", "<", A, 1]],
                    ["orderAsc", ["arithmetic", "+", 1, A]],
                    ["orderDesc", ["arithmetic", "*", ["arithmetic", "+", A, 1], 2]],
                ],
            ],
        ),
        (
            "| orderDesc(a:ci) | order(a:ci, $d)",
            ["query", ["nullFilter"], [["orderDesc", A, "ci"], ["order", A, ["param", "d"], "ci"]]],
        ),
        ("| order(a, desc) | skip(2)", ["query", ["nullFilter"], [["orderDesc", A], ["skip", 2]]]),
    ],
)
def test_forms_of_the_tables(text: str, form: Any) -> None:
    assert to_json(parse(text)) == form
    assert from_json(form) == parse(text)


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (
            (field("age") >= 18) & (field("a") != 1.0) & ~field("b").exists(),
            "age >= 18 and a != 1.0 and not exists b",
        ),
        ((field("a") == 'x" or true') | (field("a") < param("p")), 'a == "x\\" or true" or a < $p'),
        (field("a")["b"].in_([1, param("x")]), "a.b in [1, $x]"),
        (field("a").not_in(param("l")), "a not in $l"),
        (field("a").all_in([1]) & field("a").not_all_in([2]), "a all in [1] and a not all in [2]"),
        (
            field("a").where((field("b") == {"c": [None]}) & (root("d") > Ref("r"))),
            'a.(b == {c: [null]} and .d > ref("r"))',
        ),
        (field("a").like("x%") & field("a").contains(b"\x01"), 'a like "x%" and a contains bin("AQ==")'),
        (builder.after("w") & (param("k") <= Case("c", 1)), 'after "w" and $k <= case("c", 1)'),
        (
            builder.everything().project(
                "name",
                builder.ALL,
                builder.drop("x"),
                builder.follow("y"),
                n=2 * field("a") + 1,
                d=field("b").default(0),
            ),
            "true | { name, *, -x, +y, n: 2 * a + 1, d: b ?? 0 }",
        ),
        (
            builder.everything().project(builder.EXPANDED, o={"i": [field("a"), 1 - (2 / (field("b") % 3))]}),
            "true | { **, o: { i: [a, 1 - 2 / (b % 3)] } }",
        ),
        (
            builder.everything().group("c").count().sum("p").avg(root("p")).min("p").max("p").distinct("p"),
            "true | group(c) | count() | sum(p) | avg(.p) | min(p) | max(p) | distinct(p)",
        ),
        (
            builder.everything()
            .order_asc("a")
            .order_desc("b")
            .order("c", param("d"))
            .reverse()
            .skip(1)
            .limit(param("n")),
            "true | orderAsc(a) | orderDesc(b) | order(c, $d) | reverse() | skip(1) | limit($n)",
        ),
        (
            (field("a") < field("b"))
            & (field("a") + 1 == 2)
            & field("a").part("year").in_([2024, param("y")]),
            "a < b and a + 1 == 2 and year(a) in [2024, $y]",
        ),
        (
            field("a").like("x%", ci=True)
            & field("a").contains("x", ci=True)
            & (field("a").fold() == param("p")),
            'a like:ci "x%" and a contains:ci "x" and fold(a) == $p',
        ),
        (
            builder.everything()
            .unnest(field("a")["b"])
            .group(field("d").part("year"))
            .sum(field("a") * field("b"))
            .group("c")
            .count()
            .where(field("count") > 1)
            .project(late=field("d") < field("e"), first=field("d") == 1, m=field("d").trunc("month"))
            .order_asc("m", ci=True)
            .order_desc("m", ci=True)
            .order("m", param("d"), ci=True),
            "true | unnest(a.b) | group(year(d)) | sum(a * b) | group(c) | count() "
            "| where(count > 1) | { late: d < e, first: d == 1, "
            'm: trunc(d, "month") } | orderAsc(m:ci) | orderDesc(m:ci) | order(m:ci, $d)',
        ),
    ],
)
def test_the_builder_spells_the_same(built: builder.Condition, text: str) -> None:
    assert built.query() == parse(text)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: bool(field("a") == 1),
        lambda: 1 < field("a") < 3,
        lambda: field("a") in [1],
        lambda: 1 in field("a"),
        lambda: list(field("a")),
    ],
)
def test_operators_of_python_that_cannot_be_followed_are_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: builder.everything().limit(1) & builder.everything(),
        lambda: param("a") == field("b"),
        lambda: field("a").part("age"),
        lambda: field("a").trunc("fortnight"),
        lambda: builder.everything().project(a=~(field("a") == 1)),
        lambda: field("a").in_(3),
        lambda: builder.everything().limit(-1),
        lambda: builder.everything().limit(True),
        lambda: field("a") == object(),
        lambda: field("a") == 2**63,
        lambda: field("a") == "\ud800",
        lambda: param("a b"),
        lambda: builder.everything().count().count().query(),
    ],
)
def test_the_builder_refuses_what_is_no_query(wrong: Any) -> None:
    with pytest.raises(QueryError):
        wrong()


@pytest.mark.parametrize(
    ("text", "line", "column", "expected"),
    [
        ("a ==", 1, 5, "a value"),
        ("a == 1 and\n  or", 2, 3, "a condition"),
        ("a = 1", 1, 3, "=="),
        ("a == 1 b", 1, 8, "'|'"),
        ("a in 3", 1, 6, "a list"),
        ("a not 3", 1, 7, "'in' or 'all in'"),
        ("(a == 1", 1, 8, "')'"),
        ('a == "x', 1, 6, 'a closing "'),
        ('a == "\\q"', 1, 6, "escapes"),
        ('a == "\\ud800"', 1, 6, "surrogate"),
        ("a == 9223372036854775808", 1, 6, "64 bits"),
        ("a == 1e999", 1, 6, "64 bits"),
        ("a == $", 1, 6, "parameter"),
        ("in == 1", 1, 1, "backquotes"),
        ("true | b", 1, 8, "a stage"),
        ("$p < b", 1, 6, "the key is a parameter"),
        ("year(a)", 1, 8, "an operator"),
        ("(a + 1", 1, 7, "an operator"),
        ('| {a: trunc(b, "age")}', 1, 7, "in quotes"),
        ("| {a: year(b, c)}", 1, 7, "1 values"),
        ("| orderAsc(a:cs)", 1, 14, "ci"),
        ("| sum((1))", 1, 7, "a key or what is calculated"),
        ("| sum($p + 1)", 1, 10, "')'"),
        ("| limit(-1)", 1, 9, "a whole number"),
        ("group(a) | count()", 1, 1, "a condition; a stage stands behind '|'"),
        ("a == 1 || limit(3)", 1, 11, "a condition; a stage stands behind '|'"),
        ("a == 'x'", 1, 6, "a string in double quotes"),
        ("| order(a, up)", 1, 12, "asc, desc"),
        ("| {a b}", 1, 6, "','"),
        ("| {a: $p.b}", 1, 9, "','"),
        ('a == bin("!")', 1, 10, "base64"),
        ('a == case("db.ref")', 1, 11, "a ref is written"),
        ("a == {b: 1, b: 2}", 1, 13, "not there yet"),
        ("a == {b: 1", 1, 11, "','"),
        ("é == 1", 1, 1, "a key"),
    ],
)
def test_a_syntax_error_says_where_and_what(text: str, line: int, column: int, expected: str) -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("form", "path"),
    [
        (1, "$"),
        ([], "$"),
        (["nothing"], "$"),
        (["exists"], "$"),
        (["exists", 3], "$[1]"),
        (["not", ["exists", ["token", 3]]], "$[1][1]"),
        (["and", [["nullFilter"], ["not"]]], "$[1][1]"),
        (["comparison", "===", "a", 1], "$"),
        (["comparison", "in", "a", 1], "$"),
        (["comparison", "==", "a", ["token", "b"]], "$[3]"),
        (["comparison", "==", "a", {"b": [1, ["param", "no good"]]}], "$[3].b[1]"),
        (["after", ["list", ["w"]]], "$"),
        (["after", {"a": 1}], "$"),
        (["comparison", "==", "a", 2**64], "$[3]"),
        (["comparison", "==", "a", {"_rmx_type": "{tag}undefined"}], "$[3]"),
        (["after", 3], "$"),
        (["query", ["nullFilter"], [["limit", -1]]], "$[2][0]"),
        (["query", ["nullFilter"], [["limit", 1.5]]], "$[2][0][1]"),
        (["query", ["nullFilter"], [["count"], ["sum"]]], "$[2][1]"),
        (["query", ["nullFilter"], [["object", [["assignMember", "a", {"b": 1}]]]]], "$[2][0][1][0][2]"),
        (
            [
                "query",
                ["nullFilter"],
                [["object", [["assignMember", "a", ["objectMember", ["param", "p"], "b"]]]]],
            ],
            "$[2][0][1][0][2]",
        ),
    ],
)
def test_a_wrong_form_is_refused_with_its_path(form: Any, path: str) -> None:
    with pytest.raises(QueryFormError) as caught:
        from_json(form)
    assert caught.value.path == path


def test_and_and_or_of_less_than_two_are_read() -> None:
    assert from_json(["and", []]).filter == NullFilter()
    assert from_json(["or", []]).filter == Not(NullFilter())
    assert from_json(["or", [["exists", "a"]]]).filter == Exists(Field("a"))


DEEP = 30_000


@pytest.mark.parametrize(
    "text",
    [
        "a == 1 " * 200_000,
        "(" * DEEP,
        "not " * (DEEP // 2) + "true",
        "! " * DEEP + "true",
        "a.(" * (DEEP // 2),
        "a == " + "[" * DEEP,
        "a == " + "{b:" * (DEEP // 2),
        "a == " + 'case("x",' * 5_000,
        "| {a:" + "{a:" * (DEEP // 2),
        "| {a:" + "(" * DEEP,
        "| {a: 1" + "+1" * DEEP + "}",
        "a" + ".a" * DEEP + " == 1",
        "a in [" + "1," * DEEP + "]",
        "exists a" + " or exists a" * 5_000,
        "a == " + "1" * 60_000,
        "a == 1." + "1" * 60_000 + "e999999999",
        '"' + "\\\\" * DEEP,
    ],
)
def test_hostile_texts_are_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse(text)


def test_a_number_of_leading_zeros_is_read() -> None:
    assert parse("a == " + "0" * 60_000 + "7") == parse("a == 7")
    assert parse("a == -9223372036854775808") == Query(Comparison("==", Field("a"), Scalar(-(2**63))))


@pytest.mark.parametrize(
    "wrap", [lambda t: ["not", t], lambda t: ["and", [t]], lambda t: ["subquery", "a", t]]
)
def test_hostile_forms_are_refused(wrap: Any) -> None:
    tree: Any = ["exists", "a"]
    for _ in range(DEEP):
        tree = wrap(tree)
    with pytest.raises(QueryFormError, match="nesting"):
        from_json(tree)


def test_deep_constants_and_keys_of_a_form_are_refused() -> None:
    constant: Any = 1
    key: Any = "a"
    for _ in range(DEEP):
        constant, key = [constant], ["objectMember", key, "a"]
    for tree in (["comparison", "==", "a", constant], ["exists", key]):
        with pytest.raises(QueryFormError, match="nesting"):
            from_json(tree)


def test_large_forms_are_refused() -> None:
    with pytest.raises(QueryFormError, match="nodes"):
        from_json(["comparison", "in", "a", [1] * 20_000])
    with pytest.raises(QueryFormError, match="nodes"):
        from_json(["and", [["nullFilter"]] * 20_000])


def test_the_deepest_queries_that_are_allowed_go_round() -> None:
    condition: ast.Filter = Exists(Field("a"))
    expression: ast.Expression = Scalar(1)
    for turn in range(20):
        pair = (condition, NullFilter())
        condition = Not(And(pair) if turn % 2 else Or(pair))
        expression = Object((AssignMember("a", ListOf((expression,))),))
    query = Query(condition, (Object((AssignMember("x", expression),)),))
    assert parse(format_query(query)) == query == from_json(to_json(query))


def test_a_text_that_is_just_short_enough_is_read() -> None:
    assert parse("exists a".ljust(MAX_TEXT)) == parse("exists a")
    with pytest.raises(QuerySyntaxError, match="parameters"):
        parse("exists a".ljust(MAX_TEXT + 1))
