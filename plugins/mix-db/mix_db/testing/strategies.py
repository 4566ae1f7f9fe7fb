"""Hypothesis strategies for histories of records and for queries on them. Needs hypothesis.

Names and values are few, so that queries hit, refs lead somewhere, and what is nearly equal meets.
"""

from __future__ import annotations

import math
from typing import Any, Final

from hypothesis import strategies as st

from mix_db.query import ast
from mix_db.query.dates import UNITS
from mixkit.value import INT64_MAX, INT64_MIN, UNDEF, Case, Ref

__all__ = ["FIELDS", "IDS", "constant_of", "filters", "histories", "queries", "record_fields", "watermark_of"]

FIELDS: Final = ("a", "b", "c", "_rmx_type")
IDS: Final = ("x", "y", "z", "w" * 300)
"""Ids of records; `histories` takes no others."""

_LONG: Final = "ab" * 128
_TEXTS: Final = (
    "", "a", "ab", "abc", "b", "B", "a%", "É", "A", "a_", "é", "\U0001f600", "\x00",
    _LONG[:255], _LONG, _LONG + "a", _LONG + "b",
)  # fmt: skip
_NUMBERS: Final = (
    0, 1, -1, 2, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, INT64_MIN, INT64_MAX, INT64_MAX - 1,
    0.0, -0.0, 1.0, 0.5, -1.5, 2.0**53, 2.0**63, 1e300, math.nan, math.inf, -math.inf,
)  # fmt: skip
_REFS: Final = (*IDS, "unknown", "0", "2", "02", "99", "w" * 299)
_PARAMS: Final = ("p", "q", "r")

_common: Final = st.sampled_from([0, 1, 2, 1.0, None, True, "a", "ab", Ref("x"), Ref("y")])
scalars: Final[st.SearchStrategy[Any]] = (
    _common
    | st.sampled_from(_NUMBERS)
    | st.sampled_from(_TEXTS)
    | st.sampled_from(_REFS).map(Ref)
    | st.sampled_from([None, True, False, b"", b"a", Case("s"), Case("s", 1), Case("t", Ref("x"))])
)
"""Values without parts."""

_fields: Final = st.sampled_from(FIELDS[:3])
_values: Final[st.SearchStrategy[Any]] = st.recursive(
    _common | scalars,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(_fields, part, max_size=3),
    max_leaves=5,
)

record_fields: Final[st.SearchStrategy[dict[str, Any]]] = st.dictionaries(
    _fields, _values, max_size=3
) | st.tuples(st.dictionaries(_fields, _values, max_size=3), st.sampled_from(["a", "b"])).map(
    lambda pair: {**pair[0], "_rmx_type": pair[1]}
)
"""What a client puts into a record."""


def watermark_of(commit: int) -> str:
    return f"{commit:016d}"


@st.composite
def histories(draw: st.DrawFn, max_size: int = 14) -> list[dict[str, Any]]:
    """Versions of records in commit order, as they are stored; several in some commits, some deleted."""
    versions: list[dict[str, Any]] = []
    newest: dict[str, int] = {}
    commit, time = 1, 1_000
    sizes = st.sampled_from([max_size // 2, max_size, max_size]) | st.integers(0, max_size)
    for row in range(draw(sizes)):
        if draw(st.booleans()):
            commit += 1
            time += draw(st.integers(0, 2))
        id = draw(st.sampled_from(IDS) | st.just(f"r{row}") | st.just(f"r{row}"))
        before = newest.get(id)
        gone = before is not None and draw(st.integers(0, 3)) == 0 and "_rmx_deleted" not in versions[before]
        version = {} if gone else dict(draw(record_fields))
        version |= {"_rmx_id": Ref(id), "_rmx_rev": watermark_of(commit), "_rmx_last_modified_at": time}
        if before is not None:
            version["_rmx_previous"] = Ref(str(before))
        if gone:
            version["_rmx_deleted"] = True
        newest[id] = row
        versions.append(version)
    return versions


def constant_of(value: Any) -> ast.Constant:
    """The node that a value is written as in a query."""
    match value:
        case list():
            return ast.ListOf(tuple([constant_of(item) for item in value]))
        case dict():
            return ast.MapOf(tuple([(name, constant_of(item)) for name, item in value.items()]))
        case Case(name=name, arg=arg):
            return ast.CaseOf(name, None if arg is UNDEF else constant_of(arg))
        case _:
            return ast.Scalar(value)


_PLAIN_OPERATORS: Final = [operator for operator in ast.COMPARISONS if operator not in ast.PATTERNS]

_simple_keys: Final[st.SearchStrategy[Any]] = _fields.map(ast.Field)
_engine_keys: Final = st.sampled_from(
    [
        "_rmx_id", "_rmx_type", "_rmx_rev", "_rmx_row", "_rmx_last_modified_at", "_rmx_previous", "_rmx_deleted",
        "_rmx_superseded", "_rmx_superseded_at", "_rmx_other",
    ]
).map(ast.Field)  # fmt: skip
_keys: Final[st.SearchStrategy[Any]] = st.recursive(
    _simple_keys
    | _simple_keys
    | _simple_keys
    | _engine_keys
    | _fields.map(lambda name: ast.Member(None, name))
    | st.just(ast.Param("key")),
    lambda base: st.builds(ast.Member, base, _fields | st.sampled_from(["a", "_rmx_id", "_rmx_row"])),
    max_leaves=3,
)
_patterns: Final = st.text(alphabet="abBé%_\\", max_size=4).map(ast.Scalar) | st.sampled_from(
    [_LONG + "%", _LONG[:255] + "%", _LONG, "%b", "a%", "ab%%", "%"]
).map(ast.Scalar)
_marks: Final = st.integers(0, 8).map(watermark_of) | st.sampled_from(["", "0", "00000000000000001", "a"])
_constants: Final = _values.map(constant_of) | st.sampled_from(_PARAMS).map(ast.Param)
_lists: Final = st.lists(_values, max_size=4).map(constant_of) | st.just(ast.Param("list"))
_leaves: Final[st.SearchStrategy[Any]] = (
    st.builds(ast.Comparison, st.sampled_from(_PLAIN_OPERATORS), _keys, _constants)
    | st.builds(ast.Comparison, st.sampled_from(_PLAIN_OPERATORS), _simple_keys, scalars.map(constant_of))
    | st.builds(ast.Comparison, st.sampled_from(ast.PATTERNS), _keys, _patterns | scalars.map(constant_of))
    | st.builds(ast.Comparison, st.sampled_from(ast.LIST_OPERATORS), _keys, _lists)
    | st.builds(ast.Exists, _keys)
    | st.builds(ast.After, _marks.map(ast.Scalar) | st.just(ast.Param("mark")))
    | st.builds(
        ast.Comparison,
        st.sampled_from(ast.COMPARISONS),
        st.just(ast.Field("_rmx_rev")),
        _marks.map(ast.Scalar),
    )
    | st.builds(
        ast.Comparison,
        st.sampled_from(ast.COMPARISONS),
        st.sampled_from(["_rmx_last_modified_at", "_rmx_superseded_at"]).map(ast.Field),
        st.integers(998, 1_010).map(ast.Scalar)
        | st.sampled_from([1000.5, math.nan, math.inf, None]).map(ast.Scalar),
    )
    | st.builds(
        ast.Comparison,
        st.just("=="),
        st.just(ast.Field("_rmx_id")),
        st.sampled_from(_REFS).map(Ref).map(ast.Scalar),
    )
    | st.just(ast.NullFilter())
)


def _holds_map(node: Any) -> bool:
    """Whether there is a map of constants, which in an expression reads as an object."""
    match node:
        case ast.ListOf(items) | ast.Call(_, items):
            return any(map(_holds_map, items))
        case ast.Arithmetic(_, left, right) | ast.Relation(_, left, right):
            return _holds_map(left) or _holds_map(right)
        case _:
            return isinstance(node, ast.MapOf)


_expressions: Final = st.recursive(
    _constants | _keys.filter(ast.is_key),
    lambda part: (
        st.builds(ast.Arithmetic, st.sampled_from(["+", "-", "*", "/", "%"]), part, part)
        | st.builds(ast.Relation, st.sampled_from(_PLAIN_OPERATORS), part, part)
        | st.builds(ast.Relation, st.sampled_from(ast.PATTERNS), part, _patterns)
        | st.builds(ast.Relation, st.sampled_from(ast.LIST_OPERATORS), part, _lists)
        | st.builds(
            lambda name, arg: ast.Call(name, (arg,)), st.sampled_from(["year", "weekday", "fold"]), part
        )
        | st.builds(
            lambda arg, unit: ast.Call("trunc", (arg, ast.Scalar(unit))), part, st.sampled_from(UNITS)
        )
    ),
    max_leaves=3,
).filter(lambda node: not _holds_map(node))


# By their names, since hypothesis writes out what other strategies are made of.
@st.composite
def _expression(draw: st.DrawFn) -> Any:
    return draw(_expressions)


@st.composite
def _filter(draw: st.DrawFn) -> Any:
    return draw(filters)


_relations: Final = st.builds(
    ast.Relation, st.sampled_from(_PLAIN_OPERATORS), _expression(), _expression()
) | st.builds(ast.Relation, st.sampled_from(_PLAIN_OPERATORS), _simple_keys, _simple_keys)


# Without a share of filters that are not odd most queries keep nothing or everything.
_plain: Final = st.builds(
    ast.Comparison, st.sampled_from(_PLAIN_OPERATORS), _simple_keys, _common.map(ast.Scalar)
) | st.builds(ast.Exists, _simple_keys)

filters: Final[st.SearchStrategy[Any]] = st.recursive(
    _leaves | _plain | _plain | _relations,
    lambda part: (
        st.builds(ast.Not, part)
        | st.lists(part, min_size=2, max_size=3).map(lambda items: ast.And(tuple(items)))
        | st.lists(part, min_size=2, max_size=3).map(lambda items: ast.Or(tuple(items)))
        | st.builds(ast.Subquery, _keys, part)
        | st.builds(ast.Subquery, _simple_keys, part)
    ),
    max_leaves=6,
)
"""Filters of all nodes."""

_members: Final = (
    st.builds(ast.AssignMember, _fields, _expression(), st.none() | scalars.map(constant_of))
    | st.builds(ast.CloneMembers, st.booleans())
    | st.builds(ast.RemoveMember, _fields)
    | st.builds(ast.FollowRef, _fields)
)
_counts: Final = st.integers(0, 6) | st.sampled_from([2**63 - 1])
_calculated: Final = st.one_of(
    st.builds(ast.Arithmetic, st.sampled_from(["+", "*", "%"]), _expression(), _expression()),
    st.builds(lambda arg: ast.Call("fold", (arg,)), _expression()),
    st.builds(ast.Relation, st.sampled_from(_PLAIN_OPERATORS), _expression(), _expression()),
)
_row_keys: Final = _keys | _keys | _keys | _calculated
_orders: Final = st.builds(
    ast.Order, _row_keys, st.sampled_from(["asc", "desc"]) | st.just(ast.Param("direction")), st.booleans()
)
_slices: Final = st.builds(
    ast.Slice, st.sampled_from(["skip", "limit"]), _counts | st.just(ast.Param("count"))
)
_blocks: Final[st.SearchStrategy[list[Any]]] = (
    st.lists(_members, max_size=3).map(lambda members: [ast.Object(tuple(members))])
    | _orders.map(lambda order: [order])
    | st.tuples(_orders, _slices).map(list)
    | st.just([ast.Reverse()])
    | _slices.map(lambda block: [block])
    | st.builds(lambda node: [ast.Where(node)], _filter())
    | st.builds(lambda key: [ast.Unnest(key)], _keys)
    | st.builds(
        lambda key, more: [ast.Group(key), *more], _row_keys, st.just([]) | st.just([ast.Aggregate("count")])
    )
    | st.just([ast.Aggregate("count")])
    | st.builds(
        lambda functions, key: [ast.Aggregate(name, None if name == "count" else key) for name in functions],
        st.lists(st.sampled_from(ast.AGGREGATES), min_size=1, max_size=3, unique=True),
        _row_keys,
    )
)


@st.composite
def queries(draw: st.DrawFn) -> tuple[ast.Query, dict[str, Any]]:
    """A query of any nodes, with values for its parameters."""
    stages: list[Any] = []
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 1, 2, 3]))):
        block = draw(_blocks)
        if not (stages and isinstance(stages[-1], ast.Aggregate) and isinstance(block[0], ast.Aggregate)):
            stages += block
    query = ast.Query(draw(filters), tuple(stages))
    given: dict[str, st.SearchStrategy[Any]] = {
        "key": st.sampled_from(FIELDS),
        "list": st.lists(_values, max_size=4),
        "mark": _marks,
        "count": st.integers(0, 6),
        "direction": st.sampled_from(["asc", "desc"]),
    }
    params: dict[str, Any] = {}
    for name in sorted(query.parameters()):
        params[name] = draw(given.get(name, _values))
    return query, params
