#!/usr/bin/env bash
# duckdb 2.0.1, pyarrow 26.0.1: UHUGEINT goes to Arrow as decimal128(38, 0), whose 128 bits have a sign: the largest number
# arrives as -1, 2^127 + 1 as -(2^127 - 1), silently.
# Seen: -1 and -170141183460469231731687303715884105727; DuckDB reads its own table back with these.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb, pyarrow

print("duckdb", duckdb.__version__, "pyarrow", pyarrow.__version__)
connection = duckdb.connect()
sql = "select unnest(['7', '170141183460469231731687303715884105729', '340282366920938463463374607431768211455'])::UHUGEINT as n"
rows = [row[0] for row in connection.sql(sql).fetchall()]
table = connection.sql(sql).to_arrow_table()
arrived = [int(value) for value in table["n"].to_pylist()]
back = [int(row[0]) for row in connection.from_arrow(table).fetchall()]
print("as Python rows:", rows)
print("as Arrow:", table.schema.field("n").type, arrived)
print("read back from Arrow:", back)
assert rows == [7, 2**127 + 1, 2**128 - 1], "it has changed"
assert arrived == back == [7, -(2**127 - 1), -1], "it has changed"
PYTHON
