#!/usr/bin/env bash
# duckdb 2.0.1: the sum of a BIGINT column is a HUGEINT, for which COPY to Parquet writes DOUBLE without a word, so sums
# above 2**53 are rounded: a number that is right in the result is wrong in the file.
# Seen: 9007199254740993 becomes 9007199254740992.0; cast to BIGINT or DECIMAL(38,0) it is kept.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb

print("duckdb", duckdb.__version__)
connection = duckdb.connect()
connection.execute("create table t as select 9007199254740992::bigint as n union all select 1")
for sql, expected in (("sum(n)", 9007199254740992.0), ("sum(n)::bigint", 9007199254740993), ("sum(n)::decimal(38,0)", 9007199254740993)):
    exact = connection.execute(f"select {sql} from t").fetchall()[0][0]
    connection.execute(f"copy (select {sql} as n from t) to 'sum.parquet' (format parquet)")
    (seen, kind), = connection.execute("select n, typeof(n) from 'sum.parquet'").fetchall()
    print(f"{sql}: {exact} in the result, {seen!r} ({kind}) in the file")
    assert exact == 9007199254740993 and seen == expected, "it has changed"
PYTHON
