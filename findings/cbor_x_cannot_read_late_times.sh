#!/usr/bin/env bash
# cbor-x 1.6.9 (Node.js): a whole number of 64 bits is read as a BigInt, be it ever so small for a number of
# JavaScript (its option int64AsNumber says otherwise, for all of them). The time of tag 1 with such a number, which
# RFC 8949, 3.4.2 asks decoders to take, then fails: it is multiplied with a number. cbor2 writes any time from
# 2106-02-07T06:28:16Z on so.
# Seen: 4294967296n for 2^32; a TypeError for 2106-02-07T06:28:16Z, and the right Date a second before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts cbor-x@1.6.9
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cbor2==6.3.0
"$folder/venv/bin/python" - >written <<'PYTHON'
from datetime import UTC, datetime, timedelta

import cbor2

last = datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)
for value in (2**32, last, last + timedelta(seconds=1)):
    print(cbor2.dumps(value, datetime_as_timestamp=True).hex())
PYTHON
node - <<'JAVASCRIPT'
const assert = require("node:assert");
const { decode } = require("cbor-x");

console.log("cbor-x", require("cbor-x/package.json").version);
const written = require("node:fs").readFileSync("written", "utf8").split("\n").slice(0, 3);
const seen = written.map((hex) => {
  try {
    return decode(Buffer.from(hex, "hex"));
  } catch (error) {
    return error.name;
  }
});
console.log(written, seen);
assert.deepEqual(written, ["1b0000000100000000", "c11affffffff", "c11b0000000100000000"], "it has changed");
assert.deepEqual(seen, [4294967296n, new Date("2106-02-07T06:28:15Z"), "TypeError"], "it has changed");
JAVASCRIPT
