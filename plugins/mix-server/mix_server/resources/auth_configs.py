"""Providers of third-party sign-in, as administrators of a workspace configure them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from mix_server.bodies import read_form
from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.sign_in.provider import EXAMPLE, Provider, Secret
from mix_server.sign_in.store import Providers
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["AuthConfig", "AuthConfigs"]


class NewProvider(Provider, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Body of PUT. Without `client_secret` the one that is kept stays, as long as it goes where it went before."""

    client_secret: Secret | None = None


class Listed(TypedDict):
    """Providers; none shows its secret."""

    configs: list[dict[str, Any]]


class AuthConfigs:
    """`GET /v1/ws/{ws}/auth-configs`: the providers of a workspace."""

    permissions: ClassVar = {"GET": Permission.ADMIN}
    methods: ClassVar = {"GET": Method("List the providers of third-party sign-in", {200: Listed})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        found = await asyncio.to_thread(self._server.providers(ws).list)
        resp.media = {"configs": [each.public() for each in found]}


class AuthConfig:
    """`/v1/ws/{ws}/auth-configs/{name}`: GET reads a provider, PUT configures it, DELETE removes it with all
    accounts that were connected by it."""

    permissions: ClassVar = {"GET": Permission.ADMIN, "PUT": Permission.ADMIN, "DELETE": Permission.ADMIN}
    methods: ClassVar = {
        "GET": Method("Read a provider, without its secret", {200: dict[str, Any]}),
        "PUT": Method("Configure a provider", dict.fromkeys((200, 201), dict[str, Any]), takes=NewProvider),
        "DELETE": Method("Remove a provider, and the accounts that were connected by it", {204: None}),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, name: str) -> None:
        found = await asyncio.to_thread(self._server.providers(ws).get, name)
        if found is None:
            raise NotFound("no such provider")
        resp.media = found.public()

    async def on_put(self, req: Request, resp: Response, ws: str, name: str) -> None:
        wanted = await read_form(req, NewProvider, EXAMPLE, self._server.settings.body_timeout)
        given = {key: getattr(wanted, key) for key in Provider.__struct_fields__}
        store: Providers = self._server.providers(ws)
        found, is_new = await asyncio.to_thread(
            store.put, name, Provider(**given), wanted.client_secret, self._server.tokens.web.policy
        )
        resp.status = 201 if is_new else 200
        resp.location = f"/v1/ws/{ws}/auth-configs/{name}"
        resp.media = found.public()

    async def on_delete(self, req: Request, resp: Response, ws: str, name: str) -> None:
        await asyncio.to_thread(self._server.providers(ws).remove, name)
        resp.status = 204
