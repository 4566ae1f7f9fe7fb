#!/usr/bin/env bash
# canonicalize 4.0.0 and json-canonicalize 3.0.1 (Node.js): RFC 8785, 3.2.1, stands on ECMAScript's JSON.stringify,
# which writes null for a hole of an array and for a function in one, and the value for an object of Number or
# String. Both libraries write the array otherwise, each in its own way, partly as what is no JSON, and such a number
# as an empty map, so that different values have one form to be signed.
# Seen: [,1] and [1] for a hole and 1, [] and [undefined] for a function, {} for new Number(1) and for new Number(2).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts canonicalize@4.0.0 json-canonicalize@3.0.1
cat >run.mjs <<'JAVASCRIPT'
import assert from "node:assert";
import first from "canonicalize";
import { canonicalize as second } from "json-canonicalize";

console.log("canonicalize 4.0.0, json-canonicalize 3.0.1");
const values = [[, 1], [() => 1], new Number(1), new Number(2)];
const seen = values.map((value) => [JSON.stringify(value), first(value), second(value)]);
console.log(seen);
assert.deepEqual(
  seen,
  [
    ["[null,1]", "[,1]", "[1]"],
    ["[null]", "[]", "[undefined]"],
    ["1", "{}", "{}"],
    ["2", "{}", "{}"],
  ],
  "it has changed",
);
JAVASCRIPT
node run.mjs
