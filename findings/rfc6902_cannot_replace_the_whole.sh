#!/usr/bin/env bash
# rfc6902 5.4.0 (Node.js): the empty pointer is the whole document (RFC 6901, 5), which a patch may replace (RFC
# 6902, 4.1 and 4.3). `createPatch` makes such a patch where the types of both documents differ; its own `applyPatch`
# answers that the value is missing, and leaves the document as it was. fast-json-patch 3.1.1 applies it.
# Seen: MissingError for add, replace, move and copy to the empty pointer, `createPatch({a: 1}, [1])` among them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts rfc6902@5.4.0 fast-json-patch@3.1.1
node - <<'JAVASCRIPT'
const assert = require("node:assert");
const other = require("fast-json-patch");
const { applyPatch, createPatch } = require("rfc6902");

console.log("rfc6902", require("rfc6902/package.json").version);
const patches = [
  createPatch({ a: 1 }, [1]),
  [{ op: "add", path: "", value: [1] }],
  [{ op: "move", from: "/a", path: "" }],
  [{ op: "copy", from: "/a", path: "" }],
];
for (const patch of patches) {
  const document = { a: 1 };
  const errors = applyPatch(document, patch).map((error) => error && error.name);
  const applied = other.applyPatch({ a: 1 }, patch).newDocument;
  console.log(JSON.stringify(patch), errors, document, "fast-json-patch:", applied);
  assert.deepEqual(errors, ["MissingError"], "it has changed");
  assert.deepEqual(document, { a: 1 }, "it has changed");
  assert.deepEqual(applied, patch[0].value ?? 1, "it has changed");
}
JAVASCRIPT
