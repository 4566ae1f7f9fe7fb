"""Apps of a workspace: describe, create, delete."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest
from mixkit.activities import Kind
from mixkit.package.errors import BadName

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.package import InstalledApp

__all__ = ["Apps"]


class AgentName(TypedDict):
    """An agent, in a list."""

    name: str
    description: str


class AppDescription(TypedDict):
    """An app."""

    name: str
    workspace: str
    version: str | None
    agents: list[AgentName]


class Apps:
    """`/v1/ws/{ws}/app/{app}`, and, to delete only, `/ws/{ws}/{app}`. GET has those agents that the caller may see."""

    permissions: ClassVar = {"GET": Permission.SEE, "PUT": Permission.CREATE, "DELETE": Permission.DELETE}
    activities: ClassVar = {"PUT": Kind.CREATE, "DELETE": Kind.DELETE}
    methods: ClassVar = {
        "GET": Method("Describe an app", {200: AppDescription}),
        "PUT": Method("Make an empty app", {201: AppDescription}, errors=frozenset({409})),
        "DELETE": Method("Delete an app and all its data", {204: None}, errors=frozenset({409})),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        found = describe(await asyncio.to_thread(lambda: self._server.store.workspace(ws).app(app)))
        may, caller = self._server.authorizer.may, req.who
        agents = found["agents"]
        found["agents"] = [a for a in agents if may(caller, Permission.SEE, Resource(ws, app, a["name"]))]
        resp.media = found

    async def on_put(self, req: Request, resp: Response, ws: str, app: str) -> None:
        workspace = await asyncio.to_thread(self._server.store.workspace, ws)
        try:
            created = await asyncio.to_thread(workspace.create_app, app)
        except BadName as exc:
            raise BadRequest(str(exc)) from None
        resp.status = 201
        resp.media = describe(created)

    async def on_delete(self, req: Request, resp: Response, ws: str, app: str) -> None:
        await asyncio.to_thread(lambda: self._server.store.workspace(ws).delete_app(app))
        resp.status = 204

    on_delete_v0 = on_delete


def describe(app: InstalledApp) -> dict[str, Any]:
    """What there is of an app."""
    return {
        "name": app.name,
        "workspace": app.workspace,
        "version": app.version,
        "agents": [
            {"name": agent.name, "description": agent.description} for _, agent in sorted(app.agents.items())
        ],
    }
