"""What every storage must do with bad input: refuse it, with its place and the reason, and store nothing of it."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from mixkit.errors import QueryError, RecordError
from mixkit.storage import Database, SaveOptions
from mixkit.testing.storage_suite import StorageFixtures, save
from mixkit.value import UNDEF, Case, Ref, Token

__all__ = ["StorageRefusalSuite"]

MIB = 1 << 20
LONGEST = 2_000
"""Most characters of a message: what a stranger sends does not fill a log."""


def _nested(depth: int, *, maps: bool = False) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if maps else [value]
    return value


def _conditions(depth: int) -> Any:
    tree: Any = ["nullFilter"]
    for _ in range(depth):
        tree = ["not", tree]
    return tree


# Without names: a text would be its own, a megabyte long.
BAD_RECORDS: Final[list[tuple[Any, str]]] = [
    ({"a": object()}, r"\$\[1\]\.a"),
    ({"a": (1, 2)}, r"\$\[1\]\.a"),
    ({"a": {1, 2}}, r"\$\[1\]\.a"),
    ({"a": 2**63}, r"\$\[1\]\.a"),
    ({"a": -(2**63) - 1}, r"\$\[1\]\.a"),
    ({"a": [1, {"b": 2**64}]}, r"\$\[1\]\.a\[1\]\.b"),
    ({"a": Case("x", 2**64)}, r"\$\[1\]\.a"),
    ({"a": UNDEF}, r"\$\[1\]\.a"),
    ({"a": Token(b"secret")}, r"\$\[1\]\.a"),
    ({"a": [{"b": Token(b"secret")}]}, r"\$\[1\]\.a\[0\]\.b"),
    ({"a": "\ud800"}, r"\$\[1\]\.a"),
    ({"a": Ref("\ud800")}, r"\$\[1\]\.a"),
    ({"\ud800": 1}, r"\$\[1\]"),
    ({1: 2}, r"\$\[1\]"),
    ({"a": _nested(300)}, r"\$\[1\]\.a"),
    ({"a": _nested(10_000)}, r"\$\[1\]\.a"),
    ({"a": _nested(10_000, maps=True)}, r"\$\[1\]\.a"),
    ({"k" * MIB: 1}, r"\$\[1\]"),
    ({"a": [{"k" * MIB: 1}]}, r"\$\[1\]\.a\[0\]"),
    ({"_rmx_id": 5}, r"\$\[1\]\._rmx_id"),
    ({"_rmx_id": None}, r"\$\[1\]\._rmx_id"),
    ({"_rmx_id": ["a"]}, r"\$\[1\]\._rmx_id"),
    ({"_rmx_id": "\ud800"}, r"\$\[1\]\._rmx_id"),
    ({"_rmx_type": 5}, r"\$\[1\]\._rmx_type"),
    ("text", r"\$\[1\]"),
    (None, r"\$\[1\]"),
    ([["a", 1]], r"\$\[1\]"),
]

BAD_QUERIES: Final[list[Any]] = [
    "|",
    "n ==",
    'n == "open',
    "n == 1 n == 2",
    "n = 1",
    "n == 9223372036854775808",
    "true | nonsense()",
    "true | limit(-1)",
    "true; true",
    "\0",
    "n == \ud800",
    "(" * 100_000 + "true",
    "not " * 10_000 + "true",
    "n == " + "[" * 10_000,
    "n == 1 or " * (MIB // 10) + "true",
    '"' + "k" * MIB + '" == 1',
    ["nonsense"],
    [],
    ["comparison", "==", ["token", "n"]],
    ["comparison", "=", ["token", "n"], 1],
    ["query", ["nullFilter"], [["limit", -1]]],
    ["comparison", "==", ["token", "n"], 2**63],
    ["comparison", "==", ["token", "n"], object()],
    _conditions(10_000),
    ["or", [["nullFilter"]] * 100_000],
    None,
    5,
    {"filter": True},
    b"true",
]

BAD_PARAMS: Final[list[Any]] = [
    {},
    None,
    {"m": 1},
    {"n": 1, "m": 1},
    {"n": object()},
    {"n": (1,)},
    {"n": 2**63},
    {"n": UNDEF},
    {"n": Token(b"secret")},
    {"n": "\ud800"},
    {"n": _nested(10_000)},
]


class StorageRefusalSuite(StorageFixtures):
    """See the module's text."""

    @pytest.mark.parametrize(("record", "where"), BAD_RECORDS, ids=range(len(BAD_RECORDS)))
    @pytest.mark.parametrize("upsert", [False, True])
    def test_a_bad_record_is_refused_with_its_place(
        self, database: Database, record: Any, where: str, upsert: bool
    ) -> None:
        save(database, {"n": 0})
        before = database.watermark()
        with pytest.raises(RecordError) as caught:
            database.save([{"n": 1}, record, {"n": 2}], SaveOptions(upsert=upsert))
        assert re.match(where, caught.value.path)
        assert caught.value.path in str(caught.value)
        assert len(str(caught.value)) < LONGEST
        assert "secret" not in str(caught.value)
        assert database.watermark() == before
        assert list(database.query("true | count()")) == [{"count": 1}]

    @pytest.mark.parametrize("id", [5, None, b"x", ["a"], "\ud800", Ref("\ud800")])
    def test_a_bad_id_is_refused(self, database: Database, id: Any) -> None:
        [record] = save(database, {"n": 0})
        with pytest.raises(RecordError) as caught:
            database.delete([record["_rmx_id"], id])
        assert caught.value.path.startswith("$[1]")
        with pytest.raises(RecordError):
            database.get(id)
        with pytest.raises(RecordError):
            database.history(id)
        assert database.get(record["_rmx_id"]) == record

    @pytest.mark.parametrize("query", BAD_QUERIES, ids=range(len(BAD_QUERIES)))
    def test_a_bad_query_is_refused(self, database: Database, query: Any) -> None:
        for run in (
            database.query, database.explain, database.live, database.parse, database.as_of(0).query,
        ):  # fmt: skip
            with pytest.raises(QueryError) as caught:
                run(query)
            assert len(str(caught.value)) < LONGEST

    @pytest.mark.parametrize("params", BAD_PARAMS, ids=range(len(BAD_PARAMS)))
    def test_bad_parameters_are_refused(self, database: Database, params: Any) -> None:
        with pytest.raises(QueryError) as caught:
            database.query("n == $n", params)
        assert "secret" not in str(caught.value)
        assert len(str(caught.value)) < LONGEST

    @pytest.mark.parametrize(
        ("query", "value"),
        [
            ("after $p", 5),
            ("$p == 1", 5),
            ("true | limit($p)", "5"),
            ("true | skip($p)", -1),
            ("true | order(n, $p)", "up"),
        ],
    )
    def test_parameters_of_a_wrong_kind_are_refused(self, database: Database, query: str, value: Any) -> None:
        save(database, {"n": 1})
        with pytest.raises(QueryError):
            list(database.query(query, {"p": value}))

    def test_costly_rows_end_in_an_error(self, database: Database) -> None:
        save(database, {"items": [*([{"a": 1}] * 120), {"a": 2}], "text": "x" * 100_000})
        deep = "items.(a == 1 and .items.(a == 1 and .items.(a == 1 and a == 2)))"
        with pytest.raises(QueryError):
            list(database.query(deep))
        doubled = " | ".join(["true", *["{ text: text + text }"] * 12])
        with pytest.raises(QueryError):
            list(database.query(doubled))
