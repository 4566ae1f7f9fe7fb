#!/usr/bin/env bash
# ajv 8.20.0 (Node.js), its class for 2020-12: what counts as evaluated is not what the standard says (Core, 10.2.2.1
# and 11.2; Applicator, 10.3.1.3: a `contains` names the items that it applies to). Properties that a true `if` has
# evaluated do not count where `then` is missing or empty, and a `contains` makes all items count, or none with a
# minContains of 0. @cfworker/json-schema 4.1.6 is right in each.
# Seen: {"a": 1} is refused, [5, 6] taken and ["a"] refused, with each of which the standard says otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts ajv@8.20.0 @cfworker/json-schema@4.1.6
node - <<'JAVASCRIPT'
const assert = require("node:assert");
const Ajv = require("ajv/dist/2020").default;
const { Validator } = require("@cfworker/json-schema");

console.log("ajv", require("ajv/package.json").version);
const named = { properties: { a: { const: 1 } }, required: ["a"] };
const cases = [
  // schema, value, whether it fits, what ajv says
  [{ if: named, then: { properties: { b: true } }, unevaluatedProperties: false }, { a: 1 }, true, true],
  [{ if: named, unevaluatedProperties: false }, { a: 1 }, true, false],
  [{ if: named, then: true, unevaluatedProperties: false }, { a: 1 }, true, false],
  [{ contains: { const: 5 }, unevaluatedItems: false }, [5, 5], true, true],
  [{ contains: { const: 5 }, unevaluatedItems: false }, [5, 6], false, true],
  [{ contains: { type: "string" }, minContains: 0, unevaluatedItems: false }, ["a"], true, false],
];
for (const [schema, value, fits, seen] of cases) {
  const found = new Ajv({ strict: false }).validate(schema, value);
  console.log(`${JSON.stringify(schema)} ${JSON.stringify(value)} ${fits ? "fits" : "does not fit"}: ${found}`);
  assert.equal(new Validator(schema, "2020-12").validate(value).valid, fits);
  assert.equal(found, seen, "it has changed");
}
JAVASCRIPT
