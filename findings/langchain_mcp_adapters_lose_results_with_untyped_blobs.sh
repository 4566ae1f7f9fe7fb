#!/usr/bin/env bash
# langchain-mcp-adapters 0.3.2 (langchain-core 1.8.3, mcp 1.30.0): the type of an embedded resource is optional
# (`mimeType?` of ResourceContents); without one a blob makes the whole result a ValueError, the texts beside it too,
# and what the tool did is done. A sound (`audio`, of the protocol since 2025-03-26) does the same: NotImplementedError.
# Seen: both errors; a text alone, and a text with a blob that has a type, are results.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  langchain-mcp-adapters==0.3.2 langchain-core==1.8.3 mcp==1.30.0
cd "$folder"
cat > server.py <<'PYTHON'
# A server of MCP over standard input and output that answers each call with the arguments it got, or what RESULT says.
import json, os, sys

for line in sys.stdin:
    message = json.loads(line)
    if "method" not in message or "id" not in message:
        continue
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "probe", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": json.loads(os.environ["TOOLS"])}
    elif method == "tools/call":
        text = {"content": [{"type": "text", "text": json.dumps(params.get("arguments"))}]}
        result = json.loads(os.environ.get("RESULT", "null")) or text
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
PYTHON
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio, json, sys
from importlib.metadata import version

from langchain_mcp_adapters.client import MultiServerMCPClient

print(*(f"{name} {version(name)}" for name in ("langchain-mcp-adapters", "langchain-core", "mcp")))
TEXT = {"type": "text", "text": "done"}
BLOCKS = {
    "typed": {"type": "resource", "resource": {"uri": "probe:a", "blob": "AAAA", "mimeType": "image/png"}},
    "untyped": {"type": "resource", "resource": {"uri": "probe:a", "blob": "AAAA"}},
    "audio": {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
}
tools = json.dumps([{"name": "act", "inputSchema": {"type": "object"}}])


async def call(*blocks):
    env = {"TOOLS": tools, "RESULT": json.dumps({"content": blocks})}
    client = MultiServerMCPClient(
        {"probe": {"transport": "stdio", "command": sys.executable, "args": ["server.py"], "env": env}}
    )
    (tool,) = await client.get_tools()
    try:
        return len((await tool.ainvoke({"name": "act", "args": {}, "id": "1", "type": "tool_call"})).content)
    except (ValueError, NotImplementedError) as exc:
        return type(exc).__name__


async def main():
    seen = {"text": await call(TEXT), **{name: await call(TEXT, block) for name, block in BLOCKS.items()}}
    print(seen)
    expected = {"text": 1, "typed": 2, "untyped": "ValueError", "audio": "NotImplementedError"}
    assert seen == expected, "it has changed"


asyncio.run(main())
PYTHON
