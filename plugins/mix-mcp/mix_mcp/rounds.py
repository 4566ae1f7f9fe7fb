"""Calls whose agent may ask back: they come to a result, to a question, or go on as tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from mix_mcp.exchange import Exchange, Seal
from mix_mcp.message import INVALID_PARAMS, Fault
from mix_mcp.tool import Support

if TYPE_CHECKING:
    from mix_server.server import Server

    from mix_mcp.asked import Asked
    from mix_mcp.exchange import Ask
    from mix_mcp.tasks import Tasks
    from mix_mcp.tool import Tool

__all__ = ["Rounds"]

_PATIENCE: Final = 5.0
"""Seconds after which a call becomes a task, for a client that knows tasks."""
_MOMENT: Final = 0.25
"""Seconds in which an agent asks that is always a task, if it asks before it begins."""


class Rounds:
    """The calls of one workspace.

    Args:
        server: whose key ring seals what a client carries from one round to the next.
        workspace: its name.
        tasks: what calls become that take long.
    """

    def __init__(self, server: Server, workspace: str, tasks: Tasks) -> None:
        self._server = server
        self._workspace = workspace
        self._tasks = tasks

    def call(
        self,
        asked: Asked,
        name: str,
        arguments: dict[str, Any],
        params: dict[str, Any],
        begin: Callable[[Exchange], Awaitable[dict[str, Any]]],
        tool: Tool | None = None,
    ) -> Awaitable[dict[str, Any]]:
        """What comes of a call: its result, what it asks for, or the task that it becomes.

        Args:
            name, arguments: what a state is good for, beside the caller.
            params: of the request.
            begin: runs the agent.
            tool: which may become a task; None for what may not, or for a client that knows none.
        """
        client = asked.client
        if not client.modern:
            return begin(Exchange(client, asked.tell, {}, asked.ask))
        if not client.capabilities and "requestState" not in params and "inputResponses" not in params:
            # PERF: who can do nothing is asked nothing, and knows no tasks.
            return begin(Exchange(client, asked.tell, {}))
        return self._round(asked, name, arguments, params, begin, tool)

    async def _round(
        self,
        asked: Asked,
        name: str,
        arguments: dict[str, Any],
        params: dict[str, Any],
        begin: Callable[[Exchange], Awaitable[dict[str, Any]]],
        tool: Tool | None,
    ) -> dict[str, Any]:
        """The same for a client that can be asked, or has been."""
        seal = Seal(self._server.kernel.keyring, [asked.who.named, self._workspace, name, arguments])
        state, responses = params.get("requestState"), params.get("inputResponses")
        answers = {} if state is None else seal.open(state)
        if responses is not None:
            if type(responses) is not dict:
                raise Fault(INVALID_PARAMS, "expected inputResponses as an object")
            answers |= responses
        waiting = Exchange(asked.client, asked.tell, answers)
        task = asyncio.ensure_future(begin(waiting))
        tasks = Support.NEVER if tool is None else tool.tasks
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
