"""What the server can do, as OpenAPI documents: of its routes, and of the agents of a workspace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mix_server.openapi import Agent, Api, agents_document
from mixkit.errors import MixError, NotFound
from mixkit.schema import ANY

if TYPE_CHECKING:
    from collections.abc import Callable

    from mix_server.catalog import Catalog
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.package import InstalledApp, Workspace, WorkspaceStore

__all__ = ["ServerApi", "WorkspaceApi", "agents_of"]


class ServerApi:
    """`GET /openapi.json`: all routes."""

    permissions: ClassVar = {"GET": Permission.SEE}
    methods: ClassVar = {"GET": Method("This document", {200: dict[str, Any]})}

    def __init__(self, api: Api) -> None:
        self._api = api

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = self._api.document()


class WorkspaceApi:
    """`GET /v1/ws/{ws}/openapi.json`: the agents that the caller may run, with what they take and answer."""

    permissions: ClassVar = {"GET": Permission.SEE}
    methods: ClassVar = {"GET": Method("The OpenAPI document of the agents", {200: dict[str, Any]})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        may, caller = self._server.authorizer.may, req.who
        resp.media = agents_document(
            ws,
            await agents_of(
                self._server.catalog, self._server.store, ws, lambda about: may(caller, Permission.RUN, about)
            ),
        )


async def agents_of(
    catalog: Catalog, store: WorkspaceStore, ws: str, may_run: Callable[[Resource], bool]
) -> list[Agent]:
    """The agents of a workspace for which `may_run` says yes, by app and name.

    Raises:
        NotFound: there is no such workspace.
    """

    def installed() -> list[InstalledApp]:
        workspace = store.workspace(ws)
        return [app for name in sorted(workspace.apps()) if (app := _app(workspace, name)) is not None]

    found = []
    for app in await asyncio.to_thread(installed):
        for name, agent in sorted(app.agents.items()):
            if not may_run(Resource(ws, app.name, name)):
                continue
            try:
                target = await catalog.target(ws, app.name, name)
            except NotFound:
                continue  # Its app was deleted, or installed anew without it, since it was listed.
            except MixError as exc:
                found.append(Agent(app.name, name, agent.description, ANY, ANY, str(exc)))
            else:
                found.append(Agent(app.name, name, target.description, target.params, target.result))
    return found


def _app(workspace: Workspace, name: str) -> InstalledApp | None:
    try:
        return workspace.app(name)
    except NotFound:
        return None
