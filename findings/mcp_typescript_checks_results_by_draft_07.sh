#!/usr/bin/env bash
# @modelcontextprotocol/sdk 1.32.2 (the TypeScript SDK, version 1; Node.js): its client checks structured content by
# draft-07 of JSON Schema, where the protocol's default is 2020-12 (since 2025-11-25, "JSON Schema Usage"), and also
# where a schema says that it is 2020-12. So it refuses tuples and what needs no item, and passes over words that
# draft-07 lacks. Version 2 of the SDK (@modelcontextprotocol/client 2.4.0) knows both.
# Seen: [1] of a closed tuple and [] with minContains 0 are refused, a missing dependentRequired is taken; version 2
# does the opposite of each.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts \
  @modelcontextprotocol/sdk@1.32.2 @modelcontextprotocol/client@2.4.0 @modelcontextprotocol/server@2.4.0
cat > probe.mjs <<'JAVASCRIPT'
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { Client as First } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as FirstTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { Client as Second } from "@modelcontextprotocol/client";
import { StdioClientTransport as SecondTransport } from "@modelcontextprotocol/client/stdio";

for (const name of ["sdk", "client"])
  console.log(name, JSON.parse(readFileSync(`node_modules/@modelcontextprotocol/${name}/package.json`)).version);

const tuple = { type: "array", prefixItems: [{ type: "integer" }], items: false };
const results = {
  tuple: [{ properties: { a: tuple } }, { a: [1] }],
  none: [{ properties: { a: { type: "array", contains: { const: 1 }, minContains: 0 } } }, { a: [] }],
  missing: [{ dependentRequired: { a: ["b"] } }, { a: 1 }],
};
const server = `
  const results = ${JSON.stringify(results)}, dialect = "https://json-schema.org/draft/2020-12/schema";
  require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) return;
    const answer = {
      initialize: () => ({
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: "probe", version: "1" },
      }),
      "tools/list": () => ({
        tools: Object.entries(results).map(([name, [schema]]) => ({
          name, inputSchema: { type: "object" }, outputSchema: { $schema: dialect, type: "object", ...schema },
        })),
      }),
      "tools/call": () => ({ content: [], structuredContent: results[params.name][1] }),
    }[method];
    const found = answer ? { result: answer() } : { error: { code: -32601, message: "Method not found" } };
    console.log(JSON.stringify({ jsonrpc: "2.0", id, ...found }));
  });`;

async function taken(Client, Transport) {
  const client = new Client({ name: "probe", version: "1" });
  await client.connect(new Transport({ command: process.execPath, args: ["-e", server] }));
  await client.listTools();
  const seen = {};
  for (const name of Object.keys(results))
    seen[name] = await client.callTool({ name, arguments: {} }).then(
      () => true,
      (error) => (console.log(error.message), false),
    );
  await client.close();
  return seen;
}

const seen = [await taken(First, FirstTransport), await taken(Second, SecondTransport)];
console.log("version 1:", seen[0], "version 2:", seen[1]);
assert.deepEqual(seen[0], { tuple: false, none: false, missing: true }, "it has changed");
assert.deepEqual(seen[1], { tuple: true, none: true, missing: false }, "it has changed");
JAVASCRIPT
node probe.mjs
