"""What a server of MCP does, request by request, whatever brings them: messages come in, results go out.

One bridge a workspace. It keeps nothing of who asks: who it is and what they can do comes with each request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mix_mcp import __version__
from mix_mcp.agents import AgentTools, CallFailed, Gone
from mix_mcp.content import error_of, result_of
from mix_mcp.message import INTERNAL, INVALID_PARAMS, METHOD_NOT_FOUND, Fault, Id, Message, notification
from mix_mcp.page import page_of
from mix_mcp.revision import LEVELS, SUPPORTED, Client, agreed
from mix_mcp.tool import VALUE
from mix_server.errors import Refusal
from mixkit import tagged_json
from mixkit.errors import NotFound, TaggedJSONError

if TYPE_CHECKING:
    from mix_mcp.tool import Tool
    from mix_server.caller import Caller
    from mix_server.server import Server
    from mixkit.job import RunResult

__all__ = ["Asked", "Bridge"]

log = logging.getLogger("mixkit.mcp")

_LEVEL_OF: Final = (LEVELS.index("debug"), LEVELS.index("info"), LEVELS.index("warning"), LEVELS.index("error"))
"""Levels of what guests write, as those of MCP."""
_FRESH: Final = 5_000
"""Milliseconds for which a list may be taken for what there is."""


@dataclass(slots=True)
class Asked:
    """One request, with all that is known of it.

    Attributes:
        id: of the message.
        run: identity of the run that it may become, in the log and in activities.
        tell: sends a message beside the answer, to who asked. Called on the event loop.
    """

    id: Id
    who: Caller
    client: Client
    run: str
    tell: Callable[[bytes], None]


class Bridge:
    """A workspace, for clients of MCP.

    Args:
        server: which has it.
        workspace: its name.
    """

    def __init__(self, server: Server, workspace: str) -> None:
        self._server = server
        self._name = workspace
        self.tools = AgentTools(server, workspace)
        self._modern: dict[str, Callable[[Asked, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "server/discover": self._discover,
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }
        self._of_sessions = {
            **{name: method for name, method in self._modern.items() if name != "server/discover"},
            "ping": self._ping,
        }

    def initialized(self, params: dict[str, Any]) -> tuple[Client, dict[str, Any]]:
        """What a client says of itself that opens a session, and the answer to it."""
        capabilities = params.get("capabilities")
        version = agreed(params.get("protocolVersion"))
        client = Client(version, capabilities if type(capabilities) is dict else {}, LEVELS.index("info"))
        return client, {
            "protocolVersion": version,
            "capabilities": self._capabilities(),
            "serverInfo": self._info(),
            "instructions": self._instructions(),
        }

    async def handle(self, asked: Asked, message: Message) -> dict[str, Any]:
        """The result of a request.

        Raises:
            Fault: there is none, and why.
        """
        methods = self._modern if asked.client.modern else self._of_sessions
        method = methods.get(message.method)
        if method is None:
            raise Fault(METHOD_NOT_FOUND, f"there is no method {message.method[:80]!r}")
        try:
            result = await method(asked, message.params)
        except Fault:
            raise
        except Refusal as exc:
            raise Fault(INTERNAL, str(exc)) from None
        except NotFound:
            raise Fault(INVALID_PARAMS, f"there is no workspace {self._name!r}") from None
        except Exception as exc:
            log.error("%s failed: %s", message.method, exc, exc_info=exc, extra={"request_id": asked.run})
            raise Fault(
                INTERNAL, f"a fault of the server; its log has more under the request id {asked.run}"
            ) from None
        if asked.client.modern:
            result.setdefault("resultType", "complete")
            result.setdefault("_meta", {})["io.modelcontextprotocol/serverInfo"] = self._info()
        return result

    # -- who serves ---------------------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        return {"name": "mixkit", "title": f"mixkit: {self._name}", "version": __version__}

    def _capabilities(self) -> dict[str, Any]:
        return {"tools": {"listChanged": True}, "logging": {}}

    def _instructions(self) -> str:
        return f"Each tool is an agent of the workspace {self._name}."

    async def _discover(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "supportedVersions": SUPPORTED,
            "capabilities": self._capabilities(),
            "instructions": self._instructions(),
            **_cached(asked),
        }

    async def _ping(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        return {}

    # -- tools --------------------------------------------------------------------------------

    async def _list_tools(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        tools = await self.tools.listed(asked.who)
        modern = asked.client.modern
        return page_of(
            "tools",
            [(tool.name, tool.listed if modern else tool.listed_before) for tool in tools],
            params.get("cursor"),
        ) | _cached(asked)

    async def _call_tool(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments", {})
        if type(name) is not str:
            raise Fault(INVALID_PARAMS, "expected the name of a tool")
        if type(arguments) is not dict:
            raise Fault(INVALID_PARAMS, "expected arguments as an object")
        tool = await self.tools.find(asked.who, name)
        if tool is None:
            raise Fault(INVALID_PARAMS, f"Unknown tool: {name[:80]}")
        try:
            values = tagged_json.from_json(arguments)
        except TaggedJSONError as exc:
            return error_of(f"the arguments cannot be read: {exc}")
        if tool.wrapped:
            if values.keys() != {VALUE}:
                return error_of(f"expected one argument, {VALUE}: {tool.params}")
            values = values[VALUE]
        return await self._answered(asked, tool, values)

    async def _answered(self, asked: Asked, tool: Tool, values: Any) -> dict[str, Any]:
        try:
            result = await self._run(asked, tool, values)
        except Gone:
            raise Fault(INVALID_PARAMS, f"Unknown tool: {tool.name}") from None
        except CallFailed as exc:
            return error_of(f"{exc}; it takes {tool.params}" if exc.params else str(exc))
        structured = tool.structured if asked.client.modern else tool.structured_before
        return result_of(result.value, structured=structured)

    async def _run(self, asked: Asked, tool: Tool, values: Any) -> RunResult:
        return await self.tools.run(asked.who, tool, values, asked.run, self._output(asked, tool))

    def _output(self, asked: Asked, tool: Tool) -> Callable[[int, str], None] | None:
        """Sends what a guest writes to a client that takes it."""
        import asyncio

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


def _cached(asked: Asked) -> dict[str, Any]:
    """For how long a list holds, and that it is one caller's."""
    return {"ttlMs": _FRESH, "cacheScope": "private"} if asked.client.modern else {}
