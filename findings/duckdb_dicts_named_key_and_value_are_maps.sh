#!/usr/bin/env bash
# duckdb 2.0.1: a dictionary given as a parameter is a STRUCT, unless its fields are called `key` and `value` and hold lists
# of one length: then it is a MAP and comes back as another dictionary. The other way round a MAP comes as a dictionary
# whose shape depends on its keys: those that Python cannot hash give {'key': [...], 'value': [...]}.
# Seen: {'key': [1, 2], 'value': ['a', 'b']} returns as {1: 'a', 2: 'b'}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb

print("duckdb", duckdb.__version__)
for given, expected, kind in (
    ({"key": [1, 2], "value": ["a", "b"]}, {1: "a", 2: "b"}, "MAP(INTEGER, VARCHAR)"),
    ({"keys": [1, 2], "value": ["a", "b"]}, {"keys": [1, 2], "value": ["a", "b"]}, None),
):
    back, type_ = duckdb.execute("select ?, typeof(?)", [given, given]).fetchall()[0]
    print(given, "->", back, type_)
    assert back == expected and kind in (None, type_), "it has changed"
for sql, expected in (("map {'x': 'a'}", {"x": "a"}), ("map {[1]: 'a'}", {"key": [[1]], "value": ["a"]})):
    seen = duckdb.sql("select " + sql).fetchall()[0][0]
    print(sql, "->", seen)
    assert seen == expected, "it has changed"
PYTHON
