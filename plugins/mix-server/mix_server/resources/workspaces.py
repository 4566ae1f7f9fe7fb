"""Workspaces: list and create; one of them: describe and delete."""

from __future__ import annotations

import asyncio
import codecs
import secrets
from typing import TYPE_CHECKING, ClassVar

import msgspec

from mix_server.caller import Permission, Resource
from mix_server.errors import BadRequest
from mixkit.fields import valid
from mixkit.package.errors import BadName

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Workspace", "Workspaces"]

_BODY_LIMIT = 4096


class _Creation(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /ws`; without a name one is made up."""

    name: str | None = None


class Workspaces:
    """`/ws`: GET lists those that the caller may see, POST makes one."""

    permissions: ClassVar = {"GET": Permission.SEE, "POST": Permission.CREATE}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response) -> None:
        assert req.caller is not None
        may, caller = self._server.authorizer.may, req.caller
        names = await asyncio.to_thread(self._server.store.list)
        seen = [name for name in names if may(caller, Permission.SEE, Resource(name))]
        resp.media = {"workspaces": seen}

    async def on_post(self, req: Request, resp: Response) -> None:
        body = await req.body(_BODY_LIMIT, self._server.settings.body_timeout)
        body = body.removeprefix(codecs.BOM_UTF8)
        try:
            wanted = msgspec.json.decode(body, type=_Creation) if body else _Creation()
        except msgspec.MsgspecError as exc:
            near = valid(exc, _Creation) if isinstance(exc, msgspec.ValidationError) else ""
            raise BadRequest(f'expected {{"name": "…"}}: {exc}{near}') from None
        name = wanted.name or f"ws-{secrets.token_hex(8)}"
        try:
            await asyncio.to_thread(self._server.store.create, name)
        except BadName as exc:
            raise BadRequest(str(exc)) from None
        resp.status = 201
        resp.location = f"/v1/ws/{name}"
        resp.media = {"name": name, "apps": []}


class Workspace:
    """`/ws/{ws}`."""

    permissions: ClassVar = {"GET": Permission.SEE, "DELETE": Permission.DELETE}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        apps = await asyncio.to_thread(lambda: self._server.store.workspace(ws).apps())
        resp.media = {"name": ws, "apps": apps}

    async def on_delete(self, req: Request, resp: Response, ws: str) -> None:
        await asyncio.to_thread(self._server.store.delete, ws)
        resp.status = 204
