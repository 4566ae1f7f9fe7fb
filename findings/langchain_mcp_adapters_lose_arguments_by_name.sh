#!/usr/bin/env bash
# langchain-mcp-adapters 0.3.2 (langchain-core 1.8.3, mcp 1.30.0): a tool's arguments are passed to its call as
# keywords. Three names there are taken for what LangChain itself passes, and never reach the server: the call succeeds
# without them. A fourth, `self`, is a TypeError. The protocol gives names no meaning.
# Seen: the server gets {} for `config`, `run_manager` and `runtime`; `callbacks`, `class` and `args` arrive.
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
NAMES = ["callbacks", "class", "args", "config", "run_manager", "runtime", "self"]
schema = {"type": "object", "properties": {name: {"type": "string"} for name in NAMES}}
tools = json.dumps([{"name": "echo", "inputSchema": schema}])


async def main():
    client = MultiServerMCPClient(
        {"probe": {"transport": "stdio", "command": sys.executable, "args": ["server.py"], "env": {"TOOLS": tools}}}
    )
    (tool,) = await client.get_tools()
    seen = {}
    for name in NAMES:
        try:
            result = await tool.ainvoke({"name": "echo", "args": {name: "sent"}, "id": "1", "type": "tool_call"})
            seen[name] = json.loads(result.content[0]["text"])
        except TypeError as exc:
            seen[name] = type(exc).__name__
        print(name, "->", seen[name])
    assert all(seen[name] == {name: "sent"} for name in NAMES[:3]), "it has changed"
    assert [seen[name] for name in NAMES[3:]] == [{}, {}, {}, "TypeError"], "it has changed"


asyncio.run(main())
PYTHON
