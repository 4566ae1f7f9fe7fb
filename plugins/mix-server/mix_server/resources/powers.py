"""What installed apps may do, what was withheld from them, and the consent to it that is given later.

A power of one app may be over all of its workspace, so it is the administrator of that who gives it.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar, TypedDict

import msgspec

from mix_server.bodies import read_form
from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.errors import BadRequest

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.package import Workspace
    from mixkit.package.app import Installation

__all__ = ["AllPowers", "Powers"]


class AppPowers(TypedDict):
    """What an app may do, and what its package asks for and it may not, since nobody has agreed."""

    app: str
    package: str | None
    version: str | None
    allowed: list[str]
    withheld: list[str]


class WorkspacePowers(TypedDict):
    """The same of all apps of a workspace."""

    apps: list[AppPowers]


class Agreement(msgspec.Struct, forbid_unknown_fields=True):
    """Powers to agree to, as `withheld` has them, or `all`."""

    agree: list[str] = []
    all: bool = False


class AllPowers:
    """`GET /v1/ws/{ws}/powers`."""

    permissions: ClassVar = {"GET": Permission.INSTALL}
    methods: ClassVar = {"GET": Method("List what the apps of a workspace may do", {200: WorkspacePowers})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        def look() -> list[AppPowers]:
            workspace = self._server.store.workspace(ws)
            return [_powers(workspace, app) for app in workspace.apps()]

        resp.media = {"apps": await asyncio.to_thread(look)}


class Powers:
    """`/v1/ws/{ws}/powers/{app}`: GET what an app may do, POST `{"agree": [...]}` to let it do what was withheld."""

    permissions: ClassVar = {"GET": Permission.INSTALL, "POST": Permission.INSTALL}
    methods: ClassVar = {
        "GET": Method("Describe what an app may do", {200: AppPowers}),
        "POST": Method(
            "Agree to powers that were withheld from an app",
            {200: AppPowers},
            takes=Agreement,
            errors=frozenset({503}),
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, name: str) -> None:
        resp.media = await asyncio.to_thread(lambda: _powers(self._server.store.workspace(ws), name))

    async def on_post(self, req: Request, resp: Response, ws: str, name: str) -> None:
        workspace = await asyncio.to_thread(self._server.store.workspace, ws)
        await asyncio.to_thread(workspace.place, name)
        example = '{"agree": ["$http_do"]}'
        given = await read_form(req, Agreement, example, self._server.settings.body_timeout)
        if bool(given.agree) is given.all:
            raise BadRequest(f'expected {example} or {{"all": true}}')
        wanted = None if given.all else given.agree
        resp.media = describe(name, await asyncio.to_thread(workspace.agree, name, wanted))


def _powers(workspace: Workspace, app: str) -> AppPowers:
    with closing(workspace.app(app)) as found:
        return describe(app, found.installation)


def describe(app: str, found: Installation | None) -> AppPowers:
    """What an app may do and what was withheld from it."""
    return {
        "app": app,
        "package": found.release.package if found else None,
        "version": found.release.version if found else None,
        "allowed": found.allowed() if found else [],
        "withheld": found.withheld() if found else [],
    }
