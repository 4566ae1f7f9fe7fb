#!/usr/bin/env bash
# zod 4.6.7 (Node.js): `z.fromJSONSchema` raises errors for words that it does not know, and is silent about words that
# it does know where another stands beside them or is missing: without a `type`, next to `$ref` or `enum`, and
# `required` of a name that `properties` lacks. Objects and arrays of `const` and `enum` equal nothing, and an optional
# property `toString` that is not there is refused. JSON Schema 2020-12: each word applies by itself; two values are
# equal by their content (Core, 4.2.2).
# Seen: five values that do not fit are taken, three that do are refused; the same words under a `type` are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts zod@4.6.7
node - <<'JAVASCRIPT'
const assert = require("node:assert");
const z = require("zod");

console.log("zod", require("zod/package.json").version);
const string = { type: "string" };
const cases = [
  // schema, value, whether it fits, what is seen
  [{ type: "string", minLength: 2 }, "a", false, false],
  [{ minLength: 2 }, "a", false, true],
  [{ properties: { a: { type: "integer" } } }, { a: "b" }, false, true],
  [{ $ref: "#/$defs/text", minLength: 2, $defs: { text: string } }, "a", false, true],
  [{ type: "string", enum: ["a", "bc"], minLength: 2 }, "a", false, true],
  [{ type: "object", properties: { a: string }, required: ["a"] }, {}, false, false],
  [{ type: "object", properties: {}, required: ["a"] }, {}, false, true],
  [{ const: 1 }, 1, true, true],
  [{ const: { a: 1 } }, { a: 1 }, true, false],
  [{ enum: [[1]] }, [1], true, false],
  [{ type: "object", properties: { toString: string } }, {}, true, false],
];
for (const [schema, value, fits, seen] of cases) {
  const found = z.fromJSONSchema(schema).safeParse(value).success;
  const text = `${JSON.stringify(schema)} ${JSON.stringify(value)} ${fits ? "fits" : "does not fit"}`;
  console.log(`${text}: ${found ? "taken" : "refused"}`);
  assert.equal(found, seen, "it has changed");
}
JAVASCRIPT
