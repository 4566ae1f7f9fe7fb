"""The tools of a workspace, for clients: listed and called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mix_mcp import constant
from mix_mcp.agents import CallFailed, Gone
from mix_mcp.asked import object_of, text_of
from mix_mcp.content import error_of, result_of
from mix_mcp.headers import check_mirrored
from mix_mcp.message import INVALID_PARAMS, Fault, notification
from mix_mcp.page import page_of
from mix_mcp.revision import LEVELS, lacking
from mix_mcp.tasks import EXTENSION
from mix_mcp.tool import Support
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError

if TYPE_CHECKING:
    from mix_server.catalog import Target

    from mix_mcp.agents import AgentTools
    from mix_mcp.asked import Asked
    from mix_mcp.exchange import Exchange
    from mix_mcp.rounds import Rounds
    from mix_mcp.tool import Tool

__all__ = ["Calls"]

_LEVEL_OF: Final = (
    LEVELS.index("debug"),
    LEVELS.index("info"),
    LEVELS.index("warning"),
    LEVELS.index("error"),
)
"""Levels of what guests write, as those of MCP."""


class Calls:
    """The tools of one workspace.

    Args:
        tools: its agents.
        rounds: in which they are called.
    """

    def __init__(self, tools: AgentTools, rounds: Rounds) -> None:
        self._tools = tools
        self._rounds = rounds

    async def listed(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        """The answer to `tools/list`."""
        if asked.constant:
            return {"tools": constant.LISTED} | asked.cached
        tools = await self._tools.listed(asked.who)
        modern = asked.client.modern
        return (
            page_of(
                "tools",
                [(tool.name, tool.listed if modern else tool.listed_before) for tool in tools],
                params.get("cursor"),
            )
            | asked.cached
        )

    async def call(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        """The answer to `tools/call`. What is wrong with the arguments is a result, which the model reads.

        Raises:
            Fault: there is no such tool, or the client cannot do what it needs.
        """
        name, arguments = text_of(params, "name"), object_of(params, "arguments")
        if asked.constant:
            if name == constant.FIND:
                return constant.found(await self._tools.listed(asked.who), arguments)
            if name != constant.CALL:
                raise _unknown(name)
            params |= constant.called(arguments)
            name, arguments = params["name"], params["arguments"]
        found = self._tools.seen(asked.who, name) or await self._tools.find(asked.who, name)
        if found is None:
            raise _unknown(name)
        tool, target = found
        if tool.headers and asked.header is not None and not asked.constant:
            check_mirrored(tool.headers, arguments, asked.header)
        try:
            values: Any = tagged_json.from_json(arguments)
        except TaggedJSONError as exc:
            return error_of(f"the arguments cannot be read: {exc}")
        able = asked.client.modern and asked.client.can("extensions", EXTENSION)
        if tool.tasks is Support.REQUIRED and not able:
            raise lacking({"extensions": {EXTENSION: {}}})
        return await self._rounds.call(
            asked, tool.name, arguments, params, lambda waiting: self._run(asked, tool, target, values, waiting),
            tool if able else None,
        )  # fmt: skip

    async def _run(
        self, asked: Asked, tool: Tool, target: Target | None, values: Any, waiting: Exchange
    ) -> dict[str, Any]:
        try:
            result = await self._tools.run(
                asked.who, tool, values, asked.run, _output(asked, tool), target, waiting, as_json=True
            )
        except Gone:
            raise _unknown(tool.name) from None
        except CallFailed as exc:
            if waiting.lacking and asked.client.modern:
                raise lacking(waiting.lacking) from None
            return error_of(f"{exc}; it takes {tool.params}" if exc.params else str(exc))
        waiting.end()
        modern = asked.client.modern
        structured = tool.structured if modern else tool.structured_before
        return result_of(result.value, structured=structured, modern=modern)


def _output(asked: Asked, tool: Tool) -> Callable[[int, str], None] | None:
    """Sends what a guest writes to a client that takes it."""
    least = asked.client.level
    if least is None:
        return None
    loop = asyncio.get_running_loop()

    def take(level: int, text: str) -> None:
        of = _LEVEL_OF[min(max(level, 0), 3)]
        if of >= least:
            message = notification(
                "notifications/message", {"level": LEVELS[of], "logger": tool.name, "data": text}
            )
            loop.call_soon_threadsafe(asked.tell, message)

    return take


def _unknown(name: str) -> Fault:
    return Fault(INVALID_PARAMS, f"Unknown tool: {name[:80]}")
