"""What every engine for SQL, and every database that hands over its records as tables, must do. Both need pyarrow.

class TestMySql(SqlEngineSuite):
    @pytest.fixture
    def engine(self):
        return MySql()

class TestMyTables(TabularSuite):
    @pytest.fixture
    def database(self):
        return MyStorage().open(…)
"""

from __future__ import annotations

import io
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from mixkit.errors import NotFound, QueryCancelled, QueryError, QueryTimeout
from mixkit.sql import Params, RecordTables, SqlEngine, tables_of
from mixkit.storage import Database
from mixkit.value import Ref

__all__ = ["MadeTables", "Origin", "SqlEngineSuite", "TabularSuite"]

_END = 8


class Origin:
    """What tables are of."""


class MadeTables:
    """`RecordTables` for tests of engines: a table `notes` of numbers `n`, and one that cannot be had, `broken`.

    Attributes:
        made: the names of the tables that were asked for whole.
        grown: rows that came since `watermark` was another one; None if the table is to be made anew.
    """

    def __init__(self, origin: object, watermark: str = "1", numbers: Sequence[int] = (1, 2, 3)) -> None:
        self.origin = origin
        self.watermark = watermark
        self.numbers = numbers
        self.grown: Sequence[int] | None = None
        self.made: list[str] = []

    def names(self) -> list[str]:
        return ["notes", "Odd name", "broken"]

    def stream(self, name: str, columns: Collection[str] | None = None) -> Iterator[bytes]:
        self.made.append(name)
        if name == "broken":
            raise QueryError("expected a table of at most 5 bytes of records, found one with more")
        yield _written(self.numbers)

    def appended(self, name: str, watermark: str, stream: memoryview) -> Iterator[bytes] | None:
        if self.grown is None:
            return None
        begun = len(_written(())) - _END
        return iter([_written(self.grown)[begun:]])


def _written(numbers: Sequence[int]) -> bytes:
    import pyarrow

    table = pyarrow.table({"n": pyarrow.array(numbers, pyarrow.int64())})
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        if numbers:
            writer.write_table(table)
    return sink.getvalue()


async def _ask(
    engine: SqlEngine, tables: RecordTables, sql: str, params: Params = ()
) -> list[dict[str, Any]]:
    with closing(await engine.open(tables, deadline=time.monotonic() + 60)) as session:
        answer = await session.query(sql, params)
        rows: list[dict[str, Any]] = []
        while (batch := await answer.rows()) is not None:
            assert batch, "rows come before there are no more"
            rows += batch
        assert answer.done
        return rows


class SqlEngineSuite:
    @pytest.fixture
    def engine(self) -> SqlEngine:
        raise NotImplementedError("override the fixture `engine` with an engine of yours")

    async def test_statements_see_the_tables_that_they_name(self, engine: SqlEngine) -> None:
        assert isinstance(engine, SqlEngine)
        tables = MadeTables(Origin())
        assert await _ask(engine, tables, "select sum(n) as total from notes where n > ?", [1]) == [
            {"total": 5}
        ]
        assert await _ask(engine, tables, 'select count(*) as c from "ODD NAME"') == [{"c": 3}]
        assert tables.made == ["notes", "Odd name"]
        # The next session has them without their being made.
        assert await _ask(engine, tables, "select max(n) as m from Notes where n < $n", {"n": 3}) == [
            {"m": 2}
        ]
        assert tables.made == ["notes", "Odd name"]

    async def test_tables_are_those_of_their_database_and_moment(self, engine: SqlEngine) -> None:
        origin = Origin()
        asked = "select sum(n) as s from notes"
        assert await _ask(engine, MadeTables(origin), asked) == [{"s": 6}]
        assert await _ask(engine, MadeTables(Origin(), numbers=[7]), asked) == [{"s": 7}]
        assert await _ask(engine, MadeTables(origin, "2", [8]), asked) == [{"s": 8}]
        assert await _ask(engine, MadeTables(origin), asked) == [{"s": 6}]

    async def test_what_has_only_grown_is_not_made_anew(self, engine: SqlEngine) -> None:
        origin = Origin()
        # The whole table, since what is in part may be made anew.
        assert len(await _ask(engine, MadeTables(origin), "select * from notes")) == 3
        for number in range(2, 5):
            later = MadeTables(origin, str(number))
            later.grown = [10]
            expected = [{"s": 6 + 10 * (number - 1), "c": 2 + number}]
            assert await _ask(engine, later, "select sum(n) as s, count(*) as c from notes") == expected
            assert later.made == []

    async def test_an_error_of_a_table_is_that_of_the_statement(self, engine: SqlEngine) -> None:
        tables = MadeTables(Origin())
        for _ in range(2):
            with pytest.raises(QueryError, match="at most 5 bytes"):
                await _ask(engine, tables, "select * from broken")
        assert tables.made == ["broken", "broken"]

    async def test_mistakes_are_errors_of_queries_that_say_where(self, engine: SqlEngine) -> None:
        tables = MadeTables(Origin())
        for wrong, told in (
            ("selct 1", "selct"),
            ("select m from notes", "m"),
            ("select ?", "param"),
            ("", "no statement"),
        ):
            with pytest.raises(QueryError, match=told):
                await _ask(engine, tables, wrong)
        with pytest.raises(
            QueryError, match=r"no table note; there are notes, Odd name, broken.*mean.*notes"
        ):
            await _ask(engine, tables, "select * from note")

    async def test_nothing_but_the_tables_is_reached(self, engine: SqlEngine) -> None:
        for outside in (
            "from read_csv('/etc/passwd')",
            "copy notes to 'x'",
            "attach 'x.db'",
            "install x",
            "load x",
        ):
            with pytest.raises(QueryError):
                await _ask(engine, MadeTables(Origin()), outside)

    async def test_a_statement_ends_with_its_deadline(self, engine: SqlEngine) -> None:
        session = await engine.open(MadeTables(Origin()), deadline=time.monotonic() + 0.3)
        with closing(session), pytest.raises((QueryTimeout, QueryCancelled)):
            await session.query("select sum(a.range * b.range) from range(100000000) a, range(1000) b")

    async def test_a_session_that_was_closed_answers_no_more(self, engine: SqlEngine) -> None:
        session = await engine.open(MadeTables(Origin()), deadline=time.monotonic() + 60)
        open_before = not session.closed
        session.close()
        session.close()
        assert open_before and session.closed
        with pytest.raises(QueryCancelled):
            await session.query("select 1")


class TabularSuite:
    @pytest.fixture
    def database(self) -> Iterator[Database]:
        raise NotImplementedError("override the fixture `database` with an empty one of yours")

    def test_each_type_is_a_table_and_records_has_all(self, database: Database) -> None:
        database.save([{"_rmx_type": "note", "n": 1}, {"_rmx_type": "other", "n": 2}, {"n": 3}])
        tables = tables_of(database)
        assert {name: _read(tables, name)["n"].to_pylist() for name in tables.names()} == {
            "records": [1, 2, 3],
            "note": [1],
            "other": [2],
        }
        with pytest.raises(NotFound, match="nothing"):
            _read(tables, "nothing")

    def test_names_differ_by_more_than_the_case_of_letters(self, database: Database) -> None:
        database.save([{"_rmx_type": name, name: 1} for name in ("note", "Note", "NOTE", "Records")])
        tables = tables_of(database)
        for names in (tables.names(), _read(tables, "records").column_names):
            assert len({name.casefold() for name in names}) == len(names)

    def test_tables_are_of_one_moment_and_have_the_newest_versions(self, database: Database) -> None:
        first, second = database.save([{"n": 1}, {"n": 2}]).records
        before = tables_of(database)
        database.save([{"_rmx_id": first["_rmx_id"], "n": 10}])
        database.delete([second["_rmx_id"]])
        after, past = tables_of(database), tables_of(database.as_of(before.watermark))
        assert _read(after, "records")["n"].to_pylist() == [10]
        for old in (before, past):
            assert _read(old, "records")["n"].to_pylist() == [1, 2]
        assert after.origin is before.origin is past.origin
        assert past.watermark == before.watermark < after.watermark == tables_of(database).watermark

    def test_values_of_a_column_are_of_one_kind(self, database: Database) -> None:
        database.save([{"t": "a", "r": Ref("x"), "m": {"a": 1}, "l": [1], "o": 1}, {"t": None, "o": "a"}])
        table = _read(tables_of(database), "records")
        shown = table.select(["t", "r", "m", "l", "o"]).to_pylist()
        assert shown[0] == {"t": "a", "r": "x", "m": {"a": 1}, "l": [1], "o": "1"}
        assert shown[1] == {"t": None, "r": None, "m": None, "l": None, "o": '"a"'}

    def test_only_the_columns_that_are_needed_are_there(self, database: Database) -> None:
        database.save([{"n": n, "Text": "a", "other": {"x": n}} for n in range(3)])
        tables = tables_of(database)
        found = _table(b"".join(tables.stream("records", ["N", "text", "nothing"])))
        assert found["n"].to_pylist() == [0, 1, 2] and found["Text"].to_pylist() == ["a"] * 3
        assert "other" not in found.column_names
        assert _table(b"".join(tables.stream("records", []))).num_rows == 3

    def test_what_is_appended_makes_the_table_that_there_is_now(self, database: Database) -> None:
        database.save([{"n": n} for n in range(3)])
        before = tables_of(database)
        stream = b"".join(before.stream("records"))
        for more in ({"n": 9}, {"n": 0.5}, {"other": 1}):
            database.save([more])
            now = tables_of(database)
            parts = now.appended("records", before.watermark, memoryview(stream))
            made = b"".join(now.stream("records")) if parts is None else stream[:-_END] + b"".join(parts)
            assert _table(made).to_pylist() == _read(now, "records").to_pylist()
            before, stream = now, made


def _read(tables: RecordTables, name: str) -> Any:
    return _table(b"".join(tables.stream(name)))


def _table(stream: bytes) -> Any:
    import pyarrow

    return pyarrow.ipc.open_stream(stream).read_all()
