"""Installing a package into a workspace."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, TypedDict

import msgspec

from mix_server.bodies import MULTIPART, file_in, read_form
from mix_server.caller import Permission
from mix_server.described import JSON, Method
from mix_server.errors import BadRequest, OtherType
from mixkit.activities import Kind
from mixkit.package.diff import AppDiff

if TYPE_CHECKING:
    from mix_server.moving.transfers import Transfers
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Install"]

_BINARY = ("application/octet-stream", "application/zip", "application/vnd.mixkit.remix")


class InstalledPackage(TypedDict):
    """What an installation did; with `dry_run` what it would do, and what differs from what is there."""

    changed: bool
    apps: list[str]
    version: str
    withheld: list[str]
    warnings: NotRequired[list[str]]
    sha256: NotRequired[str]
    asks: NotRequired[Asked]
    changes: NotRequired[list[AppDiff]]


class Asked(TypedDict):
    """The powers that a package asks for."""

    ffis: list[str]
    options: dict[str, Any]


class _InstallOptions(TypedDict):
    force: bool
    dry_run: bool
    grant: str


class FromUrl(msgspec.Struct, forbid_unknown_fields=True):
    """Where a package is, and how to install it; `sha256`, in hex, is what the file must have."""

    url: str
    token: str | None = None
    sha256: str | None = None
    force: bool = False
    dry_run: bool = False
    grant: list[str] | None = None


class Install:
    """`POST /v1/ws/{ws}/install`: the package is the body, or the first file of a multipart form, or at a URL.

    `?force=true` also installs an older version, another package, or one that somebody else signed, over what
    is there. `?dry_run=true` changes nothing and says what would be, powers first. `?grant=` has what it may have of
    what it asks for, separated by commas, `*` for all.
    """

    permissions: ClassVar = {"POST": Permission.INSTALL}
    activities: ClassVar = {"POST": Kind.INSTALL}
    options: ClassVar = {"POST": frozenset({"force", "dry_run", "grant"})}
    methods: ClassVar = {
        "POST": Method(
            "Install a package",
            {200: InstalledPackage},
            takes=FromUrl,
            taken_as=(*_BINARY, MULTIPART, JSON),
            query=_InstallOptions,
            errors=frozenset({409, 422, 424, 429, 504, 507}),
        )
    }

    def __init__(self, server: Server, transfers: Transfers) -> None:
        self._server = server
        self._transfers = transfers

    async def on_post(self, req: Request, resp: Response, ws: str) -> None:
        # Looked up first, so that nobody sends a package to a workspace that is not there.
        await asyncio.to_thread(self._server.store.workspace, ws)
        force = req.get_param_as_bool("force")
        dry_run = req.get_param_as_bool("dry_run")
        grant = req.get_param("grant")
        patterns = None if grant is None else _patterns(grant.split(","))
        if (req.content_type or "").partition(";")[0].strip().lower() == JSON:
            example = '{"url": "…"}'
            wanted = await read_form(req, FromUrl, example, self._server.settings.body_timeout)
            if req.query_string:
                raise BadRequest(
                    "expected the options beside the url, in the body, found some in the query string"
                )
            data = await self._fetched(req, wanted)
            force, dry_run = wanted.force, wanted.dry_run
            patterns = None if wanted.grant is None else _patterns(wanted.grant)
        else:
            data = await self._package(req)
        installed, warnings, changes = await asyncio.to_thread(
            self._server.catalog.install,
            ws,
            data,
            force=bool(force),
            granted=patterns,
            dry_run=bool(dry_run),
        )
        req.about = {"apps": list(installed.apps), "version": installed.version, "changed": installed.changed}
        if dry_run:
            req.activity = None
        resp.media = {
            "changed": installed.changed,
            "apps": list(installed.apps),
            "version": installed.version,
            "withheld": list(installed.withheld),
        }
        if warnings:
            resp.media["warnings"] = warnings
        if dry_run:
            # So that what is installed then can be shown to be what was looked at.
            resp.media["sha256"] = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
            resp.media["asks"] = msgspec.to_builtins(installed.asks)
            resp.media["changes"] = msgspec.to_builtins(changes)

    async def _fetched(self, req: Request, wanted: FromUrl) -> bytes:
        most = self._server.settings.body_limit
        async with self._transfers.place(req), self._transfers.file() as file:
            await self._transfers.pull(file, wanted.url, wanted.token, most, wanted.sha256)

            def read() -> bytes:
                file.seek(0)
                return file.read()

            return await asyncio.to_thread(read)

    async def _package(self, req: Request) -> bytes:
        settings = self._server.settings
        content_type = (req.content_type or "").partition(";")[0].strip().lower()
        if content_type in _BINARY:
            return await req.body(settings.body_limit, settings.body_timeout)
        if content_type != MULTIPART:
            raise OtherType(f"{_BINARY[0]}, {MULTIPART} or {JSON}", content_type)
        chunks = req.chunks(settings.body_limit, settings.body_timeout)
        part, parts = await file_in(req, chunks, settings.body_limit)
        data: bytes = await part.get_data()
        async for _ in parts:
            pass
        return data


def _patterns(given: list[str]) -> list[str]:
    found = [pattern.strip() for pattern in given]
    if not all(found):
        raise BadRequest("expected FFIs, or prefixes with *, found an empty one")
    return found
