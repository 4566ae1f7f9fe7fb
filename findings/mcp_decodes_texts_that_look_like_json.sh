#!/usr/bin/env bash
# mcp 2.3.0 (the Python SDK): before it validates a call it decodes each text argument as JSON unless the parameter is
# plainly a text. So a tool that takes `str | None` is given None for the text "null", one that takes `str | int` refuses
# the text "[1]" which its own schema allows, and one without a type gets a dictionary for a text.
# Seen: None; a ToolError; {'a': 1}. Tools that take `str` alone get the texts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version
from mcp.server import MCPServer

print("mcp", version("mcp"))
server = MCPServer("probe")

@server.tool()
def optional(text: str | None = None) -> str:
    return repr(text)

@server.tool()
def either(text: str | int) -> str:
    return repr(text)

@server.tool()
def anything(text) -> str:
    return repr(text)

@server.tool()
def plain(text: str) -> str:
    return repr(text)

async def call(name, text):
    try:
        return (await server.call_tool(name, {"text": text})).content[0].text
    except Exception as exc:
        return type(exc).__name__

async def main():
    schema = next(tool for tool in await server.list_tools() if tool.name == "either").input_schema
    print("either takes", schema["properties"]["text"]["anyOf"])
    seen = [await call(*each) for each in (
        ("optional", "null"), ("either", "[1]"), ("anything", '{"a": 1}'), ("plain", "null"),
    )]
    print(seen)
    assert seen == ["None", "ToolError", "{'a': 1}", "'null'"], "it has changed"

asyncio.run(main())
PYTHON
