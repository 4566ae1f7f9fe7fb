"""Installing a package into a workspace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, NotRequired, TypedDict

from falcon.media import MultipartFormHandler

from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.errors import BadRequest, UnsupportedBody
from mixkit.activities import Kind

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Install"]

_BINARY = ("application/octet-stream", "application/zip", "application/vnd.mixkit.remix")


class InstalledPackage(TypedDict):
    """What an installation did."""

    changed: bool
    apps: list[str]
    version: str
    withheld: list[str]
    warnings: NotRequired[list[str]]


class _InstallOptions(TypedDict):
    force: bool


class Install:
    """`POST /v1/ws/{ws}/install`: the package is the body, or the first file of a multipart form.

    `?force=true` also installs an older version, another package, or one that somebody else signed, over what
    is there.
    """

    permissions: ClassVar = {"POST": Permission.INSTALL}
    activities: ClassVar = {"POST": Kind.INSTALL}
    options: ClassVar = {"POST": frozenset({"force"})}
    methods: ClassVar = {
        "POST": Method(
            "Install a package",
            {200: InstalledPackage},
            takes=bytes,
            taken_as=(*_BINARY, "multipart/form-data"),
            query=_InstallOptions,
            errors=frozenset({409, 422, 504, 507}),
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response, ws: str) -> None:
        # Looked up first, so that nobody sends a package to a workspace that is not there.
        await asyncio.to_thread(self._server.store.workspace, ws)
        force = req.get_param_as_bool("force") or False
        data = await self._package(req)
        installed, warnings = await asyncio.to_thread(self._server.catalog.install, ws, data, force=force)
        req.about = {"apps": list(installed.apps), "version": installed.version, "changed": installed.changed}
        resp.media = {
            "changed": installed.changed,
            "apps": list(installed.apps),
            "version": installed.version,
            "withheld": list(installed.withheld),
        }
        if warnings:
            resp.media["warnings"] = warnings

    async def _package(self, req: Request) -> bytes:
        settings = self._server.settings
        content_type = (req.content_type or "").partition(";")[0].strip().lower()
        if content_type in _BINARY:
            return await req.body(settings.body_limit, settings.body_timeout)
        if content_type != "multipart/form-data":
            raise UnsupportedBody(
                f"expected {_BINARY[0]} or multipart/form-data, found {content_type[:80] or 'no type'}"
            )
        handler = MultipartFormHandler()
        handler.parse_options.max_body_part_buffer_size = settings.body_limit
        chunks = req.chunks(settings.body_limit, settings.body_timeout)
        form = await handler.deserialize_async(chunks, req.content_type, None)  # type: ignore[arg-type]
        data = None
        async for part in form:
            if data is None and part.filename is not None:
                data = await part.get_data()
        if data is None:
            raise BadRequest("expected a file in the form, found none")
        return data
