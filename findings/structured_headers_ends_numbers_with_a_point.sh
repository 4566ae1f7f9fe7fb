#!/usr/bin/env bash
# structured-headers 2.1.0 (Node.js): a number with more than three digits behind the point is rounded to three, as the
# standard wants; where these are zeros, no digit is left behind the point, though RFC 9651, 4.1.5 wants one. What comes
# out is no structured field: its own parser refuses it, and so does http-sf.
# Seen: 1.0004 is written as "1." and 0.0002 as "0."; 1.5 is 1.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts structured-headers@2.1.0
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check http-sf==1.5.0
node - >written <<'JAVASCRIPT'
const assert = require("node:assert");
const { parseItem, serializeItem } = require("structured-headers");

for (const value of [1.5, 1.0004, 0.0002]) {
  const text = serializeItem([value, new Map()]);
  console.log(text);
  if (value === 1.5) assert.equal(parseItem(text)[0], value);
  else assert.throws(() => parseItem(text), /Parse error/, "it has changed");
}
JAVASCRIPT
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import http_sf

print("structured-headers 2.1.0, http-sf", version("http-sf"))
seen = []
for text in open("written").read().split():
    try:
        found = str(http_sf.parse(text.encode(), tltype="item")[0])
    except ValueError as exc:
        found = type(exc).__name__
    print(text, "->", found)
    seen.append((text, found.isalpha()))
assert seen == [("1.5", False), ("1.", True), ("0.", True)], "it has changed"
PYTHON
