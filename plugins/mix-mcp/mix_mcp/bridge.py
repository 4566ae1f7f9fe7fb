"""What a server of MCP does, request by request, whatever brings them: messages come in, results go out.

One bridge a workspace. It keeps nothing of who asks: who it is and what they can do comes with each request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from mix_server.errors import Refusal

from mix_mcp import __version__
from mix_mcp.agents import AgentTools
from mix_mcp.asked import object_of, text_of
from mix_mcp.calls import Calls
from mix_mcp.library import Library
from mix_mcp.message import INTERNAL, INVALID_PARAMS, METHOD_NOT_FOUND, Fault, notification
from mix_mcp.page import page_of
from mix_mcp.revision import LEVELS, SUPPORTED, Client, agreed, lacking
from mix_mcp.rounds import Rounds
from mix_mcp.tasks import EXTENSION, Tasks
from mix_mcp.watch import Filter, Watch
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_server.caller import Caller
    from mix_server.server import Server

    from mix_mcp.asked import Asked
    from mix_mcp.message import Message
    from mix_mcp.task_store import Task

__all__ = ["Bridge"]

log = logging.getLogger("mixkit.mcp")

_TODAY: Final = ("server/discover", "subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel")
"""Methods that clients with sessions do not have."""
_COMPLETED: Final = 100
"""Values that an argument is completed by at once, as the protocol allows."""


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
        self._rounds = Rounds(server, workspace, self._tasks)
        self._library = Library(server, workspace, self.tools)
        calls = Calls(self.tools, self._rounds)
        self._modern: dict[str, Callable[[Asked, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "server/discover": self._discover,
            "tools/list": calls.listed,
            "tools/call": calls.call,
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
            **asked.cached,
        }

    async def _nothing(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def _subscribe(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        """Whoever holds the connection tells what changes, if it can be told."""
        text_of(params, "uri")
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
        return page_of("prompts", items, params.get("cursor")) | asked.cached

    async def _get_prompt(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = text_of(params, "name"), object_of(params, "arguments")
        return await self._rounds.call(
            asked, f"prompt {name}", arguments, params,
            lambda waiting: self._library.prompt(asked.who, name, arguments, waiting),
        )  # fmt: skip

    async def _list_resources(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        found = await self._library.resources(asked.who)
        return page_of("resources", found, params.get("cursor")) | asked.cached

    async def _list_templates(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        found = await self._library.templates(asked.who)
        return page_of("resourceTemplates", found, params.get("cursor")) | asked.cached

    async def _read_resource(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        uri = text_of(params, "uri")
        result = await self._rounds.call(
            asked, f"resource {uri}", {}, params, lambda waiting: self._library.read(asked.who, uri, waiting)
        )
        return result if "inputRequests" in result else result | asked.cached

    async def _complete(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        argument = object_of(params, "argument")
        name, begun = text_of(argument, "name"), text_of(argument, "value")
        found = await self._library.completed(asked.who, object_of(params, "ref"), name, begun)
        shown = found[:_COMPLETED]
        return {"completion": {"values": shown, "total": len(found), "hasMore": len(found) > len(shown)}}

    # -- tasks --------------------------------------------------------------------------------

    async def _get_task(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        id = self._task_of(asked, params)
        return _known(await self._tasks.find(asked.who, id)).shown()

    async def _update_task(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        id = self._task_of(asked, params)
        _known(await self._tasks.update(asked.who, id, object_of(params, "inputResponses")))
        return {}

    async def _cancel_task(self, asked: Asked, params: dict[str, Any]) -> dict[str, Any]:
        id = self._task_of(asked, params)
        _known(await self._tasks.cancel(asked.who, id))
        return {}

    def _task_of(self, asked: Asked, params: dict[str, Any]) -> str:
        if not asked.client.can("extensions", EXTENSION):
            raise lacking({"extensions": {EXTENSION: {}}})
        return text_of(params, "taskId")

    async def close(self) -> None:
        """The process ends."""
        await self._tasks.stop()


def _known(task: Task | None) -> Task:
    if task is None:
        raise Fault(INVALID_PARAMS, "there is no such task")
    return task
