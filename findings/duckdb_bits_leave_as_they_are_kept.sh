#!/usr/bin/env bash
# duckdb 2.0.1 (pandas 3.1.1, pyarrow 26.0.1): a BIT is a text of 0 and 1 in rows of Python. In pandas and in Arrow it
# is the bytes that DuckDB keeps it in: the number of bits that fill up the first byte, then that byte filled up with
# ones. Arrow is given no more than `binary`, so that DuckDB itself reads its own table as other bits.
# Seen: 0101 is '0101' in Python, b'\x04\xf5' in pandas and Arrow; its two set bits are seven after a round trip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pandas==3.1.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import duckdb

print(*(f"{name} {version(name)}" for name in ("duckdb", "pandas", "pyarrow")))
connection = duckdb.connect()
query = "SELECT bit '0101' AS bits"
row = connection.sql(query).fetchall()[0][0]
frame = connection.sql(query).df().bits[0]
kept = connection.sql(query).to_arrow_table()
arrow = kept.column("bits")[0].as_py()
counts = [
    connection.sql(f"SELECT bit_count(bits::BIT) FROM {source}").fetchall()[0][0] for source in (f"({query})", "kept")
]
print("Python", repr(row), "pandas", frame, "Arrow", kept.schema.field("bits").type, arrow, "set bits", counts)
assert row == "0101" and counts[0] == 2, "it has changed"
assert bytes(frame) == arrow == b"\x04\xf5" and counts[1] == 7, "it has changed"
PYTHON
