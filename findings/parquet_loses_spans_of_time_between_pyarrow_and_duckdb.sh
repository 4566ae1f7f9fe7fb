#!/usr/bin/env bash
# Parquet files that pyarrow 26.0.1 and duckdb 2.0.1 write for each other: a duration of pyarrow is a bare number for duckdb,
# whatever its unit was; an interval of duckdb is twelve bytes for pyarrow; a time with a zone loses the zone.
# Seen: 5 s and 5 ms are both BIGINT 5; b'\x01' and eleven zeros for a month; 01:00+05:30 is 19:30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import datetime
import duckdb
import pyarrow as pa
import pyarrow.parquet

print("duckdb", duckdb.__version__, "pyarrow", pa.__version__)
for unit in ("s", "ms"):
    pa.parquet.write_table(pa.table({"a": pa.array([5], pa.duration(unit))}), "span.parquet")
    seen = duckdb.connect().execute("select a, typeof(a) from 'span.parquet'").fetchall()
    print(f"pyarrow's 5 {unit} in duckdb:", seen, "and in pyarrow:", pa.parquet.read_table("span.parquet")["a"][0])
    assert seen == [(5, "BIGINT")], "it has changed"
for sql, expected in (("interval 1 month", b"\x01" + bytes(11)), ("'01:00:00+05:30'::timetz", datetime.time(19, 30))):
    duckdb.connect().execute(f"copy (select {sql} as a) to 'span.parquet' (format parquet)")
    seen = pa.parquet.read_table("span.parquet")["a"][0].as_py()
    print(f"duckdb's {sql} in pyarrow:", seen)
    assert seen == expected, "it has changed"
PYTHON
