"""Files of records: what is written is read back, and what strangers wrote is read or refused with its place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mix_db.transfer import json_values, messagepack
from mix_db.transfer.cells import infer, looks_like_formula
from mix_db.transfer.errors import TransferError
from mix_db.transfer.formats import FORMATS, format_of, make_reader, writing
from mix_db.transfer.source import Source

from mixkit import msgpack_values, tagged_json
from mixkit.errors import MixError
from mixkit.record import PackedRecord
from mixkit.rows import PackedRows, ValueRows
from mixkit.testing.strategies import identical, keys, values
from mixkit.value import Case, Ref

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

records = st.lists(
    st.dictionaries(keys, values(undef=False, max_leaves=8), max_size=5).map(
        lambda fields: {**fields, "_rmx_id": Ref("a" * 32)}
    ),
    max_size=5,
)


def write(format: str, rows: list[dict[str, Any]], **options: Any) -> bytes:
    stream = io.BytesIO()
    with writing(format, stream, **options) as writer:
        writer.write(ValueRows(rows[:1]))
        writer.write(PackedRows(len(rows[1:]), b"".join(map(msgpack_values.pack, rows[1:]))))
        writer.finish()
    return stream.getvalue()


def read(path: Path, format: str, **options: Any) -> list[Any]:
    """The records, and for those that are refused `(place, reason)`."""
    found: list[Any] = []
    with Source(path) as source:
        reader = make_reader(format, source, **options)
        for item in reader.items():
            if item.problem:
                found.append((item.place, item.problem))
                continue
            try:
                record = reader.record(item)
                found.append(record.value() if isinstance(record, PackedRecord) else record)
            except MixError as exc:
                found.append((item.place, str(exc)))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def make(content: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    return make


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "parquet"])
@quick
@given(rows=records)
def test_every_value_is_read_back(format: str, rows: list[dict[str, Any]], file: Any) -> None:
    if format == "csv":
        # Its limits: no field without a name.
        rows = [{name: value for name, value in row.items() if name} for row in rows]
    back = read(file(write(format, rows)), format) if rows or format != "csv" else []
    assert identical(back, rows)


@settings(quick, max_examples=10)
@given(rows=records)
@example(rows=[{"a": [None, Ref("b")], "c": [None, {}], "_rmx_id": Ref("a" * 32)}])
def test_every_value_is_read_back_from_parquet(rows: list[dict[str, Any]], file: Any) -> None:
    assert identical(read(file(write("parquet", rows)), "parquet"), rows)


# --------------------------------------------------------------------------------------------------- NDJSON


def test_lines_of_others(file: Any) -> None:
    path = file(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": "\xff"}\n[1]\n{"a": 1, "a": 2}\nnull\n{"b": 2}')
    found = read(path, "ndjson")
    assert found[0] == {"a": 1} and found[-1] == {"b": 2}
    assert [refused[0] for refused in found if isinstance(refused, tuple)] == [4, 6]
    assert "UTF-8" in found[1][1] and "'a' twice" in found[3][1]
    # No records, which the import refuses.
    assert found[2] == [1] and found[4] is None


def test_a_line_without_end_is_refused_and_not_held(file: Any) -> None:
    path = file(b'{"a":1}\n' + b"x" * 5000 + b'\n{"a":2}\n' + b"y" * 300)
    with Source(path) as source:
        found = list(source.lines(100))
    assert [(number, size) for number, _, size in found] == [(1, 0), (2, 5001), (3, 0), (4, 300)]
    assert found[2][1] == b'{"a":2}'


def test_utf_16_is_named(file: Any) -> None:
    with pytest.raises(TransferError, match=r"UTF-16.*iconv"):
        read(file('{"a":1}\n'.encode("utf-16")), "ndjson")


def test_gzip_is_unpacked_and_its_damage_is_told(file: Any) -> None:
    packed = gzip.compress(b'{"a":1}\n' * 1000)
    assert read(file(packed), "ndjson") == [{"a": 1}] * 1000
    with pytest.raises(TransferError, match="gzip data is damaged or cut off"):
        read(file(packed[:-20]), "ndjson")
    with pytest.raises(TransferError, match="gzip data is damaged or cut off"):
        read(file(packed[:10] + b"\xff" * 20 + packed[30:]), "ndjson")


# ----------------------------------------------------------------------------------------------------- JSON


@quick
@given(rows=records, chunk=st.integers(1, 40), spaces=st.sampled_from(["", " ", "\n\t"]))
def test_an_array_is_read_in_pieces(rows: Any, chunk: int, spaces: str, file: Any) -> None:
    parts = [tagged_json.dumps(row) for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "_CHUNK", chunk)
        array = f"[{spaces}{f'{spaces},{spaces}'.join(parts)}{spaces}]{spaces}"
        assert identical(read(file(array.encode()), "json"), rows)
        assert identical(read(file(f"{spaces} ".join(parts).encode()), "json"), rows)


@pytest.mark.parametrize(
    ("text", "before", "message"),
    [
        ('[{"a":1}', 1, "record 1: expected , or ]"),
        ('[{"a":1},', 1, "record 2: expected a value"),
        ('[{"a":1} {"a":2}]', 1, "expected , or ]"),
        ('[{"a":1}] x', 1, "nothing behind the array"),
        ('[{"a":1},{"a":tru]', 1, "record 2: expected a value"),
        ("[" * 100_000, 0, "nesting above 256"),
        ('{"a":1}{"a', 1, "record 2"),
    ],
)
def test_a_document_that_breaks_off(text: str, before: int, message: str, file: Any) -> None:
    found = []
    with Source(file(text.encode())) as source:
        reader = make_reader("json", source)
        with pytest.raises(TransferError) as caught:
            for item in reader.items():
                found.append(reader.record(item))
    assert message in str(caught.value)
    assert len(found) == before


def test_bytes_that_are_no_text(file: Any) -> None:
    with pytest.raises(TransferError, match="expected UTF-8, found the byte 0xff"):
        read(file(b'[{"a":"\xff"}]'), "json")


# ----------------------------------------------------------------------------------------------- MessagePack


@quick
@given(rows=records, chunk=st.integers(1, 40))
def test_messagepack_is_read_in_pieces(rows: Any, chunk: int, file: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messagepack, "_CHUNK", chunk)
        assert identical(read(file(write("msgpack", rows)), "msgpack"), rows)


def test_messagepack_of_others(file: Any) -> None:
    one, timestamp = msgpack.packb({"a": 1}), msgpack.packb({"a": msgpack.Timestamp(1, 2)})
    found = read(file(one + timestamp + one), "msgpack")
    assert found[0] == found[2] == {"a": 1}
    assert found[1][0] == 2 and "Timestamp is not a Value" in found[1][1]
    with pytest.raises(TransferError, match=r"record 2: .*ends in the middle"):
        read(file(one + b"\xdf\xff\xff\xff\xff" + one), "msgpack")
    with pytest.raises(TransferError, match="record 2: expected MessagePack"):
        read(file(one + b"\xc1"), "msgpack")


# ------------------------------------------------------------------------------------------------------ CSV


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "", "3.5"], "number"),
        (["1", "007"], "string"),
        (["1.50"], "string"),
        (["+1"], "string"),
        (["1e5"], "string"),
        (["1e+22", "-0.0"], "number"),
        (["9223372036854775807"], "number"),
        (["9223372036854775808"], "string"),
        (["-0"], "string"),
        (["1_000"], "string"),
        (["nan"], "string"),
        (["true", "false", ""], "bool"),
        (["True"], "string"),
        ([" 1"], "string"),
        (["", ""], "string"),
        ([], "string"),
        (["١"], "string"),
    ],
)
def test_a_kind_is_guessed_only_where_nothing_is_lost(cells: list[str], kind: str) -> None:
    assert infer(cells) == kind


@quick
@given(cells=st.lists(st.text(alphabet="0123456789.eE+-naif", max_size=6), min_size=1))
def test_what_is_guessed_is_written_back_as_it_stood(cells: list[str], file: Any) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *([cell, "x"] for cell in cells)])
    back = [row.get("a", "") for row in read(file(text.getvalue().encode()), "csv")]
    assert [cell if isinstance(cell, str) else repr(cell) for cell in back] == cells


def test_tables_of_others(file: Any) -> None:
    path = file('\ufeffname,age,"q:int"\r\n"A, ""B""",4,1\r\n"two\r\nlines",,\r\n\r\nonly\r\n'.encode())
    assert read(path, "csv") == [
        {"name": 'A, "B"', "age": 4, "q": 1},
        {"name": "two\r\nlines"},
        (5 + 1, "expected 3 cells, as the first line has, found 1"),
    ]
    assert read(path, "csv", kinds={"*": "string"})[0]["age"] == "4"
    with pytest.raises(
        TransferError, match=r"no column 'nam'.*there are: name, age, q.*; did you mean 'name'"
    ):
        read(path, "csv", kinds={"nam": "int"})


def test_a_bad_row_does_not_spoil_those_behind(file: Any) -> None:
    path = file(b'a:int,b\n1,x\n2,"y"z\nq,x\n3,\xff\n4,x\n5,"never closed\n6,x\n')
    found = read(path, "csv")
    assert [found[0], found[4]] == [{"a": 1, "b": "x"}, {"a": 4, "b": "x"}]
    assert [(place, reason.partition(":")[0]) for place, reason in (*found[1:4], found[5])] == [
        (3, "expected CSV"),
        (4, "column 'a'"),
        (5, "expected UTF-8, found the byte 0xff at byte 3"),
        (7, "expected CSV"),
    ]
    assert len(found) == 6


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "empty file"),
        ("a,b,a\n", "two columns are named 'a'"),
        ("a:int,a:string\n", "two columns are named 'a'"),
        ("a,,b\n", "column 2 has no name"),
        ('"a', "line 1: expected CSV"),
    ],
)
def test_headers_that_are_refused(header: str, message: str, file: Any) -> None:
    with pytest.raises(TransferError, match=message):
        read(file(header.encode()), "csv")


def test_a_guess_that_fails_later_says_what_to_do(file: Any) -> None:
    path = file(b"zip\n" + b"12345\n" * 10_001 + b"01234\n")
    found = read(path, "csv")
    assert found[-2] == {"zip": 12345}
    place, reason = found[-1]
    assert place == 10_003
    assert reason.startswith("column 'zip': expected a number that is written back")
    assert "--types zip=string" in reason


@pytest.mark.parametrize("typed", [True, False])
def test_no_cell_is_a_formula(typed: bool) -> None:
    attack = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\tx", "\r=1", '=HYPERLINK("x")']
    rows: list[dict[str, Any]] = [
        {attack[0]: 1, "text": text, "ref": Ref(text), "list": [text], "case": Case("=x", text)}
        for text in attack
    ]
    table = list(csv.reader(io.StringIO(write("csv", rows, typed=typed).decode(), newline="")))
    assert len(table) == len(rows) + 1
    assert not [cell for row in table for cell in row if looks_like_formula(cell)]


def test_tabs_between_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"a\tb\n1,2\tx\n")
    assert format_of(path) == "csv"
    assert read(path, "csv") == [{"a": "1,2", "b": "x"}]


# -------------------------------------------------------------------------------------------------- Parquet


def test_parquet_of_others(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "a[1]*.parquet"
    duckdb.sql(
        "SELECT 1::UTINYINT AS small, 1.25::DECIMAL(5,2) AS price, 7::DECIMAL(4,0) AS whole, "
        "12345678901234567890.5::DECIMAL(30,1) AS long, TIMESTAMP '2026-01-02 03:04:05.000006' AS at, "
        "TIMESTAMPTZ '2026-01-02 03:04:05+02' AS zoned, DATE '2026-01-02' AS day, "
        "TIMESTAMP_NS '2026-01-02 03:04:05.000000006' AS exact, 'x'::BLOB AS raw, "
        "[1, NULL] AS list, {'a': 1, 'b': NULL::INT} AS struct, MAP {'k': 2} AS map, MAP {1: 2} AS pairs, "
        "NULL::INT AS nothing, uuid() AS id, '-inf'::DOUBLE AS low, true AS yes"
    ).write_parquet(str(path))
    (row,) = read(path, "parquet")
    assert len(row.pop("id")) == 36
    assert row == {
        "small": 1,
        "price": 1.25,
        "whole": 7,
        "long": "12345678901234567890.5",
        "at": "2026-01-02T03:04:05.000006",
        "zoned": "2026-01-02T01:04:05Z",
        "day": "2026-01-02",
        "exact": "2026-01-02T03:04:05.000000006",
        "raw": b"x",
        "list": [1, None],
        "struct": {"a": 1},
        "map": {"k": 2},
        "pairs": [[1, 2]],
        "low": float("-inf"),
        "yes": True,
    }


def test_parquet_is_useful_to_others(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "a.parquet"
    rows = [
        {
            "name": "Ann",
            "age": 42,
            "tags": ["a", "b"],
            "home": {"city": "Rome"},
            "boss": Ref("b"),
            "x": b"\x00",
        },
        {"name": "Bob", "age": None, "tags": [], "home": {"city": "Oslo", "zip": "1"}, "score": 1.5},
        {"name": "Cid", "age": 7, "score": 2},
    ]
    path.write_bytes(write("parquet", rows))
    types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')").fetchall())
    assert types == {
        "name": "VARCHAR",
        "age": "BIGINT",
        "tags": "VARCHAR[]",
        "home": "STRUCT(city VARCHAR, zip VARCHAR)",
        "boss": "VARCHAR",
        "x": "BLOB",
        "score": "DOUBLE",
        "_rmx_rest": "VARCHAR",
    }
    found = duckdb.sql(f"SELECT age, score, home.city, x FROM '{path}'").fetchall()
    assert found == [(42, None, "Rome", b"\x00"), (None, 1.5, "Oslo", None), (7, 2.0, None, None)]
    assert identical(read(path, "parquet"), rows)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all" * 10])
def test_what_is_no_parquet(content: bytes, file: Any) -> None:
    with pytest.raises(TransferError, match="expected a Parquet file"):
        read(file(content), "parquet")


def test_without_duckdb_parquet_says_what_to_install(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(TransferError, match=r'pip install "mix-db\[parquet\]"'):
        read(file(b"PAR1"), "parquet")
    with pytest.raises(TransferError, match=r'pip install "mix-db\[parquet\]"'):
        write("parquet", [])


def test_json_that_is_written_is_json() -> None:
    assert json.loads(write("json", [{"a": 1}, {"b": "x"}])) == [{"a": 1}, {"b": "x"}]
    assert json.loads(write("json", [])) == []


@pytest.mark.parametrize(
    "metadata", ['{"a": "ref"}', '{"a": [["ref"]]}', '{"a": {"b": 5}}', "[1]", "{", "[" * 9999]
)
def test_parquet_that_lies_about_its_types(metadata: str, tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "a.parquet"
    duckdb.sql(
        f"COPY (SELECT 1 AS a, 'x' AS b, '[1' AS _rmx_rest) TO '{path}' "
        f"(FORMAT parquet, KV_METADATA {{mixkit: '{metadata}'}})"
    )
    ((place, reason),) = read(path, "parquet")
    assert place == 1 and reason.startswith("column")
    with pytest.raises(TransferError, match="one of ref, json, found 'int'"):
        read(path, "parquet", kinds={"b": "int"})
