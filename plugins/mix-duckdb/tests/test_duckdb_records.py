"""Tables of records for sessions: made when named, kept by those who may read them, and given up."""

from __future__ import annotations

import gc
import io
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from mix_duckdb.records import Cache, DuckdbSql
from mix_duckdb.settings import DuckdbSettings

from mixkit.errors import QueryError
from mixkit.sql import SqlEngine


class Origin:
    """What tables are of."""


class Made:
    """Implements `mixkit.sql.RecordTables`; counts what is made."""

    def __init__(self, origin: Origin, watermark: str = "1", **columns: Sequence[Any]) -> None:
        self.origin = origin
        self.watermark = watermark
        self._table = pa.table(columns or {"n": [1, 2, 3]})
        self.made: list[str] = []

    def names(self) -> list[str]:
        return ["notes", "Odd name", "broken"]

    def stream(self, name: str) -> Iterator[bytes]:
        self.made.append(name)
        if name == "broken":
            raise QueryError("expected a table of at most 5 bytes of records, found one with more")
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, self._table.schema) as writer:
            writer.write_table(self._table)
        yield sink.getvalue()


@pytest.fixture
def engine() -> DuckdbSql:
    return DuckdbSql(DuckdbSettings(process_memory=512 << 20))


async def ask(engine: DuckdbSql, tables: Made, sql: str, params: Any = ()) -> list[dict[str, Any]]:
    session = await engine.open(tables, deadline=time.monotonic() + 60)
    try:
        answer = await session.query(sql, params)
        rows: list[dict[str, Any]] = []
        while (batch := await answer.rows()) is not None:
            rows += batch
        return rows
    finally:
        session.close()


async def test_statements_see_the_tables_that_they_name(engine: DuckdbSql) -> None:
    assert isinstance(engine, SqlEngine)
    tables = Made(Origin())
    assert await ask(engine, tables, "select sum(n) as total from notes where n > ?", [1]) == [{"total": 5}]
    assert await ask(engine, tables, 'select count(*) as c from "ODD NAME"') == [{"c": 3}]
    assert tables.made == ["notes", "Odd name"]
    # The next session has them without making them.
    assert await ask(engine, tables, "select max(n) as m from Notes") == [{"m": 3}]
    assert tables.made == ["notes", "Odd name"]


async def test_an_error_of_a_table_is_that_of_the_statement(engine: DuckdbSql) -> None:
    tables = Made(Origin())
    with pytest.raises(QueryError, match="at most 5 bytes"):
        await ask(engine, tables, "select * from broken")
    with pytest.raises(QueryError, match=r"no table note; there are notes, Odd name, broken.*mean.*notes"):
        await ask(engine, tables, "select * from note")
    with pytest.raises(QueryError, match="at most 5 bytes"):
        await ask(engine, tables, "select * from broken")
    assert tables.made == ["broken", "broken"]


def test_tables_are_found_only_by_what_they_are_of() -> None:
    cache = Cache(1 << 20)
    one, other = Made(Origin()), Made(Origin())
    assert cache.get(one, "notes") is cache.get(one, "notes")
    assert cache.get(other, "notes") is not cache.get(one, "notes")
    later = Made(one.origin, "2")
    assert cache.get(later, "notes") is not cache.get(one, "notes")
    assert (one.made, other.made, later.made) == (["notes"], ["notes"], ["notes"])


def test_tables_go_when_the_database_does() -> None:
    cache = Cache(1 << 20)
    tables = Made(Origin())
    cache.get(tables, "notes")
    assert cache.size > 0
    del tables
    gc.collect()
    other = Made(Origin())
    cache.get(other, "notes")
    assert cache.size == cache.get(other, "notes").size


def test_what_was_not_used_lately_goes_first() -> None:
    size = Cache(1 << 20).get(Made(Origin()), "notes").size
    cache = Cache(2 * size)
    tables = [Made(Origin()) for _ in range(3)]
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
    tables = Made(Origin())
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
