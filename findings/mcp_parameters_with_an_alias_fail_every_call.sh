#!/usr/bin/env bash
# mcp 2.3.0 (the Python SDK): a parameter with an alias (`Field(alias="page-size")`, Pydantic's way to a name that
# Python cannot write) is listed by its alias, checked by its alias, and then handed to the function by its alias too:
# each call fails, one without arguments as well. The SDK's documents have `Field` for what a schema says of a
# parameter.
# Seen: the schema has page-size with a default of 3, and "Error executing tool" for {} and for {"page-size": 4}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio, logging
from importlib.metadata import version
from typing import Annotated

from mcp import Client
from mcp.server import MCPServer
from pydantic import Field

print("mcp", version("mcp"))
logging.disable()
server = MCPServer("probe")


@server.tool()
def plain(size: Annotated[int, Field(ge=1)] = 3) -> int:
    return size


@server.tool()
def pages(size: Annotated[int, Field(alias="page-size", ge=1)] = 3) -> int:
    return size


async def main():
    async with Client(server) as client:
        schemas = {tool.name: tool.input_schema["properties"] for tool in (await client.list_tools()).tools}
        print(schemas)
        assert schemas["pages"]["page-size"]["default"] == 3
        seen = []
        for name, arguments in (("plain", {}), ("plain", {"size": 4}), ("pages", {}), ("pages", {"page-size": 4})):
            result = await client.call_tool(name, arguments)
            print(name, arguments, "->", result.content[0].text)
            seen.append(result.is_error)
    assert seen == [False, False, True, True], "it has changed"


asyncio.run(main())
PYTHON
