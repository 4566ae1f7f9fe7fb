"""Tables of records for sessions: made when named, kept by those who may read them, and given up."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from mix_duckdb.records import Cache, DuckdbSql
from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.wanted import wanted_columns

from mixkit.testing.sql_suite import MadeTables, Origin, SqlEngineSuite


class TestDuckdb(SqlEngineSuite):
    @pytest.fixture
    def engine(self) -> DuckdbSql:
        return DuckdbSql(DuckdbSettings(process_memory=512 << 20))


def test_tables_are_found_only_by_what_they_are_of() -> None:
    cache = Cache(1 << 20)
    one, other = MadeTables(Origin()), MadeTables(Origin())
    assert cache.get(one, "notes") is cache.get(one, "notes")
    assert cache.get(other, "notes") is not cache.get(one, "notes")
    later = MadeTables(one.origin, "2")
    assert cache.get(later, "notes") is not cache.get(one, "notes")
    assert (one.made, other.made, later.made) == (["notes"], ["notes"], ["notes"])


def test_columns_that_are_asked_for_once_more_are_those_of_the_whole_table() -> None:
    cache = Cache(1 << 20)
    tables = MadeTables(Origin())
    asked: list[Any] = []
    stream = tables.stream

    def noted(name: str, columns: Any = None) -> Iterator[bytes]:
        asked.append(columns)
        return stream(name)

    tables.stream = noted  # type: ignore[method-assign]
    first = cache.get(tables, "notes", ["N", "m"])
    assert cache.get(tables, "notes", ["n"]) is first
    whole = cache.get(tables, "notes", ["other"])
    assert asked == [frozenset({"n", "m"}), None]
    assert cache.get(tables, "notes") is whole and cache.get(tables, "notes", ["x"]) is whole


@pytest.mark.parametrize(
    "query, columns",
    [
        ("select kind, count(*), sum(N) as s from t group by kind order by s", {"kind", "n", "s"}),
        ("select x.a, u.b.c from t x join u using (k) where x.d = $e", {"x", "a", "u", "b", "c", "k", "d"}),
        ("select count(*) from t", set()),
        ("select a from (select a, b from t) where b > (select max(c) from u)", {"a", "b", "c"}),
        ("select list_transform(tags, lambda x: x + 1) from t, u", {"tags", "x"}),
        ("select a from t union select b from u", {"a", "b"}),
        ("from t", None),
        ("select * from t", None),
        ("select t.* exclude (a) from t", None),
        ("select columns('a.*') from t", None),
        ("select t from t", None),
        ("select x from t as x", None),
        ("select count(main.t) from t", None),
        ("select a from t natural join u", None),
        ("select a from t as x(a, b)", None),
        ("select a from (summarize t)", None),
        ("select a, #1 from t", None),
        ("describe t", None),
        ("pivot t on a using sum(b)", None),
        ("selct", None),
    ],
)
def test_columns_that_a_query_can_read(query: str, columns: set[str] | None) -> None:
    with duckdb.connect() as connection:
        assert wanted_columns(connection, query) == columns


def test_tables_go_when_the_database_does() -> None:
    cache = Cache(1 << 20)
    tables = MadeTables(Origin())
    cache.get(tables, "notes")
    assert cache.size > 0
    del tables
    gc.collect()
    other = MadeTables(Origin())
    cache.get(other, "notes")
    assert cache.size == cache.get(other, "notes").size


def test_what_was_not_used_lately_goes_first() -> None:
    size = Cache(1 << 20).get(MadeTables(Origin()), "notes").size
    cache = Cache(2 * size)
    tables = [MadeTables(Origin()) for _ in range(3)]
    for each in (tables[0], tables[1], tables[0], tables[2]):
        cache.get(each, "notes")
    assert cache.size == 2 * size
    for each in (tables[0], tables[2], tables[1]):
        cache.get(each, "notes")
    assert [len(each.made) for each in tables] == [1, 2, 1]
    # What is larger than all that may be kept is made, and not kept.
    none = Cache(size - 1)
    assert none.get(tables[0], "notes").size == size and none.size == 0


def test_a_table_is_made_once_for_all_who_wait_for_it() -> None:
    cache = Cache(1 << 20)
    tables = MadeTables(Origin())
    began, go = threading.Event(), threading.Event()
    stream = tables.stream

    def slow(name: str) -> Iterator[bytes]:
        began.set()
        assert go.wait(60)
        return stream(name)

    tables.stream = slow  # type: ignore[method-assign]
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(cache.get(tables, "notes"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert began.wait(60)
    go.set()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(map(id, found))) == 1 and tables.made == ["notes"]
