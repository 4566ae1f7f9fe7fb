#!/usr/bin/env bash
# pyarrow 26.0.1: `pyarrow.json.read_json` makes a column of floats, without a word, of whole numbers where one is beyond 64
# bits or another row has a fraction, so identifiers above 2**53 change; `pyarrow.array` refuses the same values.
# Seen: 1152921504606846977 read as 1152921504606846976.0 and ArrowInvalid from array().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import io
import pyarrow as pa
import pyarrow.json

print("pyarrow", pa.__version__)
number = 2**60 + 1
lines = f'{{"id": {number}}}\n{{"id": 2.5}}\n'.encode()
seen = pyarrow.json.read_json(io.BytesIO(lines)).to_pylist()[0]["id"]
print(f"read_json: {number} -> {seen:.1f}")
assert type(seen) is float and int(seen) != number, "it has changed"
seen = pyarrow.json.read_json(io.BytesIO(b'{"id": 9223372036854775809}\n')).to_pylist()[0]["id"]
print(f"read_json: 9223372036854775809 -> {seen:.1f}")
assert type(seen) is float and int(seen) != 9223372036854775809, "it has changed"
try:
    seen = pa.array([number, 2.5])
except pa.ArrowInvalid as exc:
    seen = exc
print("array:", seen)
assert isinstance(seen, pa.ArrowInvalid), "it has changed"
PYTHON
