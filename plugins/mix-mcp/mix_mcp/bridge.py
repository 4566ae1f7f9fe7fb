"""What a server of MCP does, request by request, whatever brings them: messages come in, results go out.

One bridge a workspace. It keeps nothing of who asks: who it is and what they can do comes with each request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from mix_server.errors import Refusal

from mix_mcp import __version__, constant
from mix_mcp.agents import AgentTools, CallFailed, Gone
from mix_mcp.content import error_of, result_of
from mix_mcp.exchange import Ask, Exchange, Seal
from mix_mcp.library import Library
from mix_mcp.message import (
    INTERNAL,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    Fault,
    Id,
    Message,
    notification,
)
from mix_mcp.page import page_of
from mix_mcp.revision import LEVELS, SUPPORTED, Client, agreed
from mix_mcp.tasks import EXTENSION, Tasks
from mix_mcp.tool import Support
from mix_mcp.watch import Filter, Watch
from mixkit import tagged_json
from mixkit.errors import NotFound, TaggedJSONError

if TYPE_CHECKING:
    from mix_server.caller import Caller
    from mix_server.server import Server

    from mix_mcp.task_store import Task
    from mix_mcp.tool import Tool

__all__ = ["Asked", "Bridge"]

log = logging.getLogger("mixkit.mcp")

_LEVEL_OF: Final = (
    LEVELS.index("debug"),
    LEVELS.index("info"),
    LEVELS.index("warning"),
    LEVELS.index("error"),
)
"""Levels of what guests write, as those of MCP."""
_TODAY: Final = ("server/discover", "subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel")
"""Methods that clients with sessions do not have."""
_PATIENCE: Final = 5.0
"""Seconds after which a call becomes a task, for a client that knows tasks."""
_MOMENT: Final = 0.25
"""Seconds in which an agent asks that is always a task, if it asks before it begins."""
_FRESH: Final = 5_000
"""Milliseconds for which a list may be taken for what there is."""


@dataclass(slots=True)
class Asked:
    """One request, with all that is known of it.

    Attributes:
        id: of the message.
        run: identity of the run that it may become, in the log and in activities.
        send: sends a message to who asked. Called on the event loop.
        ask: asks a client of a session, while its call is open; None if it cannot be asked.
        constant: whether it wants the two tools that find and call the others, in their place.
        is_over: whether nothing is told beside the answer any more.
    """

    id: Id
    who: Caller
    client: Client
    run: str
    send: Callable[[bytes], None]
    ask: Ask | None = None
    constant: bool = False
    is_over: bool = False

    def tell(self, line: bytes) -> None:
        """Send a message beside the answer, which comes before it or not at all."""
        if not self.is_over:
            self.send(line)


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
        self._tasks = Tasks(server, workspace)
        self._library = Library(server, workspace, self.tools)
        self._modern: dict[str, Callable[[Asked, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "server/discover": self._discover,
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
            "prompts/list": self._list_prompts,
            "prompts/get": self._get_prompt,
            "resources/list": self._list_resources,
            "resources/templates/list": self._list_templates,
            "resources/read": self._read_resource,
            "completion/complete": self._complete,
            "subscriptions/listen": self._listen,
            "tasks/get": self._get_task,
            "tasks/update": self._update_task,
            "tasks/cancel": self._cancel_task,
        }
        self._of_sessions = {
            **{name: method for name, method in self._modern.items() if name not in _TODAY},
            "ping": self._nothing,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._subscribe,
        }

    def initialized(self, params: dict[str, Any], *, changes: bool) -> tuple[Client, dict[str, Any]]:
        """What a client says of itself that opens a session, and the answer to it; `changes` of lists will be told."""
        capabilities = params.get("capabilities")
        version = agreed(params.get("protocolVersion"))
        client = Client(version, capabilities if type(capabilities) is dict else {}, LEVELS.index("info"))
        return client, {
            "protocolVersion": version,
            "capabilities": self._capabilities(changes=changes),
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
        finally:
            asked.is_over = True
        if asked.client.modern:
            result.setdefault("resultType", "complete")
            result.setdefault("_meta", {})["io.modelcontextprotocol/serverInfo"] = self._info()
        return result

    # -- who serves ---------------------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        return {"name": "mixkit", "title": f"mixkit: {self._name}", "version": __version__}

    def _capabilities(self, *, changes: bool = True) -> dict[str, Any]:
        listed = {"listChanged": changes}
        resources = {"subscribe": changes, "listChanged": changes}
        return {"tools": listed, "prompts": listed, "resources": resources, "completions": {}, "logging": {}}

    def _instructions(self) -> str:
        return f"Each tool is an agent of the workspace {self._name}."

    async def _discover(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "supportedVersions": SUPPORTED,
            "capabilities": self._capabilities() | {"extensions": {EXTENSION: {}}},
            "instructions": self._instructions(),
            **_cached(asked),
        }

    async def _nothing(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def _subscribe(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        """Whoever holds the connection tells what changes, if it can be told."""
        _text(params, "uri")
        return {}

    async def _set_level(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("level") not in LEVELS:
            raise Fault(INVALID_PARAMS, f"expected a log level, one of {', '.join(LEVELS)}")
        return {}

    def watch(self, who: Caller, wanted: Filter) -> Watch:
        """What changes for somebody from now on."""
        return Watch(self.tools, self._library, who, wanted)

    async def _listen(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        """Tell what changes until the client has heard enough, or the workspace is gone."""
        wanted = Filter.of(params.get("notifications"))
        watch = self.watch(asked.who, wanted)
        await watch.begin()
        about = {"io.modelcontextprotocol/subscriptionId": asked.id}
        accepted = msgspec.to_builtins(wanted)
        asked.tell(
            notification(
                "notifications/subscriptions/acknowledged", {"_meta": about, "notifications": accepted}
            )
        )
        async for method, told in watch.changes():
            asked.tell(notification(method, {"_meta": about, **told}))
        return {"_meta": about}

    # -- prompts and resources ----------------------------------------------------------------

    async def _list_prompts(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        found = await self._library.prompts(asked.who)
        items = [(name, prompt.listed) for name, prompt in found.items()]
        return page_of("prompts", items, params.get("cursor")) | _cached(asked)

    async def _get_prompt(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = _text(params, "name"), _object(params, "arguments")
        return await self._exchange(
            asked, f"prompt {name}", arguments, params,
            lambda waiting: self._library.prompt(asked.who, name, arguments, waiting),
        )  # fmt: skip

    async def _list_resources(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        found = await self._library.resources(asked.who)
        return page_of("resources", found, params.get("cursor")) | _cached(asked)

    async def _list_templates(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        found = await self._library.templates(asked.who)
        return page_of("resourceTemplates", found, params.get("cursor")) | _cached(asked)

    async def _read_resource(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        uri = _text(params, "uri")
        result = await self._exchange(
            asked, f"resource {uri}", {}, params, lambda waiting: self._library.read(asked.who, uri, waiting)
        )
        return result if "inputRequests" in result else result | _cached(asked)

    async def _complete(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        """Nothing is known of what an argument may be."""
        _object(params, "ref"), _object(params, "argument")
        return {"completion": {"values": [], "total": 0, "hasMore": False}}

    # -- tools --------------------------------------------------------------------------------

    async def _list_tools(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        if asked.constant:
            return {"tools": constant.LISTED} | _cached(asked)
        tools = await self.tools.listed(asked.who)
        modern = asked.client.modern
        return page_of(
            "tools",
            [(tool.name, tool.listed if modern else tool.listed_before) for tool in tools],
            params.get("cursor"),
        ) | _cached(asked)

    async def _call_tool(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = _text(params, "name"), _object(params, "arguments")
        if asked.constant:
            if name == constant.FIND:
                return constant.found(await self.tools.listed(asked.who), arguments)
            if name != constant.CALL:
                raise Fault(INVALID_PARAMS, f"Unknown tool: {name[:80]}")
            params |= constant.called(arguments)
            name, arguments = params["name"], params["arguments"]
        tool = await self.tools.find(asked.who, name)
        if tool is None:
            raise Fault(INVALID_PARAMS, f"Unknown tool: {name[:80]}")
        try:
            values: Any = tagged_json.from_json(arguments)
        except TaggedJSONError as exc:
            return error_of(f"the arguments cannot be read: {exc}")
        able = asked.client.modern and asked.client.can("extensions", EXTENSION)
        if tool.tasks is Support.REQUIRED and not able:
            raise _lacking({"extensions": {EXTENSION: {}}})
        return await self._exchange(
            asked, tool.name, arguments, params, lambda waiting: self._called(asked, tool, values, waiting),
            tool if able else None,
        )  # fmt: skip

    async def _called(self, asked: Asked, tool: Tool, values: Any, waiting: Exchange) -> dict[str, Any]:
        try:
            result = await self.tools.run(
                asked.who, tool, values, asked.run, self._output(asked, tool), caller=waiting
            )
        except Gone:
            raise Fault(INVALID_PARAMS, f"Unknown tool: {tool.name}") from None
        except CallFailed as exc:
            if waiting.lacking and asked.client.modern:
                raise _lacking(waiting.lacking) from None
            return error_of(f"{exc}; it takes {tool.params}" if exc.params else str(exc))
        waiting.end()
        modern = asked.client.modern
        structured = tool.structured if modern else tool.structured_before
        return result_of(result.value, structured=structured, modern=modern)

    async def _exchange(
        self,
        asked: Asked,
        name: str,
        arguments: dict[str, Any],
        params: dict[str, Any],
        begin: Callable[[Exchange], Awaitable[dict[str, Any]]],
        tool: Tool | None = None,
    ) -> dict[str, Any]:
        """What comes of a call whose agent may ask back: its result, what it asks for, or the task that it becomes.

        Args:
            tool: which may become one; None for what may not, or for a client that knows none.
        """
        tasks = Support.NEVER if tool is None else tool.tasks
        if not asked.client.modern:
            return await begin(Exchange(asked.client, asked.tell, {}, asked.ask))
        seal = Seal(self._server.kernel.keyring, [asked.who.named, self._name, name, arguments])
        state, responses = params.get("requestState"), params.get("inputResponses")
        answers = {} if state is None else seal.open(state)
        if responses is not None:
            if type(responses) is not dict:
                raise Fault(INVALID_PARAMS, "expected inputResponses as an object")
            answers |= responses
        waiting = Exchange(asked.client, asked.tell, answers)
        if not asked.client.capabilities:
            # PERF: who can do nothing is asked nothing, and knows no tasks.
            return await begin(waiting)
        task = asyncio.ensure_future(begin(waiting))
        if tool and tasks is Support.AT_ONCE:
            return await self._hand_over(asked, tool, task, waiting)
        # Where there is to be a task, questions come before it, soon if at all.
        patience = {Support.OPTIONAL: _PATIENCE, Support.REQUIRED: _MOMENT}.get(tasks)
        kept = False
        try:
            await asyncio.wait((task, waiting.needs), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if waiting.needs.done():
                return {
                    "resultType": "input_required",
                    "inputRequests": waiting.missing,
                    "requestState": seal.close(waiting.answered),
                }
            if tool and (tasks is Support.REQUIRED or not task.done()):
                kept = True
                return await self._hand_over(asked, tool, task, waiting)
            return task.result()
        finally:
            if not kept and not task.done():
                task.cancel()
                await asyncio.wait((task,))

    async def _hand_over(
        self, asked: Asked, tool: Tool, work: asyncio.Future[dict[str, Any]], waiting: Exchange
    ) -> dict[str, Any]:
        """Let a call go on as a task."""

        async def going_on(ask: Ask) -> dict[str, Any]:
            waiting.ask_now(ask)
            return await work

        try:
            task = await self._tasks.begin(asked.who, tool.app, tool.agent, going_on)
        except BaseException:
            # Nobody would hear of its end.
            work.cancel()
            raise
        return {"resultType": "task", **task.shown()}

    # -- tasks --------------------------------------------------------------------------------

    async def _get_task(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        id = self._task_of(asked, params)
        return _known(await self._tasks.find(asked.who, id)).shown()

    async def _update_task(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        id = self._task_of(asked, params)
        _known(await self._tasks.update(asked.who, id, _object(params, "inputResponses")))
        return {}

    async def _cancel_task(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        id = self._task_of(asked, params)
        _known(await self._tasks.cancel(asked.who, id))
        return {}

    def _task_of(self, asked: Asked, params: dict[str, Any]) -> str:
        if not asked.client.can("extensions", EXTENSION):
            raise _lacking({"extensions": {EXTENSION: {}}})
        return _text(params, "taskId")

    async def close(self) -> None:
        """The process ends."""
        await self._tasks.stop()

    def _output(self, asked: Asked, tool: Tool) -> Callable[[int, str], None] | None:
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


def _cached(asked: Asked) -> dict[str, Any]:
    """For how long a list holds, and that it is one caller's."""
    return {"ttlMs": _FRESH, "cacheScope": "private"} if asked.client.modern else {}


def _lacking(capabilities: dict[str, Any]) -> Fault:
    return Fault(
        MISSING_CAPABILITY, "Missing required client capability", {"requiredCapabilities": capabilities}
    )


def _known(task: Task | None) -> Task:
    if task is None:
        raise Fault(INVALID_PARAMS, "there is no such task")
    return task


def _text(params: dict[str, Any], name: str) -> str:
    found = params.get(name)
    if type(found) is not str:
        raise Fault(INVALID_PARAMS, f"expected {name} as text")
    return found


def _object(params: dict[str, Any], name: str) -> dict[str, Any]:
    found = params.get(name, {})
    if type(found) is not dict:
        raise Fault(INVALID_PARAMS, f"expected {name} as an object")
    return found
