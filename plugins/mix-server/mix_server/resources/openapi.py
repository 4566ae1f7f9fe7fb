"""What the server can do, as OpenAPI documents: of its routes, and of the agents of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.listing import agents_of
from mix_server.openapi import Api, agents_document

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["ServerApi", "WorkspaceApi"]


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
