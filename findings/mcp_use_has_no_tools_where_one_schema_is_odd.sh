#!/usr/bin/env bash
# mcp-use 1.7.1 (mcp 1.30.0): schemas become Pydantic models through a converter that knows few of JSON Schema's words.
# A tool with a parameter of the schema `true` (anything), or whose name begins with an underscore, is an error that
# takes all other tools of the server along: the agent has none. Enumerations of anything but texts are taken for texts.
# Seen: TypeError and PydanticUserError where two tools are listed; 1 of {"enum": [1, 2]} is a ValidationError.
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


async def tools(name, schema, value=None):
    """How many tools there are, or what the call of the first answers."""
    listed = [
        {"name": "probe", "inputSchema": {"type": "object", "properties": {name: schema}}},
        {"name": "plain", "inputSchema": {"type": "object"}},
    ]
    client = MCPClient.from_dict(
        {
            "mcpServers": {
                "probe": {"command": sys.executable, "args": ["server.py"], "env": {"TOOLS": json.dumps(listed)}}
            }
        }
    )
    await client.create_all_sessions()
    try:
        found = await LangChainAdapter().create_tools(client)
        return len(found) if value is None else json.loads(await found[0].ainvoke({name: value}))
    except Exception as exc:
        return type(exc).__name__
    finally:
        await client.close_all_sessions()


async def main():
    seen = [
        await tools("any", {}),
        await tools("any", True),
        await tools("_page", {"type": "integer"}),
        await tools("kind", {"enum": ["a", "b"]}, "a"),
        await tools("kind", {"enum": [1, 2]}, 1),
    ]
    print(seen)
    assert seen == [2, "TypeError", "PydanticUserError", {"kind": "a"}, "ValidationError"], "it has changed"


asyncio.run(main())
PYTHON
