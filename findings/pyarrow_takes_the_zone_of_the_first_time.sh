#!/usr/bin/env bash
# pyarrow 26.0.1: in an array of datetimes with and without a zone the first one decides for all. With a naive one first, a
# time with a zone is moved to UTC and loses its zone; with a zone first, a naive one is taken for UTC. Nothing is raised.
# Seen: 12:00+05:00 becomes a naive 07:00, or a naive 12:00 becomes 12:00 UTC.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime, timedelta, timezone
import pyarrow as pa

print("pyarrow", pa.__version__)
naive = datetime(2020, 1, 1, 12)
zoned = datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
one, other = pa.array([naive, zoned]), pa.array([zoned, naive])
print(one.type, one.to_pylist())
print(other.type, other.to_pylist())
assert one.to_pylist() == [naive, datetime(2020, 1, 1, 7)], "it has changed"
assert other.type.tz is not None and other.to_pylist()[1].utcoffset() is not None, "it has changed"
PYTHON
