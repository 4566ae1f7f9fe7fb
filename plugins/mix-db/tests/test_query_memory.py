"""What a query holds at once is bounded, and no more is held than must be."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_db import Database
from mix_db.query.memory import Memory
from mix_db.query.stages import _SPARE, _first
from mix_db.settings import Settings

from mixkit.errors import QueryTooLarge

ROWS = 3_000
MOST = 100_000
"""Bytes. The texts of all rows are many more, those of a few rows less."""

TOO_LARGE = [
    'blob == $b | order(word, "asc") | { n }',
    "blob == $b | orderDesc(word)",
    "blob == $b | reverse()",
    'blob == $b | order(n, "asc") | limit(2000)',
    "blob == $b | group(word)",
    "blob == $b | group(word) | max(text)",
    "blob == $b | max(text)",
    "blob == $b | distinct(text)",
    "true | distinct(text)",
    "true | group(text) | count()",
    'true | { n, text } | order(n, "asc")',
    "blob == $b and few == 0 | unnest(list) | unnest(list2) | reverse()",
    "blob == $b and few == 0 | unnest(list) | unnest(list2) | group(list)",
    "true | group(maps.n)",
    "true | distinct(maps.text)",
    "true | orderAsc(text:ci)",
    "blob == $b | orderDesc(word:ci)",
]
FINE = [
    "blob == $b",
    "blob == $b | count()",
    "blob == $b | sum(n)",
    "blob == $b | { n } | limit(5)",
    'blob == $b | order(word, "asc") | limit(5)',
    "blob == $b | orderDesc(n) | skip(3) | limit(5)",
    'true | order(n, "asc")',
    "true | group(few) | count()",
    "true | max(n)",
    "true | reverse() | limit(2)",
    "few == 0 | unnest(list) | unnest(list2) | count()",
    "true | where(n > 5) | count()",
    "true | orderAsc(lower:ci) | limit(5)",
]


@pytest.fixture(scope="module")
def database() -> Any:
    with Database.in_memory(settings=Settings(query_memory=MOST)) as database:
        database.save(
            [
                {
                    "n": n,
                    "few": n % 5,
                    "blob": b"b",
                    "word": f"w{n * 7919 % ROWS:05}",
                    "text": f"{n:05}" + "x" * 200,
                    "list": [1, 2, 3],
                    "list2": [1, 2, 3],
                    "maps": [{"n": n, "text": f"{n:05}"}],
                    "lower": f"w{n % 7}",
                }
                for n in range(ROWS)
            ]
        )
        yield database


def params(query: str) -> dict[str, Any]:
    # No index settles it, so that each row must be read.
    return {"b": b"b"} if "$b" in query else {}


@pytest.mark.parametrize("query", TOO_LARGE)
def test_a_query_that_must_hold_too_much_is_refused_by_name(database: Database, query: str) -> None:
    with (
        pytest.raises(QueryTooLarge, match=f"{MOST} bytes of rows"),
        database.contract.query(query, params(query)) as rows,
    ):
        for _ in rows:
            pass
    with pytest.raises(QueryTooLarge):
        database.contract.explain(query, params(query))


@pytest.mark.parametrize("query", FINE)
def test_what_need_not_be_held_is_not_counted(database: Database, query: str) -> None:
    with database.contract.query(query, params(query)) as rows:
        assert list(rows)


def test_a_live_query_holds_no_more_than_a_query(database: Database) -> None:
    with pytest.raises(QueryTooLarge):
        database.contract.live("true").next(0)
    change = database.contract.live("n < 10").next(0)
    assert change is not None and len(change.entered) == 10


@given(st.lists(st.integers(0, 20), max_size=200), st.integers(0, 30), st.booleans(), st.integers(0, 5))
def test_the_first_rows_are_those_of_a_whole_sort(
    numbers: list[int], need: int, reverse: bool, times: int
) -> None:
    rows = [{"n": n, "place": place} for place, n in enumerate(numbers * times)]
    memory = Memory(10_000_000)
    found = list(_first(iter(rows), itemgetter("n"), reverse, need, memory))
    assert found == sorted(rows, key=itemgetter("n"), reverse=reverse)[:need]


def test_few_rows_of_many_take_little_memory() -> None:
    made = ({"n": n * 7919 % 100_003, "text": "x" * 100} for n in range(50_000))
    # As many as are needed twice, and the spare ones.
    memory = Memory((2 * 10 + _SPARE) * 300)
    found = list(_first(made, itemgetter("n"), False, 10, memory))
    assert [row["n"] for row in found] == sorted(n * 7919 % 100_003 for n in range(50_000))[:10]
    assert memory._held <= 10 * 300
