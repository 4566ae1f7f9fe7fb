#!/usr/bin/env bash
# mcp 2.3.0 (the Python SDK), with the pydantic and jsonschema it brings: server and client check one result by two
# rules. What Pydantic's constraints let pass, and the SDK itself made the schema for, its client refuses: a float that
# is a multiple of 0.01 (JSON Schema: valid if a division by it gives a whole number, and 19.99 by 0.01 is 1999, where
# floats say 1998.9999999999998), and a text by a pattern of Pydantic's dialect (`\p{L}`), with which the schema itself
# is none.
# Seen: a RuntimeError of the client for both, on results that the server has checked; 0.03 and plain patterns pass.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0 pydantic==2.14.4 jsonschema==4.26.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version
from typing import Annotated

from mcp import Client
from mcp.server import MCPServer
from pydantic import BaseModel, Field

print(*(f"{name} {version(name)}" for name in ("mcp", "pydantic", "jsonschema")))
server = MCPServer("probe")


class Price(BaseModel):
    amount: Annotated[float, Field(multiple_of=0.01)]


class Plain(BaseModel):
    word: Annotated[str, Field(pattern=r"^[a-z]+$")]


class Word(BaseModel):
    word: Annotated[str, Field(pattern=r"^\p{L}+$")]


@server.tool()
def price(amount: float) -> Price:
    return Price(amount=amount)


@server.tool()
def plain(word: str) -> Plain:
    return Plain(word=word)


@server.tool()
def letters(word: str) -> Word:
    return Word(word=word)


async def main():
    async with Client(server) as client:
        seen = []
        for name, arguments in (
            ("price", {"amount": 0.03}),
            ("price", {"amount": 19.99}),
            ("plain", {"word": "ab"}),
            ("letters", {"word": "ab"}),
        ):
            try:
                result = (await client.call_tool(name, arguments)).structured_content
            except RuntimeError as exc:
                result = str(exc).splitlines()[0]
            print(name, arguments, "->", result)
            seen.append(result)
        assert seen[0] == {"amount": 0.03} and seen[2] == {"word": "ab"}, "it has changed"
        assert "not a multiple of 0.01" in seen[1] and "is not a 'regex'" in seen[3], "it has changed"


asyncio.run(main())
PYTHON
