"""What this is, whether it lives, whether it should get requests. Served to everybody."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, ClassVar, Literal, TypedDict

from mix_server.caller import EVERYBODY
from mix_server.described import Method
from mix_server.error_answer import write_message
from mixkit import __version__

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["About", "Health", "Readiness"]


class Build(TypedDict):
    """What serves."""

    name: Literal["mixkit"]
    version: str
    build: str


class Fine(TypedDict):
    """All is well."""

    ok: Literal[True]


class About:
    """`GET /`: name, version, build."""

    permissions: ClassVar = {"GET": EVERYBODY}
    never_limited = True
    methods: ClassVar = {"GET": Method("Say what serves", {200: Build})}

    async def on_get(self, req: Request, resp: Response) -> None:
        build = f"{platform.python_implementation()} {platform.python_version()}"
        resp.media = {"name": "mixkit", "version": __version__, "build": build}


class Health:
    """`GET /healthz`: the process answers."""

    permissions: ClassVar = {"GET": EVERYBODY}
    never_limited = True
    methods: ClassVar = {"GET": Method("Say that the process answers", {200: Fine})}

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"ok": True}


class Readiness:
    """`GET /readyz`: 200 when the process should get requests, else 503."""

    permissions: ClassVar = {"GET": EVERYBODY}
    never_limited = True
    methods: ClassVar = {"GET": Method("Say whether the process should get requests", {200: Fine})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response) -> None:
        reason = self._server.not_ready()
        if reason:
            write_message(resp, 503, reason)
        else:
            resp.media = {"ok": True}
