"""What this is, whether it lives, whether it should get requests. Served to everybody."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, ClassVar

from mix_server.caller import EVERYBODY
from mix_server.error_answer import write_message
from mixkit import __version__

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["About", "Health", "Readiness"]


class About:
    """`GET /`: name, version, build."""

    permissions: ClassVar = {"GET": EVERYBODY}

    async def on_get(self, req: Request, resp: Response) -> None:
        build = f"{platform.python_implementation()} {platform.python_version()}"
        resp.media = {"name": "mixkit", "version": __version__, "build": build}


class Health:
    """`GET /healthz`: the process answers."""

    permissions: ClassVar = {"GET": EVERYBODY}

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"ok": True}


class Readiness:
    """`GET /readyz`: 200 when the process should get requests, else 503."""

    permissions: ClassVar = {"GET": EVERYBODY}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response) -> None:
        reason = self._server.not_ready()
        if reason:
            write_message(resp, 503, reason)
        else:
            resp.media = {"ok": True}
