#!/usr/bin/env bash
# mcp-use 1.7.1 (mcp 1.30.0): for its agents each argument that is optional and left out is sent as null, which the
# tool's schema does not allow, and a server that checks refuses. What a schema does not name is left away, though a
# schema without `additionalProperties` allows it; and a result that has structured content alone is an empty text.
# Seen: {"name": "a"} arrives with "size": null, {"other": 1} as {}, and {"answer": 42} comes back as "".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp-use==1.7.1 mcp==1.30.0 langchain==1.5.2
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
export MCP_USE_ANONYMIZED_TELEMETRY=false
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio, json, logging, sys
from importlib.metadata import version

from mcp_use import MCPClient
from mcp_use.agents.adapters.langchain_adapter import LangChainAdapter

print(*(f"{name} {version(name)}" for name in ("mcp-use", "mcp")))
logging.disable()


async def call(schema, arguments, result=None):
    env = {"TOOLS": json.dumps([{"name": "probe", "inputSchema": schema}]), "RESULT": json.dumps(result)}
    client = MCPClient.from_dict(
        {"mcpServers": {"probe": {"command": sys.executable, "args": ["server.py"], "env": env}}}
    )
    await client.create_all_sessions()
    try:
        (tool,) = await LangChainAdapter().create_tools(client)
        return await tool.ainvoke(arguments)
    finally:
        await client.close_all_sessions()


async def main():
    named = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
        "required": ["name"],
    }
    anything = {"type": "object", "additionalProperties": {"type": "integer"}}
    seen = [
        json.loads(await call(named, {"name": "a"})),
        json.loads(await call(anything, {"other": 1})),
        await call({"type": "object"}, {}, {"content": [], "structuredContent": {"answer": 42}}),
    ]
    print(seen)
    assert seen == [{"name": "a", "size": None}, {}, ""], "it has changed"


asyncio.run(main())
PYTHON
