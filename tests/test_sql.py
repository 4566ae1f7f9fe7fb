"""SQL over records, through storage, kernel and the process that runs it: what it answers, and to whom."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_db import Database
from mix_db.testing.strategies import record_fields

from mixkit import tagged_json
from mixkit.cli import main
from mixkit.errors import NotFound, QueryCancelled, QueryError, QueryTimeout, StorageError
from mixkit.value import Case, Ref

pytestmark = pytest.mark.xdist_group("sql")


@pytest.fixture
def database() -> Iterator[Database]:
    with Database.in_memory() as database:
        yield database


@pytest.fixture(scope="module")
def one() -> Iterator[Database]:
    """For tests that put in whatever comes."""
    with Database.in_memory() as database:
        yield database


def test_types_are_tables(database: Database) -> None:
    database.save([{"_rmx_type": "note", "kind": kind, "n": n} for n, kind in enumerate("abab")])
    database.save([{"_rmx_type": "Other", "n": 9}, {"n": 10}])
    asked = "select kind, count(*) as c, sum(n) as s from note group by kind order by kind"
    assert database.sql(asked).all() == [{"kind": "a", "c": 2, "s": 2}, {"kind": "b", "c": 2, "s": 4}]
    assert database.sql("select n from note where n > ? order by n", [1]).all() == [{"n": 2}, {"n": 3}]
    assert database.sql("select n from other where n = $n", n=9).first() == {"n": 9}
    rows = database.sql("select count(*) as c, max(n) as m from records")
    assert [column.name for column in rows.columns] == ["c", "m"]
    assert list(rows) == [{"c": 6, "m": 10}]
    with pytest.raises(QueryError, match="no table notes; there are records, Other, note"):
        database.sql("from notes")
    with pytest.raises(QueryError, match="knd"):
        database.sql("select knd from note")


values = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.sampled_from(["", "a", "b", "é"])
numbers = st.none() | st.integers(-1000, 1000)
flat = st.lists(st.fixed_dictionaries({}, optional={"k": values, "n": numbers, "m": numbers}), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flat)
def test_sql_answers_as_the_query_language_does(one: Database, records: list[dict[str, Any]]) -> None:
    one.delete([row["_rmx_id"] for row in one.query()])
    one.save(
        [{"_rmx_type": "t", **record} for record in records] + [{"_rmx_type": "t", "k": "z", "n": 0, "m": 0}]
    )
    # In SQL null is not less than a number, as it is there; where texts and others are mixed, the column is JSON.
    mixed = {type(record["k"]) for record in records if record.get("k") is not None} - {str}
    key = "k->>'$' = 'a' and json_type(k) = 'VARCHAR'" if mixed else "k = 'a'"
    for where, asked in (
        ("n > 5", "n > 5"),
        ("n > -10 and m >= 0", "n > -10 and m >= 0"),
        ("n == 0 or m > 3", "n = 0 or m > 3"),
        ('k == "a"', key),
    ):
        expected = [row["_rmx_id"].id for row in one.query(where)]
        found = one.sql(f"select _rmx_id from t where {asked} order by _rmx_row").all()
        assert [row["_rmx_id"] for row in found] == expected, where
    total = one.sql("select count(*) as c, sum(n) as s, count(m) as m from t").first()
    rows = list(one.query())
    assert total == {
        "c": len(rows),
        "s": sum(row.get("n") or 0 for row in rows),
        "m": sum(row.get("m") is not None for row in rows),
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(record_fields, min_size=1, max_size=5))
def test_every_record_can_be_selected(one: Database, records: list[dict[str, Any]]) -> None:
    one.delete([row["_rmx_id"] for row in one.query()])
    one.save([{name: value for name, value in record.items() if name != "_rmx_type"} for record in records])
    kept = list(one.query())
    rows = one.sql("from records order by _rmx_row")
    kinds = {column.name: column.type for column in rows.columns}
    for record, row in zip(kept, rows, strict=True):
        assert row["_rmx_id"] == record["_rmx_id"].id
        for name, kind in kinds.items():
            value = record.get(name)
            if kind == "BIGINT":
                assert row[name] == value
            elif kind == "DOUBLE":
                assert value is None or row[name] == value or (math.isnan(value) and math.isnan(row[name]))
            elif kind == "VARCHAR":
                assert row[name] == (value.id if isinstance(value, Ref) else value)


def test_nested_values_are_structs_and_lists(database: Database) -> None:
    database.save(
        [
            {
                "_rmx_type": "t",
                "place": {"city": "Bern", "no": 5, "City": "x"},
                "tags": ["a", "b"],
                "Name": 1,
                "name": 2,
            },
            {"_rmx_type": "t", "place": {"city": "Thun"}, "tags": [], "odd": 1},
            {"_rmx_type": "t", "odd": {"x": "y"}, "ref": Ref("somebody")},
        ]
    )
    row = database.sql(
        "select place.City as c, place.city_2 as d, tags[2] as t, Name as n, name_2 as m from t"
    ).first()
    # The first by code points keeps its name.
    assert row == {"c": "x", "d": "Bern", "t": "b", "n": 1, "m": 2}
    assert database.sql("select odd->>'$.x' as x, ref from t where ref is not null").all() == [
        {"x": "y", "ref": "somebody"}
    ]
    assert database.sql("select unnest(tags) as tag from t").all() == [{"tag": "a"}, {"tag": "b"}]
    # A map without a field is not the same as no map.
    assert database.sql("select count(place) as maps, count(place.no) as numbers from t").first() == {
        "maps": 2,
        "numbers": 1,
    }


def test_values_are_what_the_document_says(database: Database) -> None:
    person = database.save({"_rmx_type": "person", "name": "Ann"})
    database.save(
        [
            {
                "_rmx_type": "v",
                "day": "2026-01-31T12:00:00Z",
                "ms": 1_769_860_800_000,
                "by": person["_rmx_id"],
            },
            {
                "_rmx_type": "v",
                "f": math.nan,
                "raw": b"\0\xff",
                "case": Case("x", 1),
                "any": 1,
                "nothing": None,
            },
            {"_rmx_type": "v", "f": 2, "any": "text", "big": 2**53 + 1},
            {"_rmx_type": "v", "f": math.inf, "any": [1], "big": 0.5},
        ]
    )
    kinds = {column.name: column.type for column in database.sql("from v").columns}
    assert kinds == kinds | {
        "day": "VARCHAR", "ms": "BIGINT", "by": "VARCHAR", "f": "DOUBLE", "raw": "BLOB", "case": "JSON",
        "any": "JSON", "nothing": "JSON", "big": "JSON",
    }  # fmt: skip
    moment = database.sql(
        "select day::timestamptz = make_timestamp(ms * 1000)::timestamptz as same from v limit 1"
    )
    assert moment.first() == {"same": True}
    assert database.sql("select name from v join person on person._rmx_id = v.by").all() == [{"name": "Ann"}]
    ordered = database.sql("select f from v where f is not null order by f").all()
    assert repr(ordered) == "[{'f': 2.0}, {'f': inf}, {'f': nan}]"
    texts = database.sql('select "any"->>\'$\' as t from v where "any" is not null order by _rmx_row').all()
    assert [row["t"] for row in texts] == ["1", "text", "[1]"]
    [row] = database.sql('select "case" as c, raw as b from v where "case" is not null')
    assert (tagged_json.loads(row["c"]), row["b"]) == (Case("x", 1), b"\0\xff")
    assert database.sql("select count(nothing) as n from v").first() == {"n": 0}


def test_the_past_is_asked_as_it_was(database: Database) -> None:
    [first, second] = database.save([{"_rmx_type": "t", "n": 1}, {"_rmx_type": "t", "n": 2}])
    moments = [database.watermark()]
    database.save({"_rmx_id": first["_rmx_id"], "_rmx_type": "t", "n": "text"})
    moments.append(database.watermark())
    database.delete(second["_rmx_id"])
    for moment, expected in zip(moments, ([1, 2], ["2", '"text"']), strict=True):
        past = database.as_of(moment)
        assert [row["n"] for row in past.sql("select n from t order by _rmx_row")] == expected
        assert past.sql("select count(*) as c from t").first() == {"c": past.query().count()}
    assert database.sql("select n from t").all() == [{"n": "text"}]


def test_a_statement_sees_what_was_saved_before_it(database: Database) -> None:
    for count in range(1, 4):
        database.save({"_rmx_type": "t", "n": count})
        assert database.sql("select count(*) as c from t").first() == {"c": count}


def test_an_answer_stays_readable_when_records_change(database: Database) -> None:
    database.save([{"_rmx_type": "t", "n": n} for n in range(5_000)])
    rows = database.sql("select n from t order by n")
    started = iter(rows)
    assert next(started) == {"n": 0}
    database.save({"_rmx_type": "t", "n": -1})
    assert database.sql("select min(n) as n from t").first() == {"n": -1}
    assert [row["n"] for row in started] == list(range(1, 5_000))


def test_rows_come_in_columns_too(database: Database) -> None:
    database.save([{"_rmx_type": "t", "n": n, "tags": ["a"] * n} for n in range(3)])
    table = database.sql("select n, tags from t order by n", arrow=True).table()
    assert table.to_pydict() == {"n": [0, 1, 2], "tags": [[], ["a"], ["a", "a"]]}
    assert database.sql("select n from t where n > 9", arrow=True).table().column_names == ["n"]
    with pytest.raises(QueryError, match="arrow"):
        database.sql("select n from t").table()


def test_threads_ask_at_once(database: Database) -> None:
    database.save([{"_rmx_type": "t", "n": n} for n in range(100)])
    found: list[Any] = []

    def ask(number: int) -> None:
        database.save({"_rmx_type": "other"})
        found.append(database.sql("select sum(n) + $m as s from t", m=number).all())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rows[0]["s"] for rows in found) == [4950 + number for number in range(6)]


def test_what_goes_wrong_says_so(database: Database) -> None:
    database.save({"_rmx_type": "t", "n": 1})
    with pytest.raises(QueryError, match="both"):
        database.sql("select ?", [1], n=2)
    with pytest.raises(QueryError, match="COPY"):
        database.sql("copy t to 'somewhere'")
    with pytest.raises(QueryTimeout, match=r"0\.05"):
        database.sql("select sum(a.range * b.range) from range(100000000) a, range(1000) b", timeout=0.05)
    assert database.sql("select n from t").first() == {"n": 1}
    database.close()
    with pytest.raises(StorageError, match="closed"):
        database.sql("select 1")


def test_a_process_that_is_killed_is_an_error_and_the_next_statement_works(database: Database) -> None:
    database.save({"_rmx_type": "t", "n": 1})
    rows = database.sql("select n from t")
    owner = rows._owner
    assert owner is not None and rows.all() == [{"n": 1}]
    os.kill(owner.session._session.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(QueryCancelled, match="try again"):
        database.sql("select n from t")
    assert database.sql("select n from t").all() == [{"n": 1}]


def test_a_session_that_nobody_uses_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mix_db.sql._IDLE", 0.05)
    database.save({"_rmx_type": "t", "n": 1})
    rows = database.sql("select n from t")
    owner = rows._owner
    assert owner is not None
    time.sleep(0.3)
    # It stays for what is still read.
    assert not owner.session.closed and rows.all() == [{"n": 1}]
    for _ in range(1_000):
        if owner.session.closed:
            break
        time.sleep(0.01)
    assert owner.session.closed
    assert database.sql("select n from t").all() == [{"n": 1}]


def test_records_that_are_odd_can_be_asked(database: Database) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    database.save(
        [
            {"_rmx_type": "wide", **{f"f{n}": n for n in range(10_000)}},
            {"_rmx_type": "deep", "d": deep},
            {"_rmx_type": "long", "text": "x" * (4 << 20)},
            {"_rmx_type": 'a "b".c', "n": 1, 'd"e': 2, "": 3},
        ]
    )
    assert database.sql("select f998, _rmx_rest->>'$.f9999' as more from wide").all() == [
        {"f998": 998, "more": "9999"}
    ]
    assert len(database.sql("select * from wide").columns) == 1_005
    assert database.sql("select d is not null as there from deep").first() == {"there": True}
    assert database.sql("select length(text) as n from long").first() == {"n": 4 << 20}
    assert database.sql('select n, "d""e" as de, unnamed from "a ""b"".c"').all() == [
        {"n": 1, "de": 2, "unnamed": 3}
    ]
    assert database.sql("select count(*) as c from records").first() == {"c": 4}


def test_a_fork_asks_by_itself(database: Database) -> None:
    database.save([{"_rmx_type": "t", "n": n} for n in range(3)])
    assert database.sql("select count(*) as c from t").first() == {"c": 3}
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if database.sql("select sum(n) as s from t").first() == {"s": 3} else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    # The parent's session goes on.
    assert database.sql("select sum(n) as s from t").first() == {"s": 3}


def test_without_an_engine_it_says_how_to_get_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mixkit import sql_engine

    monkeypatch.setattr(sql_engine, "offered", lambda hook: iter(()))
    sql_engine.sql_engine.cache_clear()
    try:
        with pytest.raises(NotFound, match="pip install mix-duckdb"):
            database.sql("select 1")
    finally:
        sql_engine.sql_engine.cache_clear()


# -- the command line --------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*args: str) -> tuple[int, str, str]:
        status = main(["db", "sql", *args])
        out, err = capfd.readouterr()
        return status, out, err

    return run


@pytest.fixture
def shelf(tmp_path: Path) -> str:
    path = tmp_path / "shelf"
    with Database(path) as database:
        database.save(
            [{"_rmx_type": "note", "title": "Milk", "stars": 3}, {"_rmx_type": "note", "title": "Swim"}]
        )
    return str(path)


def test_rows_are_printed_as_asked(run: Run, shelf: str, tmp_path: Path) -> None:
    asked = "select title, stars from note order by title"
    status, out, _ = run(asked, "--db", shelf)
    rows = [json.loads(line) for line in out.splitlines()]
    assert (status, rows) == (0, [{"title": "Milk", "stars": 3}, {"title": "Swim", "stars": None}])
    assert json.loads(run(asked, "--db", shelf, "--json")[1]) == rows
    status, out, _ = run(asked, "--db", shelf, "--csv", "--limit", "1")
    assert list(csv.reader(io.StringIO(out))) == [["title", "stars"], ["Milk", "3"]]
    assert run(asked, "--db", shelf, "-f", "table")[1].splitlines()[0].split() == ["title", "stars"]
    file = tmp_path / "out.parquet"
    assert run(asked, "--db", shelf, "--parquet", str(file))[0] == 0
    assert pyarrow.parquet.read_table(file).to_pylist() == rows
    assert (
        run("select title from note where stars = $n", "-p", "n=3", "--db", shelf)[1] == '{"title":"Milk"}\n'
    )


def test_tables_are_listed(run: Run, shelf: str) -> None:
    out = run("--tables", "--db", shelf)[1]
    assert [json.loads(line) for line in out.splitlines()] == [
        {"table": "records", "type": None, "records": 2},
        {"table": "note", "type": "note", "records": 2},
    ]


def test_tables_refuses_what_belongs_to_a_statement(run: Run, shelf: str, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    for option in (["-p", "n=1"], ["--limit", "1"], ["--timeout", "1"], ["--parquet", str(file)]):
        status, out, err = run("--tables", *option, "--db", shelf)
        assert (status, out) == (2, "") and option[0].strip("-")[0] in err, option
    assert not file.exists()


def test_a_parquet_file_is_told_as_json_too(run: Run, shelf: str, tmp_path: Path) -> None:
    file = str(tmp_path / "out.parquet")
    status, out, err = run("select title from note", "--parquet", file, "--json", "--db", shelf)
    assert (status, json.loads(out), err) == (0, {"file": file, "rows": 2}, "")
    assert run("from note limit 1", "--parquet", file, "--db", shelf)[2] == f"1 row in {file}\n"


def test_the_profile_says_whether_and_how_sql_runs(
    shelf: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def asked(*before: str) -> tuple[int, str]:
        status = main([*before, "db", "sql", "from note", "--db", shelf])
        return status, capfd.readouterr().err

    assert asked("--set", "settings.duckdb.max_rows=2")[0] == 0
    status, err = asked("--set", "settings.duckdb.max_rows=1")
    assert status == 1 and "more than 1 rows" in err
    status, err = asked("--set", "settings.duckdb.max_row=1")
    assert status == 1 and "did you mean 'max_rows'" in err
    mine = tmp_path / "mine.toml"
    mine.write_text('plugins = ["db"]\n')
    status, err = asked("-p", str(mine))
    assert status == 1 and "name duckdb in its plugins" in err
    mine.write_text('plugins = ["db", "duckdb"]\n[settings.duckdb]\nmax_rows = 1\n')
    status, err = asked("-p", str(mine))
    assert status == 1 and "more than 1 rows" in err


def test_mistakes_point_at_the_sql(run: Run, shelf: str) -> None:
    status, out, err = run("select title\nfrom note\nwher x", "--db", shelf)
    assert (status, out) == (1, "") and "LINE 3" in err and "^" in err
    assert run("from nowhere", "--db", shelf)[0] == 1
    assert run("--db", shelf)[0] == 2
    assert run("select 1", "--csv", "--format", "json", "--db", shelf)[0] == 2
    assert run("select 1", "--db", shelf + "x")[0] == 1


def test_tables_of_a_text_end_with_it(run: Run, shelf: str) -> None:
    made = "create table few as from note where stars > 2; select title from few where stars = $n"
    assert run(made, "-p", "n=3", "--db", shelf)[:2] == (0, '{"title":"Milk"}\n')
    assert "no table few" in run("from few", "--db", shelf)[2]
    for change in ("delete from note", "update note set stars = 1", "insert into note (stars) values (1)"):
        assert run(change, "--db", shelf)[0] == 1, change
    assert run("select count(*) as c from note", "--db", shelf)[1] == '{"c":2}\n'


def test_the_past_on_the_command_line(run: Run, shelf: str) -> None:
    with Database(shelf) as database:
        before = database.watermark()
        database.save({"_rmx_type": "note", "title": "Bread"})
    assert run("select count(*) as c from note", "--as-of", before, "--db", shelf)[1] == '{"c":2}\n'
    assert run("select count(*) as c from note", "--db", shelf)[1] == '{"c":3}\n'
