#!/usr/bin/env bash
# @msgpack/msgpack 3.1.3 (Node.js): what it has no type for it refuses only where it is no object. A Map, a Set and an
# error are written as empty maps, and a Date that is not valid as the first second of 1970, without an error; a BigInt
# is refused.
# Seen: {} for a Map with an entry and for a Set, 1970-01-01T00:00:00.000Z for new Date(NaN).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @msgpack/msgpack@3.1.3
node - <<'JAVASCRIPT'
const assert = require("node:assert");
const { decode, encode } = require("@msgpack/msgpack");

console.log("@msgpack/msgpack", require("@msgpack/msgpack/package.json").version);
const seen = [new Map([["a", 1]]), new Set([1]), new Date(NaN), new Date(5)].map((value) => decode(encode(value)));
console.log(seen);
assert.throws(() => encode(10n), /Unrecognized object/, "it has changed");
assert.deepEqual(seen, [{}, {}, new Date(0), new Date(5)], "it has changed");
JAVASCRIPT
