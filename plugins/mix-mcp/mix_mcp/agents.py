"""The agents of a workspace: which there are for whom, and running one."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mix_server.activity import activity_by
from mix_server.caller import Permission, Resource
from mix_server.fault import failure
from mix_server.listing import agents_of

from mix_mcp.desktop import LISTER, Kept, tools_of
from mix_mcp.records import TOOL, Records
from mix_mcp.tool import Tool, named, said_of, tool_of
from mixkit.activities import Kind
from mixkit.job import fitted
from mixkit.schema import Mismatch, RecordType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mix_server.caller import Caller
    from mix_server.catalog import Target
    from mix_server.listing import Agent
    from mix_server.server import Server

    from mix_mcp.tool import Said
    from mixkit.job import RunResult
    from mixkit.package import Workspace
    from mixkit.package.disk import Mark
    from mixkit.waiting import Waiting

__all__ = ["AgentTools", "CallFailed", "Found", "Gone"]

log = logging.getLogger("mixkit.mcp")

_SECONDS: Final = 5.0
"""For which what apps say of their tools is taken for what they say."""
_MOST_SEEN: Final = 100
"""Tools of callers that are found without looking again; their programs stay in memory."""
_VIA: Final = {"via": "mcp"}
"""What is noted of each run beside who, what and when."""


class Gone(Exception):
    """An agent is not there any more."""


class CallFailed(Exception):
    """A run failed, or could not begin.

    Args:
        text: what the server says of it over HTTP.
        params: whether the parameters were not those that the agent takes.
    """

    def __init__(self, text: str, *, params: bool) -> None:
        super().__init__(text)
        self.params = params


class Found(NamedTuple):
    """A tool that somebody may call, and its agent if that is at hand."""

    tool: Tool
    target: Target | None


class _Seen(NamedTuple):
    """What was found for a caller at a mark of the workspace."""

    home: Workspace
    mark: Mark
    found: Found


class _Run(NamedTuple):
    """Under which identity the log has more of a fault."""

    id: str


class AgentTools:
    """The agents of one workspace as tools. Lists are kept until an app is installed, replaced or deleted.

    Args:
        server: whose catalog, grants and places for runs are used.
        workspace: its name.
    """

    def __init__(self, server: Server, workspace: str) -> None:
        self._server = server
        self._workspace = workspace
        self._of: tuple[str, ...] = ()
        self._tools: Mapping[str, Tool] = {}
        self._agents: Mapping[tuple[str, str], Agent] = {}
        self._home: Workspace | None = None
        self._seen: dict[tuple[str, Caller], _Seen] = {}
        self._kept = Kept()
        self._records = Records(server, workspace)
        self._moments: tuple[str, ...] | None = None
        self._said: list[tuple[str, Said]] = []
        self._until = 0.0

    def may(self, who: Caller, tool: Tool) -> bool:
        """Whether somebody may call a tool, and so whether it is in their list. The workspace must be at hand."""
        return self._server.authorizer.may(
            who, Permission.RUN, Resource(self._workspace, tool.app, tool.agent)
        )

    async def listed(self, who: Caller) -> list[Tool]:
        """The tools of somebody, by name. Raises `mixkit.errors.NotFound` if the workspace is gone."""
        tools = await self._current()
        await self._server.authorizer.ready(who, self._workspace)
        if LISTER in self._agents:
            tools = await self._listed_by_agent(who)
        return [tool for tool in tools.values() if self.may(who, tool)]

    def seen(self, who: Caller, name: str) -> Found | None:
        """The same as `find`, if that has found it and nothing was changed since; else None."""
        seen = self._seen.get((name, who))
        # PERF: what somebody may and what is installed is the same as long as the mark is.
        if seen is None or time.monotonic() > self._until or seen.home.mark() != seen.mark:
            return None
        return seen.found

    async def find(self, who: Caller, name: str) -> Found | None:
        """The tool of that name; None if there is none, or not for them."""
        home = self._home
        # From before anything is looked at: that is no older.
        mark = None if home is None else home.mark()
        tool, target = self._tools.get(name), None
        if tool is not None:
            # PERF: what is at hand is what is installed, which a list of all would take much longer to find out.
            target = self._server.catalog.at_hand(self._workspace, tool.app, tool.agent)
        if target is None or time.monotonic() > self._until:
            tool, target = (await self._current()).get(name), None
        await self._server.authorizer.ready(who, self._workspace)
        if LISTER in self._agents:
            tool, target = (await self._listed_by_agent(who)).get(name), None
        if tool is None or not self.may(who, tool):
            return None
        found = Found(tool, target)
        # What was read of the apps meanwhile may have made it another one.
        if target is not None and home is not None and mark is not None and self._tools.get(name) is tool:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[name, who] = _Seen(home, mark, found)
        return found

    async def _listed_by_agent(self, who: Caller) -> Mapping[str, Tool]:
        """The tools as the workspace's own agent lists them for somebody who may run it; else as they are."""
        lister = Tool("/".join(LISTER), *LISTER)
        if not self.may(who, lister):
            return self._tools
        kept = self._kept.get(who.named, self._of)
        if kept is not None:
            return kept
        of, agents = self._of, self._agents
        try:
            found = tools_of((await self.run(who, lister, {}, secrets.token_hex(8), None)).value, agents)
        except (CallFailed, Gone) as exc:
            log.warning("%s failed, and the tools are listed as they are: %s", lister.name, exc)
            found = dict(self._tools)
        self._kept.put(who.named, of, found)
        return found

    async def _current(self) -> Mapping[str, Tool]:
        self._home = self._server.store.workspace(self._workspace)
        of = self.state()
        if of != self._of or (time.monotonic() > self._until and await self._said_else()):
            found = await agents_of(
                self._server.catalog, self._server.store, self._workspace, lambda about: True
            )
            agents = {(agent.app, agent.name): agent for agent in found if not agent.problem}
            await self._said_else()
            said = {(app, each.agent): each for app, each in self._said if (app, each.agent) in agents}
            names = named({pair: said[pair].name if pair in said else None for pair in agents})
            self._tools = {name: tool_of(name, agents[pair], said.get(pair)) for name, pair in names.items()}
            self._agents, self._of = agents, of
            self._seen.clear()
        return self._tools

    async def _said_else(self) -> bool:
        """Read what apps say of their tools; whether that is another than before."""
        self._until = time.monotonic() + _SECONDS
        moments = await self._records.moments()
        if moments == self._moments:
            return False
        found = [
            (app, each)
            for app, row in await self._records.of_apps(
                TOOL, self._server.store.workspace(self._workspace).apps()
            )
            if (each := said_of(row)) is not None
        ]
        changed = found != self._said
        self._moments, self._said = moments, found
        return changed

    def state(self) -> tuple[str, ...]:
        """Stands for what is installed: another one as soon as that is another, in any process."""
        workspace = self._server.store.workspace(self._workspace)
        return tuple(f"{app}={workspace.generation(app)}" for app in workspace.apps())

    def moment(self) -> Any:
        """The same of what somebody may call, which grants change too."""
        return self.state(), self._server.store.workspace(self._workspace).mark()

    async def run(
        self,
        who: Caller,
        tool: Tool,
        params: dict[str, Any],
        run_id: str,
        output: Callable[[int, str], None] | None,
        target: Target | None = None,
        caller: Waiting | None = None,
        *,
        as_json: bool = False,
    ) -> RunResult:
        """Run an agent, as its server does for everybody who asks. The parameters are Values by name.

        Args:
            target: the agent as `find` has answered it just now.
            output, caller, as_json: as `told`, `caller` and `as_json` of `mix_server.runs.Runs.run`.

        Raises:
            Gone: it is not there any more.
            CallFailed: it failed, or could not begin.
        """
        server, began = self._server, time.perf_counter()
        app, agent = tool.app, tool.agent
        resource = Resource(self._workspace, app, agent)
        status = 500
        try:
            if target is None:
                target = await server.catalog.target(self._workspace, app, agent)
            if target.check is not None:
                params = await _taken(target, params)
            env = target.env.for_request(user=who.user, headers={}, body=None)
            result = await server.runs.run(
                target, params, who, resource, run_id, env, told=output, as_json=as_json, caller=caller
            )
            status = 200
            if result.postponed:
                server.idle.begin(result)
            return result
        except asyncio.CancelledError:
            status = 499
            raise
        except Exception as exc:
            status, said = failure(_Run(run_id), exc, f"{self._workspace}/{app}/{agent}")
            if status == 404:
                raise Gone from None
            about = said.get("run_error", said)
            raise CallFailed(about["message"], params=isinstance(exc, Mismatch)) from None
        finally:
            done = Kind.RUN, who, resource, run_id, time.time_ns(), time.perf_counter() - began, status, _VIA
            server.activities.record_later(self._workspace, activity_by, done)


async def _taken(target: Target, params: dict[str, Any]) -> Any:
    """Parameters as an agent declares them. There are clients that send null for every argument which a model leaves
    out: where the agent may go without one and takes no null, it is left out here too.

    Raises:
        Mismatch: they do not fit.
    """
    try:
        return await fitted(target.check, params)
    except Mismatch:
        declared = target.params
        fields = declared.fields if isinstance(declared, RecordType) else {}
        given = {
            name: value
            for name, value in params.items()
            if value is not None or name not in fields or not fields[name].optional
        }
        if len(given) == len(params):
            raise
        return await fitted(target.check, given)
