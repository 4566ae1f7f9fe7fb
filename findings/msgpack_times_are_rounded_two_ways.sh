#!/usr/bin/env bash
# msgpack 1.2.4 and msgspec 0.22.0 read the same MessagePack timestamp (999,999,999 ns) as two times: msgpack cuts what
# Python's datetime cannot hold, msgspec rounds it, into the next second, and by RFC 3339 text too. So msgspec refuses the
# last tenth of a microsecond before the year 10000, and two services that share bytes disagree about the second.
# Seen: 00:00:00.999999 and 00:00:01; ValidationError for 9999-12-31T23:59:59.9999999Z.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgpack==1.2.4 msgspec==0.22.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import datetime
import msgpack
import msgspec

print("msgpack", msgpack.version, "msgspec", msgspec.__version__)
packed = msgpack.packb(msgpack.Timestamp(0, 999_999_999))
cut = msgpack.unpackb(packed, timestamp=3)
rounded = msgspec.msgpack.decode(packed)
print("msgpack:", cut.isoformat(), "msgspec:", rounded.isoformat())
assert (cut.second, rounded.second) == (0, 1), "it has changed"
try:
    seen = msgspec.json.decode('"9999-12-31T23:59:59.9999999Z"', type=datetime.datetime).isoformat()
except msgspec.ValidationError as exc:
    seen = str(exc)
print("msgspec, the last moment of 9999:", seen)
assert seen.startswith("Invalid RFC3339"), "it has changed"
PYTHON
