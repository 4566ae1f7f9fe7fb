"""The list of tools that a workspace makes itself, by the agent `list_mcp_tools` of its app `_rmx_desktop`."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mix_mcp.tool import said_of, tool_of

if TYPE_CHECKING:
    from mix_server.listing import Agent

    from mix_mcp.tool import Tool

__all__ = ["LISTER", "Kept", "tools_of"]

LISTER: Final = ("_rmx_desktop", "list_mcp_tools")
"""App and agent. It takes an empty map, and answers `[{name, agent: "APP/AGENT", title?, description?, task?}]`."""
_SECONDS: Final = 5.0
_MOST: Final = 1_000
"""Callers whose lists are kept."""

log = logging.getLogger("mixkit.mcp")


def tools_of(answered: Any, agents: Mapping[tuple[str, str], Agent]) -> dict[str, Tool]:
    """The tools that the agent has answered, by name, sorted. What is none of an agent that is there is passed over."""
    found: dict[str, Tool] = {}
    if type(answered) is not list:
        log.warning("%s/%s: expected an array of tools as its answer", *LISTER)
        return found
    for row in answered:
        name = row.get("agent") if type(row) is dict else None
        app, _, agent = name.partition("/") if type(name) is str else ("", "", "")
        said = said_of(row) if (app, agent) in agents else None
        if said is None:
            log.warning("%s/%s: passed over %.200r, which is no tool of an agent that is there", *LISTER, row)
        else:
            found[said.name] = tool_of(said.name, agents[app, agent], said)
    return dict(sorted(found.items()))


class Kept:
    """The lists of callers, for some seconds each, and as long as the same is installed."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, tuple[float, Any, Mapping[str, Tool]]] = OrderedDict()

    def get(self, who: str, state: Any) -> Mapping[str, Tool] | None:
        """The list of somebody, if it still holds."""
        until, of, tools = self._lists.get(who, (0.0, None, {}))
        return tools if time.monotonic() < until and of == state else None

    def put(self, who: str, state: Any, tools: Mapping[str, Tool]) -> None:
        """Keep a list that has just been made."""
        self._lists[who] = time.monotonic() + _SECONDS, state, tools
        self._lists.move_to_end(who)
        if len(self._lists) > _MOST:
            self._lists.popitem(last=False)
