#!/usr/bin/env bash
# mcp 2.3.0 (the Python SDK): a list that a tool answers is right as structured content; as text, which is what models
# read, it is one text for each item of whatever depth, null left away. The protocol asks for the serialized JSON in a
# text ("Structured Content": SHOULD, for clients that read texts alone).
# Seen: [[1, 2], [3]], [1, 2, 3] and [1, None, 2, 3] have the same three texts; [None] and [] have none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version

from mcp import Client
from mcp.server import MCPServer

print("mcp", version("mcp"))
server = MCPServer("probe")
LISTS = [[1, 2], [3]], [1, 2, 3], [1, None, 2, 3], [None], []


@server.tool()
def answer(which: int) -> list[int | list[int] | None]:
    return LISTS[which]


async def main():
    async with Client(server) as client:
        texts = []
        for which, value in enumerate(LISTS):
            result = await client.call_tool("answer", {"which": which})
            texts.append([block.text for block in result.content])
            print(value, "-> structured", result.structured_content, "texts", texts[-1])
            assert result.structured_content == {"result": value}
    assert texts == [["1", "2", "3"]] * 3 + [[]] * 2, "it has changed"


asyncio.run(main())
PYTHON
