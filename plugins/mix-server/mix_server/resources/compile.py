"""Compiling for others."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.errors import BadRequest
from mixkit.fields import read_json, valid
from mixkit.remote_compile import Compilation, Task

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Compile"]

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)


class Compile:
    """`POST /v1/compile`: sources in, code out, or what is wrong with them (`ok` is false then)."""

    permissions: ClassVar = {"POST": Permission.SEE}
    methods: ClassVar = {
        "POST": Method(
            "Compile sources", {200: Compilation}, takes=Task, errors=frozenset({422, 429, 503, 504})
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response) -> None:
        settings = self._server.settings
        body = (await req.body(settings.params_limit, settings.body_timeout)).removeprefix(codecs.BOM_UTF8)
        try:
            task = read_json(body or b"{}", Task)
        except msgspec.MsgspecError as exc:
            near = valid(exc, Task) if isinstance(exc, msgspec.ValidationError) else ""
            raise BadRequest(f'expected {{"sources": {{"main.mix": "…"}}, "first"?}}: {exc}{near}') from None
        for name in task.sources:
            if not _NAME.fullmatch(name):
                raise BadRequest(f"expected names of files without folders, as main.mix, found {name!r:.100}")
        if task.first is not None and task.first not in task.sources:
            raise BadRequest(f"first: expected the name of one of the sources, found {task.first!r:.100}")
        with req.watch():
            found = await self._server.compiling.compile(task)
        resp.data = msgspec.json.encode(found)
