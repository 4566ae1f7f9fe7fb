#!/usr/bin/env bash
# python-dateutil 4.0.0: the text of a rule "would generate this RRULE if passed to rrulestr" (its own words for
# `str`), but the zone of DTSTART and the Z of UTC are left away: what is read again has times without a zone, which
# mean other moments elsewhere (RFC 5545, 3.3.5), and cannot be compared with what was written.
# Seen: DTSTART;TZID=Europe/Berlin:… and DTSTART:…Z are both written as DTSTART:20260105T090000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-dateutil==4.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from dateutil.rrule import rrulestr

print("python-dateutil", version("python-dateutil"))
seen = []
for start in (":20260105T090000", ":20260105T090000Z", ";TZID=Europe/Berlin:20260105T090000"):
    rule = rrulestr(f"DTSTART{start}\nRRULE:FREQ=DAILY;COUNT=2")
    again = rrulestr(str(rule))
    print(start, "->", str(rule).split()[0], rule[1].isoformat(), "->", again[1].isoformat())
    seen.append((str(rule).split()[0], rule[1].utcoffset() is not None, again[1].utcoffset() is not None))
text = "DTSTART:20260105T090000"
assert seen == [(text, False, False), (text, True, False), (text, True, False)], "it has changed"
PYTHON
