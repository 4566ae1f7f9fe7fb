#!/usr/bin/env bash
# mcp 2.3.0 (the Python SDK): arguments of a tool become attributes of a Pydantic model and are read from there. Where a
# parameter is called like a property of such models, its schema is listed (as if it had a default), and the tool is
# given the property: None, or the set of names, whatever the client sent. A parameter `model_dump` is taken care of,
# and right.
# Seen: model_extra is None, model_fields_set is {'model_fields_set'}, without an error or a warning of the call.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio
from importlib.metadata import version

from mcp import Client
from mcp.server import MCPServer

print("mcp", version("mcp"))
server = MCPServer("probe")


@server.tool()
def dump(model_dump: str) -> str:
    return repr(model_dump)


@server.tool()
def extra(model_extra: str) -> str:
    return repr(model_extra)


@server.tool()
def fields(model_fields_set: str) -> str:
    return repr(model_fields_set)


async def main():
    async with Client(server) as client:
        seen = []
        for tool in (await client.list_tools()).tools:
            ((name, schema),) = tool.input_schema["properties"].items()
            assert schema["type"] == "string"
            result = await client.call_tool(tool.name, {name: "sent"})
            print(name, schema, "is given", result.content[0].text)
            assert not result.is_error
            seen.append(result.content[0].text)
    assert seen == ["'sent'", "None", "{'model_fields_set'}"], "it has changed"


asyncio.run(main())
PYTHON
