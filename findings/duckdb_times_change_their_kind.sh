#!/usr/bin/env bash
# duckdb 2.0.1 hands out values of one column as different Python types: what a datetime cannot hold comes as text, except
# infinity, which comes as the last microsecond of 9999, so it equals a valid other value. Midnight at the end of a day,
# '24:00:00', is text, and through Arrow the first midnight of the day. A month comes as 30 days, a year as 360.
# Seen: see EXPECTED.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import datetime
import duckdb

print("duckdb", duckdb.__version__)
one = lambda sql: duckdb.sql("select " + sql).fetchall()[0][0]
EXPECTED = {
    "'infinity'::timestamp": datetime.datetime.max,
    "'-infinity'::date": datetime.date.min,
    "'294247-01-10'::timestamp": "294247-01-10 00:00:00",
    "'0044-03-15 (BC)'::date": "0044-03-15 (BC)",
    "'24:00:00'::time": "24:00:00",
    "interval 1 month": datetime.timedelta(days=30),
    "interval 1 year": datetime.timedelta(days=360),
}
for sql, expected in EXPECTED.items():
    print(f"{sql}: {one(sql)!r}")
    assert one(sql) == expected and type(one(sql)) is type(expected), "it has changed"
arrow = duckdb.sql("select '24:00:00'::time as t").arrow().read_all().to_pylist()[0]["t"]
print("'24:00:00'::time through Arrow:", arrow)
assert arrow == datetime.time(0), "it has changed"
PYTHON
