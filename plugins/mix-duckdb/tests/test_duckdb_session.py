"""What a session answers, in memory and of a file."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow
import pytest
from mix_duckdb.session import Column, Late, OwnerLost
from mix_duckdb.shared import Shared

from mixkit.errors import FFIError, NotFound

Connect: TypeAlias = Any


async def rows(session: Any, sql: str, params: Any = ()) -> list[dict[str, Any]]:
    answer = await session.query(sql, params)
    found: list[dict[str, Any]] = []
    while (batch := await answer.rows()) is not None:
        found += batch
    return found


@pytest.fixture(params=["memory", "file"])
async def session(request: pytest.FixtureRequest, connect: Connect, file: Path) -> Any:
    return await connect(file if request.param == "file" else None)


async def test_statements_and_parameters(session: Any) -> None:
    answer = await session.query("create table t (a int, b varchar); insert into t values ($1, $2)", [1, "x"])
    assert answer.columns == () and answer.changed == 1 and await answer.rows() is None
    answer = await session.query("insert into t values (2, 'y'), (3, null) returning a")
    assert answer.changed is None and await answer.rows() == [{"a": 2}, {"a": 3}]
    assert (await session.query("update t set b = ? where a > ?", ["z", 1])).changed == 2
    answer = await session.query("select a, b from t where b = $b order by a", {"b": "z"})
    assert answer.columns == (Column("a", "INTEGER"), Column("b", "VARCHAR"))
    assert await answer.rows() == [{"a": 2, "b": "z"}, {"a": 3, "b": "z"}]
    assert await answer.rows() is None and answer.done
    # What changes and answers as well does so once.
    assert await rows(session, "with r as (insert into t values (9, 'n') returning a) select a from r") == [
        {"a": 9}
    ]
    assert (await session.query("delete from t where a = 9")).changed == 1
    # What is not read is executed all the same, once.
    await session.query("create sequence s; select nextval('s'); select nextval('s'); select 1")
    assert await rows(session, "select nextval('s') as n") == [{"n": 3}]


async def test_nothing_is_executed_unless_all_is_understood(session: Any) -> None:
    for text in ("create table t (a int); selec", "create table t (a int); set threads = 8"):
        with pytest.raises(FFIError):
            await session.query(text)
    assert await rows(session, "show tables") == []


async def test_a_failed_statement_leaves_the_session(session: Any) -> None:
    await session.query("create table t (a int primary key); insert into t values (1)")
    with pytest.raises(FFIError, match="Constraint Error"):
        await session.query("insert into t values (2); insert into t values (1)")
    assert await rows(session, "select a from t order by a") == [{"a": 1}, {"a": 2}]
    await session.query("begin; insert into t values (3)")
    assert await rows(session, "select count(*) n from t") == [{"n": 3}]
    await session.query("rollback")
    assert await rows(session, "select count(*) n from t") == [{"n": 2}]


VALUES: list[tuple[str, Any]] = [
    ("null", None),
    ("true", True),
    ("7::utinyint", 7),
    ("-9223372036854775808", -(2**63)),
    ("9223372036854775807::ubigint", 2**63 - 1),
    ("18446744073709551615::ubigint", "18446744073709551615"),
    ("sum(x)", 6),
    ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
    ("-12345678901234567890123::bignum", "-12345678901234567890123"),
    ("0.5::float", 0.5),
    ("'inf'::double", math.inf),
    ("12.50", 12.5),
    ("12.50::decimal(20, 2)", "12.50"),
    ("'åse'", "åse"),
    ("'\\x00\\xFF'::blob", b"\x00\xff"),
    ("'101'::bit", "101"),
    ("date '2026-11-27'", "2026-11-27"),
    ("'infinity'::date", "infinity"),
    ("time '18:30:01.5'", "18:30:01.5"),
    ("timestamp '2026-11-27 18:30:00'", "2026-11-27 18:30:00"),
    ("timestamptz '2026-11-27 18:30:00+02'", "2026-11-27 16:30:00+00"),
    ("timestamp_ns '2026-11-27 18:30:00.123456789'", "2026-11-27 18:30:00.123456789"),
    ("interval 1 month + interval 90 minute", "1 month 01:30:00"),
    ("'00000000-0000-0000-0000-00000000000a'::uuid", "00000000-0000-0000-0000-00000000000a"),
    ("'b'::enum('a', 'b')", "b"),
    ("'{\"a\": 1}'::json", '{"a": 1}'),
    ("[1, null, 3]", [1, None, 3]),
    ("[1, 2]::int[2]", [1, 2]),
    ("[date '2026-11-27']", ["2026-11-27"]),
    ("{'a': 1, 'b c': [{'d': 5::hugeint}]}", {"a": 1, "b c": [{"d": 5}]}),
    ("map {'a': 1, 'b': null}", {"a": 1, "b": None}),
    ("map {1: 2::hugeint}", [{"key": 1, "value": 2}]),
    ("union_value(n := 1)", '{"n":1}'),
    ("{'a': 1}::variant", '{"a":1}'),
    ("row(1, 'x')", '[1,"x"]'),
]


async def test_values_by_declared_type(session: Any) -> None:
    for sql, value in VALUES:
        found = (await rows(session, f"select {sql} as v from (values (1), (2), (3)) t (x)"))[0]["v"]
        assert found == value and type(found) is type(value), sql


async def test_nan_and_names_that_come_twice(session: Any) -> None:
    [row] = await rows(session, "select 'nan'::double as a, 1 as a, 2 as a_2, 3 as a")
    assert math.isnan(row.pop("a")) and row == {"a_3": 1, "a_2": 2, "a_4": 3}


async def test_a_query_that_has_become_another(session: Any) -> None:
    """What is known of a query is used only as long as it is so."""
    await session.query(
        "create table t as select 1 as a; create sequence s; create view v as select a from t"
    )
    for _ in range(2):
        assert await rows(session, "from v") == [{"a": 1}]
    await session.query("create or replace view v as select date '2026-11-27' as a, 'x' as b")
    for _ in range(2):
        assert await rows(session, "from v") == [{"a": "2026-11-27", "b": "x"}]
    await session.query("create or replace view v as select 7::hugeint as a, 1.5 as b")
    for _ in range(2):
        assert await rows(session, "from v") == [{"a": 7, "b": 1.5}]
    await session.query("drop view v")
    for _ in range(2):
        with pytest.raises(FFIError, match="Table with name v does not exist"):
            await session.query("from v")
    # Each once, however often it was asked.
    for at in range(1, 4):
        assert await rows(session, "select nextval('s') as n") == [{"n": at}]
    for _ in range(3):
        assert await rows(session, "with r as (insert into t values (2) returning a) from r") == [{"a": 2}]
    assert (await session.query("delete from t where a = 2")).changed == 3


async def test_answers_stay_readable(session: Any) -> None:
    one = await session.query("select i from range(2500) t (i)")
    other = await session.query("select -i as i from range(1200) t (i) order by i")
    assert [len(await one.rows()), len(await other.rows())] == [1000, 1000]
    await session.query("create table t (a int)")
    assert [len(await one.rows()), len(await one.rows()), await one.rows()] == [1000, 500, None]
    assert (await other.rows())[-1] == {"i": 0}
    third = await session.query("select i from range(100_000) t (i)")
    third.close()
    third.close()
    assert await third.rows() is None
    fourth = await session.query("select i, date '2026-01-01' as d from range(100_000) t (i)")
    fourth.close()
    assert await rows(session, "select 1 as a") == [{"a": 1}]


async def test_arrow(session: Any) -> None:
    answer = await session.query(
        "select i, i::hugeint as h, date '2026-01-01' as d from range(1500) t (i)", arrow=True
    )
    tables = []
    while (stream := await answer.arrow()) is not None:
        tables.append(pyarrow.ipc.open_stream(stream).read_all())
    whole = pyarrow.concat_tables(tables)
    assert whole.num_rows == 1500 and whole.column_names == ["i", "h", "d"]
    assert str(whole.schema.field("d").type) == "date32[day]"
    with pytest.raises(FFIError, match="as they were asked for"):
        await answer.rows()


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("340282366920938463463374607431768211455::uhugeint", "340282366920938463463374607431768211455"),
        ("12345678901234567890123::bignum", "12345678901234567890123"),
        ("bit '0101'", "0101"),
        ("'12:00:00+02'::timetz", "12:00:00+02"),
    ],
)
async def test_arrow_of_what_arrow_has_not(session: Any, sql: str, text: str) -> None:
    """It is text, by itself and in whatever has it in it, and all beside it is what it is."""
    answer = await session.query(
        f"""select {sql} as "a""b", [{sql}] as l, array_value({sql}) as r, {{'x y': {sql}, 'n': 1}} as s,
        map {{'k': {sql}}} as m, row({sql}, 2) as t, union_value(u := {sql}) as u, 1 as b, {{'n': 1}} as c""",
        arrow=True,
    )
    stream = await answer.arrow()
    table = pyarrow.ipc.open_stream(stream).read_all()
    (row,) = table.to_pylist()
    assert list(row.pop("t").values()) == [text, 2]
    assert row == {
        'a"b': text,
        "l": [text],
        "r": [text],
        "s": {"x y": text, "n": 1},
        "m": [("k", text)],
        "u": text,
        "b": 1,
        "c": {"n": 1},
    }


async def test_no_more_than_is_allowed(connect: Connect) -> None:
    session = await connect(max_rows=2500, max_columns=10, batch_bytes=4096, max_text=2000)
    answer = await session.query("select i from range(5000) t (i)")
    assert len(await answer.rows()) > 0
    with pytest.raises(FFIError, match=r"more than 2500 rows.*duckdb\.max_rows"):
        while await answer.rows() is not None:
            pass
    with pytest.raises(FFIError, match=r"11 columns, at most 10.*duckdb\.max_columns"):
        await session.query("select " + ", ".join(f"{i} as c{i}" for i in range(11)))
    with pytest.raises(FFIError, match=r"2000 bytes.*duckdb\.max_text"):
        await session.query("select '" + "x" * 2000 + "'")
    answer = await session.query("select repeat('x', 1000) as x from range(20)")
    sizes = []
    while (batch := await answer.rows()) is not None:
        sizes.append(len(batch))
    assert sum(sizes) == 20 and max(sizes) <= 3
    with pytest.raises(FFIError, match="one row has 50"):
        await session.query("select repeat('x', 50_000) as x")
    assert await rows(session, "select 1 as a") == [{"a": 1}]


class Made:
    """Tables of one column."""

    def __init__(self, *names: str, fail: str = "") -> None:
        self.asked: list[str] = []
        self.columns: list[Collection[str] | None] = []
        self._names = names
        self._fail = fail

    def names(self) -> tuple[str, ...]:
        return self._names

    async def load(self, name: str, columns: Collection[str] | None) -> Shared:
        self.asked.append(name)
        self.columns.append(columns)
        if name == self._fail:
            raise NotFound(f"no records of {name}")
        table = pyarrow.table({"n": list(range(3)), "of": [name] * 3})
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Shared([sink.getvalue()])


async def test_tables_are_loaded_when_they_are_named(connect: Connect, file: Path) -> None:
    for session, made in [
        (await connect(tables=(one := Made("Person", "note", "we ird", "of"))), one),
        (await connect(file, tables=(two := Made("Person", "note", "we ird", "of"))), two),
    ]:
        assert await rows(session, "select 'note' as x") == [{"x": "note"}] and made.asked == []
        assert await rows(session, "select sum(n) s, any_value(of) o from person") == [
            {"s": 3, "o": "Person"}
        ]
        assert made.asked == ["Person"]
        await session.query('begin; create table mine as select * from note; insert into mine from "we ird"')
        await session.query("rollback")
        assert list(dict.fromkeys(made.asked)) == ["Person", "note", "we ird"]
        assert await rows(session, "select count(*) c from note join PERSON using (n)") == [{"c": 3}]
        assert list(dict.fromkeys(made.asked)) == ["Person", "note", "we ird"]
        with pytest.raises(FFIError, match="Catalog Error"):
            await session.query("from nobody")
        # Dropped by a statement, it is there again when it is named.
        await session.query("drop view person")
        assert await rows(session, "select count(*) c from person") == [{"c": 3}]
        assert list(dict.fromkeys(made.asked)) == ["Person", "note", "we ird"]


async def test_of_a_table_only_the_columns_that_are_read_are_asked_for(connect: Connect) -> None:
    session = await connect(tables=(made := Made("note", "other")))
    assert await rows(session, "select sum(n) as s from note") == [{"s": 3}]
    assert await rows(session, "select count(n) as c from NOTE where n > 1") == [{"c": 1}]
    assert made.columns == [["n"]]
    # One that is asked for once more has all; so has every one when there may be views and macros.
    assert await rows(session, "select of from note limit 1") == [{"of": "note"}]
    assert await rows(session, "select count(*) as c from other") == [{"c": 3}]
    assert made.columns == [["n"], None, []]
    await session.query("create macro everything() as table select * from other")
    assert await rows(session, "select max(n) as n, any_value(of) as of from everything()") == [
        {"n": 2, "of": "other"}
    ]
    assert made.columns == [["n"], None, [], None]
    with pytest.raises(FFIError, match='"nothing" not found'):
        await session.query("select nothing from note")


async def test_a_view_of_a_file_names_tables(connect: Connect, file: Path) -> None:
    session = await connect(file, tables=Made("note"))
    await session.query("create view big as select n from note where n > 0")
    other = await connect(file, tables=(made := Made("note")))
    assert await rows(other, "select n from big order by n") == [{"n": 1}, {"n": 2}]
    assert made.asked == ["note"]
    third = await connect(file)
    with pytest.raises(FFIError, match="Catalog Error"):
        await third.query("from big")


async def test_of_two_tables_of_one_name_the_later_is_meant(connect: Connect, file: Path) -> None:
    session = await connect(file, tables=Made("note"))
    await session.query("create view seen as select any_value(of) as o from note")
    assert await rows(session, "from seen") == [{"o": "note"}]
    session.offer(Made("NOTE", "more"))
    assert await rows(session, "from seen") == [{"o": "NOTE"}]
    assert await rows(session, "select any_value(of) as o from more") == [{"o": "more"}]


async def test_a_table_that_cannot_be_had(connect: Connect) -> None:
    session = await connect(tables=Made("note", "gone", fail="gone"))
    with pytest.raises(NotFound, match="no records of gone"):
        await session.query("from gone")
    assert len(await rows(session, "from note")) == 3


async def test_shared_memory_is_sealed() -> None:
    import mmap
    import os

    table = Shared([b"abc", bytearray(b"de"), memoryview(b"")])
    assert table.size == 5 and os.pread(table.descriptor, 10, 0) == b"abcde"
    with pytest.raises(PermissionError):
        os.write(table.descriptor, b"x")
    with pytest.raises(PermissionError):
        mmap.mmap(table.descriptor, 5)
    descriptor = table.descriptor
    del table
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


async def test_one_after_the_other(session: Any) -> None:
    found = await asyncio.gather(*(rows(session, "select ? as a", [i]) for i in range(20)))
    assert found == [[{"a": i}] for i in range(20)]


async def test_as_many_processes_as_are_allowed(connect: Connect) -> None:
    first = await connect(processes=1)
    with pytest.raises(FFIError, match=r"1 runs have.*duckdb\.processes"):
        await connect(processes=1)
    first.close()
    with pytest.raises(OwnerLost, match="ended"):
        await first.query("select 1")
    await connect(processes=1)


async def test_the_deadline_of_the_session(connect: Connect, file: Path) -> None:
    for path in (None, file):
        session = await connect(path, seconds=0.5)
        with pytest.raises(Late, match="time was over"):
            await session.query("select count(*) from range(1_000_000_000_000)")
        with pytest.raises(FFIError):
            await session.query("select 1")
    assert await rows(await connect(file), "select 1 as a") == [{"a": 1}]
