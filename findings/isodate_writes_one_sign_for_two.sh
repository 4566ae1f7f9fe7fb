#!/usr/bin/env bash
# isodate 0.7.2: a Duration may have parts of both signs, a month less a day, and counts rightly with them.
# `duration_isoformat` writes one sign before all of them: what was forward goes back, without an error (ISO 8601-1 has
# no form for both; ISO 8601-2 has `P1M-1D`).
# Seen: a month less a day is -P1M1D, which is read as a month and a day back; a year less a month is -P1Y1M.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check isodate==0.7.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import date
from importlib.metadata import version

from isodate import Duration, duration_isoformat, parse_duration

print("isodate", version("isodate"))
day = date(2026, 3, 15)
seen = []
for duration in (Duration(months=1, days=1), Duration(months=1, days=-1), Duration(years=1, months=-1)):
    text = duration_isoformat(duration)
    print(text, "of", day, "and what it leads to:", day + duration, "read again:", day + parse_duration(text))
    seen.append((text, day + duration, day + parse_duration(text)))
assert seen[0] == ("P1M1D", date(2026, 4, 16), date(2026, 4, 16)), "it has changed"
assert seen[1] == ("-P1M1D", date(2026, 4, 14), date(2026, 2, 14)), "it has changed"
assert seen[2] == ("-P1Y1M", date(2027, 2, 15), date(2025, 2, 15)), "it has changed"
PYTHON
