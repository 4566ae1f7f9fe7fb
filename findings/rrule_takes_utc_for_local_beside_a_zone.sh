#!/usr/bin/env bash
# rrule 2.8.1 (Node.js): where DTSTART names a zone, UNTIL must be in UTC (RFC 5545, 3.3.10), and EXDATE may be. Both
# are taken for times of the zone: the last occurrence is lost or one too many comes (with zones west of Greenwich),
# and what was excluded stays. DTSTART with VALUE=DATE, the form for whole days, is passed over, so that nothing is
# found. python-dateutil 4.0.0 reads all of them.
# Seen: 2 of 3 in Berlin, 3 for 2 in New York, 3 for 2 with EXDATE, 0 of 3 whole days.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts rrule@2.8.1
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-dateutil==4.0.0
cat >rules.json <<'JSON'
["DTSTART;TZID=Europe/Berlin:20260105T090000\nRRULE:FREQ=DAILY;UNTIL=20260107T080000Z",
 "DTSTART;TZID=America/New_York:20260105T090000\nRRULE:FREQ=DAILY;UNTIL=20260107T120000Z",
 "DTSTART;TZID=Europe/Berlin:20260105T090000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260106T080000Z",
 "DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY;UNTIL=20260103"]
JSON
node - <<'JAVASCRIPT'
const assert = require("node:assert");
const { rrulestr } = require("rrule");

console.log("rrule", require("rrule/package.json").version);
const seen = require("./rules.json").map((rule) => rrulestr(rule).all().length);
console.log("found by rrule:", seen);
assert.deepEqual(seen, [2, 3, 3, 0], "it has changed");
JAVASCRIPT
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version

from dateutil.rrule import rrulestr

seen = [len(list(rrulestr(rule))) for rule in json.load(open("rules.json"))]
print("found by python-dateutil", version("python-dateutil"), seen)
assert seen == [3, 2, 2, 3], "it has changed"
PYTHON
