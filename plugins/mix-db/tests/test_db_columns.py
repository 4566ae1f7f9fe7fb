"""Records as columns: the walks in C and in Python, names, and what a table holds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_db import Database
from mix_db.columns import shape, tables, walk
from mix_db.columns.shape import MAX_DEPTH, MAX_FIELDS, MAX_INNER, MAX_PLACES, names_in_sql
from mix_db.columns.tables import RecordTables
from mix_db.columns.walk import Code, Seen, fill_python, scan_python
from mix_db.settings import Settings
from mix_db.testing.strategies import record_fields
from mix_db.versions.version import packer, split, stamp, unstamped

from mixkit import tagged_json
from mixkit.errors import NotFound, QueryError
from mixkit.storage import Database as Contract
from mixkit.testing.sql_suite import TabularSuite
from mixkit.testing.strategies import values
from mixkit.value import Case, Ref

pa = pytest.importorskip("pyarrow", reason="comes with the extra mix-db[sql]")


class TestMemory(TabularSuite):
    @pytest.fixture
    def database(self) -> Iterator[Contract]:
        with Database.in_memory() as database:
            yield database.contract


class TestFiles(TabularSuite):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Contract]:
        with Database(tmp_path / "db") as database:
            yield database.contract


any_records = st.lists(
    record_fields | st.dictionaries(st.text(max_size=3), values(undef=False), max_size=4), max_size=6
)


def stored(records: list[dict[str, Any]]) -> list[bytes]:
    pack = packer()
    version = stamp(7, 1_000)
    return [
        version(unstamped(split(pack(record), len(record)), f"{place:032d}"), place or None, False)
        for place, record in enumerate(records)
    ]


def table_of(database: Database, name: str) -> Any:
    schema, batches = database.contract.tables().table(name)
    return pa.Table.from_batches(batches, schema)


def is_json(field: Any) -> bool:
    return (
        isinstance(field.type, pa.JsonType)
        or (field.metadata or {}).get(b"ARROW:extension:name") == b"arrow.json"
    )


def shown(value: Any, field: Any) -> Any:
    """What a table shows of a value in a column of the type."""
    if value is None:
        return None
    if is_json(field):
        return tagged_json.dumps(value)
    if pa.types.is_struct(field.type):
        inside = {
            inner.name: (inner.metadata or {}).get(b"mixkit.field", inner.name.encode()).decode()
            for inner in field.type
        }
        return {inner.name: shown(value.get(inside[inner.name]), inner) for inner in field.type}
    if pa.types.is_list(field.type):
        return [shown(item, field.type.value_field) for item in value]
    if isinstance(value, Ref):
        return value.id
    return float(value) if pa.types.is_floating(field.type) else value


@pytest.mark.skipif(walk.scan is scan_python, reason="built where there is a C compiler")
@given(any_records)
def test_the_twins_see_and_fill_the_same(records: list[dict[str, Any]]) -> None:
    rows = stored([{k: v for k, v in record.items() if not k.startswith("_rmx_")} for record in records])
    seen = walk.scan(rows, 3, 12, 3)
    assert seen == scan_python(rows, 3, 12, 3)
    plan = shape.shape_of(seen).plan()
    assert walk.fill(rows, plan) == fill_python(rows, plan)


@given(any_records)
def test_a_table_shows_every_record(records: list[dict[str, Any]]) -> None:
    with Database.in_memory() as database:
        database.save([{**record, "_rmx_type": "t"} for record in records])
        kept = list(database.query())
        found = table_of(database, "t") if kept else table_of(database, "records")
    assert found.num_rows == len(kept)
    for record, row in zip(kept, found.to_pylist(), strict=True):
        assert {"_rmx_id", "_rmx_rev", "_rmx_row", "_rmx_last_modified_at"} <= row.keys()
        names = {
            field.name: (field.metadata or {}).get(b"mixkit.field", field.name.encode()).decode()
            for field in found.schema
        }
        assert set(names.values()) >= record.keys()
        for field in found.schema:
            # With repr, because NaN is not equal to itself and 1 is to 1.0.
            assert repr(row[field.name]) == repr(shown(record.get(names[field.name]), field)), field


@pytest.mark.parametrize("scan", [walk.scan, scan_python])
def test_kinds_make_types(scan: Any) -> None:
    record = {"b": True, "i": 1, "f": 1.5, "s": "a", "y": b"a", "r": Ref("x"), "c": Case("a", 1), "n": None}
    mixed = {"if": 1, "big": 2**53 + 1, "is": 1, "ai": [1], "m": {"a": 1}, "e": {}, "l": [], "sr": "a"}
    other = {"if": 0.5, "big": 0.5, "is": "1", "ai": [None, "a"], "m": {"b": "x"}, "sr": Ref("a")}
    found = shape.shape_of(scan(stored([record | mixed, other]), MAX_FIELDS, MAX_PLACES, MAX_DEPTH))
    codes = {column.name: column.code for column in found.children}
    assert codes == {
        "b": Code.BOOL, "i": Code.INT, "f": Code.FLOAT, "s": Code.TEXT, "y": Code.BINARY, "r": Code.TEXT,
        "c": Code.RAW, "n": Code.RAW, "if": Code.FLOAT, "big": Code.RAW, "is": Code.RAW, "ai": Code.LIST,
        "m": Code.STRUCT, "e": Code.RAW, "l": Code.LIST, "sr": Code.RAW,
        "_rmx_id": Code.ID, "_rmx_rev": Code.REV, "_rmx_last_modified_at": Code.TIME,
    }  # fmt: skip


def test_names_that_sql_takes_for_one_are_told_apart() -> None:
    assert names_in_sql(["name", "Name", "NAME"]) == {"NAME": "NAME", "Name": "Name_2", "name": "name_3"}
    assert names_in_sql(["a", "A", "A_2"]) == {"A": "A", "A_2": "A_2", "a": "a_3"}
    assert names_in_sql(["", "a\0b", "É", "é"]) == {"": "unnamed", "a\0b": "a_b", "É": "É", "é": "é_2"}
    assert names_in_sql(["_RMX_id"], taken=["_rmx_id"]) == {"_RMX_id": "_RMX_id_2"}


@given(st.sets(st.text("aAbB_2\0É", max_size=4)))
def test_no_two_names_are_the_same_in_sql(names: set[str]) -> None:
    made = names_in_sql(names, taken=["a_2", "b"])
    assert made.keys() == names
    folded = [name.casefold() for name in made.values()] + ["a_2", "b"]
    assert len(set(folded)) == len(folded) and "" not in folded


def test_types_are_tables_and_records_is_all_of_them() -> None:
    with Database.in_memory() as database:
        database.save(
            [{"_rmx_type": type, "n": n} for n, type in enumerate(["note", "Note", "records", "note"])]
            + [{"n": 9}]
        )
        found = database.contract.tables().names()
        assert list(found) == ["records", "Note", "note_2", "records_2"]
        assert table_of(database, "note_2")["n"].to_pylist() == [0, 3]
        assert table_of(database, "records")["n"].to_pylist() == [0, 1, 2, 3, 9]
        with pytest.raises(NotFound, match="note_2"):
            table_of(database, "note_3")


def appended(database: Database, name: str, before: bytes, watermark: str) -> Any:
    """The table as it has grown, None if it must be made anew."""
    parts = database.contract.tables().appended(name, watermark, memoryview(before))
    return None if parts is None else pa.ipc.open_stream(before[:-8] + b"".join(parts)).read_all()


def test_a_table_that_only_grew_is_the_one_that_is_made_anew() -> None:
    with Database.in_memory() as database:
        database.save([{"_rmx_type": "t", "n": n, "k": "a"} for n in range(3)])
        before, watermark = b"".join(database.contract.tables().stream("t")), database.watermark()
        database.save([{"_rmx_type": "t", "n": 9}, {"_rmx_type": "other"}])
        database.flush()
        assert appended(database, "t", before, "0" * 16) is None
        other = before.replace(b"_rmx_rev", b"_rmx_rex")
        assert (
            appended(database, "t", other[:60] + other[60:].replace(b"_rmx_rev", b"_rmx_rex"), watermark)
            is None
        )
        database.contract.as_of(watermark).tables().table("t")
        grown = appended(database, "t", before, watermark)
        assert grown.to_pylist() == table_of(database, "t").to_pylist()
        assert grown.schema.equals(table_of(database, "t").schema, check_metadata=True)


@pytest.mark.parametrize("change", ["update", "delete", "widen", "another type"])
def test_a_table_that_did_not_only_grow_is_made_anew(change: str) -> None:
    with Database.in_memory() as database:
        first, *_ = database.save([{"_rmx_type": "t", "n": n} for n in range(3)])
        before, watermark = b"".join(database.contract.tables().stream("t")), database.watermark()
        match change:
            case "update":
                database.upsert({"_rmx_id": first["_rmx_id"], "n": 5})
            case "delete":
                database.delete(first["_rmx_id"])
            case "widen":
                database.save({"_rmx_type": "t", "n": 0.5})
            case _:
                database.save({"_rmx_type": "t", "other": 1})
        assert appended(database, "t", before, watermark) is None


@given(st.lists(st.lists(record_fields, max_size=3), min_size=2, max_size=4))
def test_growing_is_the_same_as_making_anew(commits: list[list[dict[str, Any]]]) -> None:
    with Database.in_memory() as database:
        before, watermark = b"", ""
        for records in commits:
            database.save([{k: v for k, v in record.items() if k != "_rmx_type"} for record in records])
            now = database.contract.tables()
            parts = now.appended("records", watermark, memoryview(before)) if before else None
            made = b"".join(now.stream("records")) if parts is None else before[:-8] + b"".join(parts)
            anew = b"".join(database.contract.tables().stream("records"))
            found, fresh = (pa.ipc.open_stream(stream).read_all() for stream in (made, anew))
            assert found.schema.equals(fresh.schema, check_metadata=True)
            assert repr(found.to_pylist()) == repr(fresh.to_pylist())
            before, watermark = made, database.watermark()


def test_an_unchanged_database_has_one_origin_whatever_is_flushed(tmp_path: Path) -> None:
    with Database(tmp_path / "db") as database:
        database.save([{"n": n} for n in range(3)])
        origin = database.contract.tables().origin
        database.flush()
        database.save({"n": 4})
        database.flush()
        assert database.contract.tables().origin is origin
        database.compact(drop_history=True)
        # Rows may have other numbers.
        assert database.contract.tables().origin is not origin


def test_types_without_end_do_not_become_tables_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_TABLES", 3)
    with Database.in_memory() as database:
        database.save([{"_rmx_type": type} for type in ["d", "a", "c", "b", "x" * 257]])
        assert list(database.contract.tables().names()) == ["records", "a", "b", "c"]
        assert table_of(database, "records").num_rows == 5


def test_a_table_is_of_one_moment_and_of_the_newest_versions() -> None:
    with Database.in_memory() as database:
        first, second = database.save([{"n": 1}, {"n": 2}])
        before = database.watermark()
        tables = database.contract.tables()
        database.save({"_rmx_id": first["_rmx_id"], "n": 10})
        database.delete(second["_rmx_id"])
        assert table_of(database, "records")["n"].to_pylist() == [10]
        past = database.contract.as_of(before).tables()
        for old in (tables, past):
            schema, batches = old.table("records")
            assert pa.Table.from_batches(batches, schema)["n"].to_pylist() == [1, 2]
        assert (past.watermark, past.origin) == (tables.watermark, tables.origin)


def test_what_is_too_wide_or_too_deep_is_json() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 5):
        deep = [deep]
    wide = {f"k{n}": n for n in range(MAX_INNER + 1)}
    many = {f"f{n}": n for n in range(MAX_FIELDS + 50)}
    with Database.in_memory() as database:
        database.save([{"_rmx_type": "odd", "deep": deep, "wide": wide}, {"_rmx_type": "many", **many}])
        odd = table_of(database, "odd")
        assert odd["wide"].to_pylist() == [tagged_json.dumps(wide)]
        assert str(deep).replace(" ", "") in str(odd["deep"].to_pylist()[0]).replace("'", "")
        table = table_of(database, "many")
        [row] = table.to_pylist()
    assert len(row) == MAX_FIELDS + 5
    rest = tagged_json.loads(row.pop("_rmx_rest"))
    assert {name: value for name, value in (row | rest).items() if name in many} == many


def test_a_table_that_is_too_large_is_refused_with_what_to_do() -> None:
    with Database.in_memory(settings=Settings(table_bytes=2_000)) as database:
        database.save([{"_rmx_type": "big", "text": "x" * 3_000}, {"_rmx_type": "small"}])
        assert table_of(database, "small").num_rows == 1
        with pytest.raises(QueryError, match=r"at most 2000 bytes.*settings\.db\.table_bytes"):
            table_of(database, "big")


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS", 3)
    monkeypatch.setattr(tables, "_READ", 2)
    for kept in (0, 1 << 20):
        monkeypatch.setattr(tables, "_KEPT", kept)
        with Database.in_memory() as database:
            # A type that only a later batch shows.
            database.save([{"n": n if n < 8 else n + 0.5} for n in range(10)])
            schema, batches = database.contract.tables().table("records")
            sizes = [one.num_rows for one in batches]
            assert sum(sizes) == 10 and max(sizes) <= 4
            assert str(schema.field("n").type) == "double"
            parts = b"".join(database.contract.tables().stream("records"))
        assert pa.ipc.open_stream(parts).read_all()["n"].to_pylist()[-3:] == [7.0, 8.5, 9.5]


@pytest.mark.parametrize("scan, fill", [(walk.scan, walk.fill), (scan_python, fill_python)])
@pytest.mark.parametrize(
    "row", [b"", b"\x01", b"\x81\xa1a", b"\x81\xa1a\xd9\x05x", b"\x82\xa1a\x01", b"\x81\xc1\x01"]
)
def test_bytes_that_are_no_row_are_refused(scan: Any, fill: Any, row: bytes) -> None:
    with pytest.raises(ValueError, match=re.compile("expected|unpack|incomplete|extra", re.IGNORECASE)):
        scan([row], 10, 10, 10)
    with pytest.raises(ValueError, match=re.compile("expected|unpack|incomplete|extra", re.IGNORECASE)):
        fill([row], (int(Code.STRUCT), b"", ((int(Code.INT), b"a", ()),)))


@pytest.mark.parametrize("fill", [walk.fill, fill_python])
def test_a_value_that_the_plan_does_not_know_is_refused(fill: Any) -> None:
    for code in (Code.BOOL, Code.INT, Code.FLOAT, Code.TEXT, Code.BINARY, Code.STRUCT):
        with pytest.raises(ValueError, match="no place for"):
            fill(stored([{"a": []}]), (int(Code.STRUCT), b"", ((int(code), b"a", ()),)))


def test_numbers_keep_what_they_are() -> None:
    with Database.in_memory() as database:
        database.save([{"i": 2**63 - 1, "f": math.nan}, {"i": -(2**63), "f": -0.0}, {"f": math.inf}])
        found = table_of(database, "records")
    assert found["i"].to_pylist() == [2**63 - 1, -(2**63), None]
    assert repr(found["f"].to_pylist()) == "[nan, -0.0, inf]"


def test_seen_is_said_in_bits_that_do_not_change() -> None:
    # The module in C has them as numbers.
    assert [int(one) for one in Seen] == [1 << place for place in range(12)]
    assert [int(one) for one in Code] == list(range(12))
    assert RecordTables.__doc__


@pytest.mark.skipif(walk.scan is scan_python, reason="built where there is a C compiler")
def test_no_memory_is_an_error_wherever_it_is_short() -> None:
    testcapi = pytest.importorskip("_testcapi", reason="not in every build of Python")
    record = {"n": 1, "m": {"l": [1, {"d": "x"}], "e": 1.5}, **{f"f{n}": n for n in range(30)}}
    rows = stored([record | {"mixed": n if n % 2 else "text"} for n in range(20)])
    seen = walk.scan(rows, 20, 100, 10)
    plan = shape.shape_of(seen).plan()
    filled = walk.fill(rows, plan)
    for work, expected in (
        (lambda: walk.scan(rows, 20, 100, 10), seen),
        (lambda: walk.fill(rows, plan), filled),
    ):
        failed = 0
        for start in range(600):
            found: Any = None
            try:
                # Inside, because the interpreter itself may be the one who asks for memory.
                testcapi.set_nomemory(start, start + 1)
                found = work()
            except MemoryError:
                failed += 1
            finally:
                testcapi.remove_mem_hooks()
            assert found is None or found == expected
        assert failed > 20
