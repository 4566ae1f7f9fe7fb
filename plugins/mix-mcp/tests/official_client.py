"""A client of the official SDK, run by whichever Python has that: lists tools and calls them, as JSON on its output.

    official_client.py MODE '{"command": [...]}'
    official_client.py MODE '{"url": "...", "token": "..."}'

It sees no module of this house.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


async def main(mode: str, where: dict[str, Any]) -> None:
    from mcp import Client, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client
    from mcp_types import ElicitResult

    async def elicited(context: Any, params: Any) -> Any:
        return ElicitResult(action="accept", content={"name": "Ada"})

    if "url" in where:
        headers = {"Authorization": f"Bearer {where['token']}"}
        server: Any = streamable_http_client(
            where["url"], http_client=create_mcp_http_client(headers=headers)
        )
    else:
        command, *arguments = where["command"]
        server = StdioServerParameters(command=command, args=arguments)
    said: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        said.append(done)

    async with Client(server, mode=mode, elicitation_callback=elicited) as client:
        tools = await client.list_tools()
        simple = await client.call_tool("test_simple_text", {})
        wrong = await client.call_tool("test_sampling", {"nothing": 1})
        asked = await client.call_tool("test_input_required_result_elicitation", {})
        await client.call_tool("test_tool_with_progress", {}, progress_callback=progress)
        prompts = await client.list_prompts()
        resource = await client.read_resource("test://static-text")
        found = {
            "tools": [tool.name for tool in tools.tools],
            "simple": simple.content[0].text,
            "wrong": wrong.is_error,
            "asked": asked.content[0].text,
            "progress": said,
            "prompts": [prompt.name for prompt in prompts.prompts],
            "resource": resource.contents[0].text,
        }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
