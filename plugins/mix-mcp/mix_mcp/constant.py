"""Two tools that stand for all others, for clients that read the list of tools once: one finds, one calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mix_mcp.message import INVALID_PARAMS, Fault

if TYPE_CHECKING:
    from mix_mcp.tool import Tool

__all__ = ["CALL", "FIND", "LISTED", "called", "found"]

FIND: Final = "find_tools"
CALL: Final = "call_tool"
_MOST: Final = 50
"""Tools that are found at once."""

_TEXT: Final = {"type": "string"}
LISTED: Final = [
    {
        "name": CALL,
        "title": "Call a tool",
        "description": f"Calls a tool that {FIND} has found, with arguments that fit its inputSchema.",
        "inputSchema": {
            "type": "object",
            "properties": {"name": _TEXT, "arguments": {"type": "object"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
    {
        "name": FIND,
        "title": "Find tools",
        "description": "Finds the tools that there are now, each with its name, description and inputSchema: those "
        "whose name or description has all words of the query, or all of them without a query.",
        "inputSchema": {"type": "object", "properties": {"query": _TEXT}, "additionalProperties": False},
    },
]
"""As clients read them, sorted by name."""


def found(tools: Iterable[Tool], arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of `find_tools`, for who may call these."""
    query = arguments.get("query", "")
    if type(query) is not str:
        return {"content": [{"type": "text", "text": "expected query as text"}], "isError": True}
    words = query.casefold().split()
    fitting = [
        tool for tool in tools if all(word in bytes(tool.listed).decode().casefold() for word in words)
    ]
    listed: dict[str, Any] = {"tools": [tool.listed for tool in fitting[:_MOST]]}
    if len(fitting) > _MOST:
        listed["more"] = f"{len(fitting) - _MOST} more: ask with more words"
    return {"content": [{"type": "text", "text": msgspec.json.encode(listed).decode()}]}


def called(arguments: dict[str, Any]) -> dict[str, Any]:
    """Name and arguments of the tool that `call_tool` is to call."""
    name, given = arguments.get("name"), arguments.get("arguments", {})
    if type(name) is not str or type(given) is not dict or arguments.keys() - {"name", "arguments"}:
        raise Fault(INVALID_PARAMS, f"expected the arguments of {CALL} as {{name, arguments}}")
    return {"name": name, "arguments": given}
