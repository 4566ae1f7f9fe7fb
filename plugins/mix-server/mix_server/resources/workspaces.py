"""Workspaces: list and create; one of them: describe and delete."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, ClassVar, TypedDict

import msgspec

from mix_server.bodies import read_form
from mix_server.caller import Caller, Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest, Forbidden
from mixkit.activities import Kind
from mixkit.errors import StorageError
from mixkit.package.errors import BadName

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Workspace", "Workspaces"]

_log = logging.getLogger("mixkit.server")


class NewWorkspace(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /ws`; without a name one is made up."""

    name: str | None = None


class WorkspaceNames(TypedDict):
    """The workspaces that the caller may see."""

    workspaces: list[str]


class WorkspaceDescription(TypedDict):
    """A workspace, with the names of its apps."""

    name: str
    apps: list[str]


class Workspaces:
    """`/ws`: GET lists those that the caller may see, POST makes one."""

    permissions: ClassVar = {"GET": Permission.SEE, "POST": Permission.CREATE}
    activities: ClassVar = {"POST": Kind.CREATE}
    methods: ClassVar = {
        "GET": Method("List the workspaces that the caller may see", {200: WorkspaceNames}),
        "POST": Method(
            "Make a workspace", {201: WorkspaceDescription}, takes=NewWorkspace, errors=frozenset({409})
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"workspaces": await asyncio.to_thread(self._seen, req)}

    def _seen(self, req: Request) -> list[str]:
        may, caller = self._server.authorizer.may, req.who
        found = []
        for name in self._server.store.list():
            try:
                if may(caller, Permission.SEE, Resource(name)):
                    found.append(name)
            except StorageError as exc:
                # One tenant's database must not keep others from theirs. Who may see it is not known.
                _log.error("who may see %s: %s", name, exc, extra={"request_id": req.id})
        return found

    async def on_post(self, req: Request, resp: Response) -> None:
        wanted = await read_form(req, NewWorkspace, '{"name": "…"}', self._server.settings.body_timeout)
        name = f"ws-{secrets.token_hex(8)}" if wanted.name is None else wanted.name
        try:
            await asyncio.to_thread(self._make, name, req.who)
        except BadName as exc:
            raise BadRequest(str(exc)) from None
        req.resource = Resource(name)
        resp.status = 201
        resp.location = f"/v1/ws/{name}"
        resp.media = {"name": name, "apps": []}

    def _make(self, name: str, caller: Caller) -> None:
        """A workspace, which belongs to who made it; one that the operator made belongs to nobody else."""
        if not caller.operator and caller.email is None:
            raise Forbidden("expected a user with an address, whom the workspace can belong to")
        self._server.store.create(name)
        if caller.operator:
            return
        try:
            self._server.grants.own(name, str(caller.subject))
        except BaseException:
            # Of nobody, it would keep the name from all.
            self._server.store.delete(name)
            raise


class Workspace:
    """`/ws/{ws}`: GET has those apps that the caller may see."""

    permissions: ClassVar = {"GET": Permission.SEE, "DELETE": Permission.DELETE}
    activities: ClassVar = {"DELETE": Kind.DELETE}
    methods: ClassVar = {
        "GET": Method("Describe a workspace", {200: WorkspaceDescription}),
        "DELETE": Method("Delete a workspace and all its data", {204: None}, errors=frozenset({409})),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        apps = await asyncio.to_thread(lambda: self._server.store.workspace(ws).apps())
        may, caller = self._server.authorizer.may, req.who
        seen = [app for app in apps if may(caller, Permission.SEE, Resource(ws, app))]
        resp.media = {"name": ws, "apps": seen}

    async def on_delete(self, req: Request, resp: Response, ws: str) -> None:
        await asyncio.to_thread(self._server.store.delete, ws)
        resp.status = 204
