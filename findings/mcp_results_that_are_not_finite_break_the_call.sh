#!/usr/bin/env bash
# mcp 2.3.0 (the Python SDK): a tool that returns float may answer NaN or infinity. The server declares a number, writes
# null into the structured content, and the SDK's own client then fails with RuntimeError, as the answer does not fit.
# Seen: RuntimeError for nan, and the answer for 1.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio, pathlib, sys
from importlib.metadata import version
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

pathlib.Path("probe.py").write_text("""
from mcp.server import MCPServer
server = MCPServer("probe")
@server.tool()
def number(text: str) -> float:
    return float(text)
server.run()
""")

async def main():
    print("mcp", version("mcp"))
    parameters = StdioServerParameters(command=sys.executable, args=["probe.py"])
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        seen = {}
        for text in ("1.5", "nan"):
            try:
                seen[text] = (await session.call_tool("number", {"text": text})).structured_content
            except RuntimeError as exc:
                seen[text] = str(exc).partition("\n")[0]
    print(seen)
    assert seen["1.5"] == {"result": 1.5} and seen["nan"].endswith("None is not of type 'number'"), "it has changed"

asyncio.run(main())
PYTHON
