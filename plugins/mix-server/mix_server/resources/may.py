"""What the caller may do: so that a page, or a program, offers nothing that would be refused."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar, TypedDict

from mix_server.access.grant import resource_text
from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_server.auth import Authorizer
    from mix_server.caller import Caller
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["May", "permissions_of"]


class Allowed(TypedDict):
    """What the caller may do with a resource, and with all that is in it."""

    resource: str
    permissions: list[Permission]


class Rights(TypedDict):
    """Who asks, as grants name them, and what they may do: with the workspace, with the app, with the agent."""

    subject: str | None
    may: list[Allowed]


class May:
    """`…/may` of a workspace, an app or an agent: what the caller may do with it, and with what it is in."""

    permissions: ClassVar = {"GET": Permission.SEE}
    methods: ClassVar = {"GET": Method("Say what the caller may do", {200: Rights})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(
        self, req: Request, resp: Response, ws: str, app: str | None = None, agent: str | None = None
    ) -> None:
        await asyncio.to_thread(self._find, ws, app, agent)
        places = [Resource(ws)]
        if app is not None:
            places.append(Resource(ws, app))
        if agent is not None:
            places.append(Resource(ws, app, agent))
        # Grants change, and what was taken back is not to be offered.
        resp.set_header("Cache-Control", "no-store")
        resp.media = {
            "subject": req.who.subject,
            "may": [
                {
                    "resource": resource_text(each),
                    "permissions": permissions_of(self._server.authorizer, req.who, each),
                }
                for each in places
            ],
        }

    def _find(self, ws: str, app: str | None, agent: str | None) -> None:
        """`NotFound` unless it is there."""
        workspace = self._server.store.workspace(ws)
        if app is None:
            return
        if agent is None:
            workspace.place(app)
            return
        with closing(workspace.app(app)) as found:
            if agent not in found.agents:
                raise NotFound("no such agent")


def permissions_of(authorizer: Authorizer, caller: Caller, resource: Resource) -> list[Permission]:
    """All that somebody may do with a resource, the least first."""
    return [each for each in Permission if authorizer.may(caller, each, resource)]
