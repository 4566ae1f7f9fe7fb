"""Exports and imports: a workspace or an app as one file, sent to the client or to another server, and the way back."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict
from urllib.parse import urlsplit

import msgspec

from mix_server.access.store import owner_record
from mix_server.bodies import read_form
from mix_server.caller import Permission, Resource
from mix_server.described import JSON, Method
from mix_server.errors import BadRequest, Forbidden, OtherType
from mix_server.moving.transfers import Transfers, check_url, digest_of
from mix_server.streams import CutOff, Stream
from mixkit.activities import Kind
from mixkit.errors import MixError
from mixkit.moving.arriving import Bringing, Brought, Export
from mixkit.moving.leaving import Leaving, export
from mixkit.package.errors import BadName, Exists
from mixkit.package.names import check_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import IO

    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Clone", "Exports", "Imports"]

_log = logging.getLogger("mixkit.server")

_FILE: Final = "application/vnd.mixkit.remix"
_BINARY: Final = ("application/octet-stream", "application/zip", _FILE)


class Push(msgspec.Struct, forbid_unknown_fields=True):
    """Where an export is to be sent to: a URL that takes it as the body of a POST, as the import of another server."""

    url: str
    token: str | None = None
    history: bool = False
    grants: bool | None = None


class Pull(msgspec.Struct, forbid_unknown_fields=True):
    """Where an export is: a URL, as that of another server's export; `sha256`, in hex, is what the file must have."""

    url: str
    token: str | None = None
    sha256: str | None = None
    ws: str | None = None


class _ExportOptions(TypedDict):
    history: bool
    grants: bool


class _ImportOptions(TypedDict):
    ws: str
    grants: bool
    dry_run: bool


class Imported(TypedDict):
    """What has come. `left_out`: records of the workspace's own that cannot be here, by type."""

    workspace: str
    apps: list[str]
    records: int
    files: int
    left_out: dict[str, int]


class ExportedApp(TypedDict):
    """An app of an export, with the powers that it is to have."""

    name: str
    package: str | None
    version: str | None
    powers: list[str]
    withheld: list[str]


class ExportDescription(TypedDict):
    """What an export holds."""

    workspace: str
    kind: str
    exported_at: str
    history: bool
    apps: list[ExportedApp]
    sha256: str


class Exports:
    """`/v1/ws/{ws}/export` and `/v1/ws/{ws}/app/{app}/export`: GET streams the file, POST sends it to a URL.

    `history`: all versions of records, and tombstones. `grants`: with what was granted, which is for administrators; by
    default they have it and others do not.
    """

    permissions: ClassVar = {"GET": Permission.READ, "POST": Permission.READ}
    activities: ClassVar = {"GET": Kind.EXPORT, "POST": Kind.EXPORT}
    options: ClassVar = {"GET": frozenset({"history", "grants"})}
    methods: ClassVar = {
        "GET": Method(
            "Export a workspace or an app as one file",
            {200: bytes},
            (_FILE,),
            query=_ExportOptions,
            errors=frozenset({429, 503}),
        ),
        "POST": Method(
            "Send the export to a URL",
            {200: dict[str, Any]},
            takes=Push,
            errors=frozenset({413, 424, 429, 503}),
        ),
    }

    def __init__(self, server: Server, transfers: Transfers) -> None:
        self._server = server
        self._transfers = transfers

    async def on_get(self, req: Request, resp: Response, ws: str, app: str | None = None) -> None:
        history = req.get_param_as_bool("history") or False
        pieces = await self._begun(req, ws, app, history, req.get_param_as_bool("grants"))
        name = ws if app is None else f"{ws}.{app}"
        resp.content_type = _FILE
        resp.set_header("Content-Disposition", f'attachment; filename="{name}.remix"')
        resp.set_header("Cache-Control", "no-store")
        resp.stream = Stream(self._server.streams, req, _parts(pieces(), req.id), lambda: None)

    on_get_v0 = on_get

    async def on_post(self, req: Request, resp: Response, ws: str, app: str | None = None) -> None:
        wanted = await read_form(req, Push, '{"url": "…"}', self._server.settings.body_timeout)
        req.about = {"to": urlsplit(wanted.url).hostname}
        check_url(wanted.url)
        pieces = await self._begun(req, ws, app, wanted.history, wanted.grants)
        remote = self._transfers.remote()

        def watched(watch: Callable[..., None]) -> AsyncIterator[bytes]:
            async def pass_on() -> AsyncIterator[bytes]:
                async for piece in pieces():
                    watch()
                    yield piece

            return pass_on()

        async with self._transfers.place(req):
            resp.media = await self._transfers.run(
                lambda watch: remote.send(wanted.url, partial(watched, watch), token=wanted.token)
            )

    async def _begun(
        self, req: Request, ws: str, app: str | None, history: bool, grants: bool | None
    ) -> Callable[[], AsyncIterator[bytes]]:
        """Makes the export, of what is there, by who may have it."""
        may_grants = self._server.authorizer.may(req.who, Permission.ADMIN, Resource(ws, app))
        if grants and not may_grants:
            raise Forbidden(f"expected the permission {Permission.ADMIN} here for what was granted")
        workspace = await asyncio.to_thread(self._server.store.workspace, ws)
        if app is not None:
            await asyncio.to_thread(workspace.place, app)
        what = Leaving(app, history, may_grants if grants is None else grants)
        return partial(export, self._server.kernel, workspace, what)


class Imports:
    """`/v1/ws-import` makes a workspace of an export, or fills the one named `ws` if it has no apps;
    `/v1/ws/{ws}/import` fills that one, also with the export of an app.

    The body is the file, or `{"url", "token"?, "sha256"?, "ws"?}` that says where it is. With `dry_run` nothing is
    changed, and the answer says what the file holds.
    """

    activities: ClassVar = {"POST": Kind.IMPORT}
    methods: ClassVar = {
        "POST": Method(
            "Import a workspace or an app from the body or a URL",
            {200: ExportDescription, 201: Imported},
            takes=Pull,
            taken_as=(*_BINARY, JSON),
            query=_ImportOptions,
            errors=frozenset({403, 408, 409, 413, 415, 424, 429, 503, 507}),
        )
    }

    def __init__(self, server: Server, transfers: Transfers, *, into: bool) -> None:
        self._server = server
        self._transfers = transfers
        self._into = into
        self.permissions = {"POST": Permission.INSTALL if into else Permission.CREATE}
        self.options = {"POST": frozenset({"grants", "dry_run"} if into else {"grants", "dry_run", "ws"})}

    async def on_post(self, req: Request, resp: Response, ws: str | None = None) -> None:
        grants = req.get_param_as_bool("grants")
        dry_run = req.get_param_as_bool("dry_run") or False
        named = ws if self._into else req.get_param("ws")
        if named is not None:
            _checked(named)
        if self._into:
            # Looked up first, so that nobody sends an export to a workspace that is not there.
            await asyncio.to_thread(self._server.store.workspace, str(named))
        async with self._transfers.place(req), self._transfers.file() as file:
            pulled = await self._filled(req, file)
            await bring(self._server, self._transfers, req, resp, file, named or pulled, grants, dry_run)

    async def _filled(self, req: Request, file: IO[bytes]) -> str | None:
        """Write what is to be imported into the file; answers the name that the body gives the workspace."""
        content_type = (req.content_type or "").partition(";")[0].strip().lower()
        if content_type in _BINARY:
            await self._transfers.receive(req, file)
            return None
        if content_type != JSON:
            raise OtherType(f"{_BINARY[0]} or {JSON}", content_type)
        wanted = await read_form(req, Pull, '{"url": "…"}', self._server.settings.body_timeout)
        if wanted.ws is not None:
            if self._into:
                raise BadRequest("expected no ws beside the one in the path")
            _checked(wanted.ws)
        most = self._server.settings.transfer_limit
        await self._transfers.pull(file, wanted.url, wanted.token, most, wanted.sha256)
        return wanted.ws


class Clone:
    """`POST /ws-clone/{name}?ws=&url=&token=` of the first interface: makes the workspace of what another server has as
    `ws`."""

    permissions: ClassVar = {"POST": Permission.CREATE}
    activities: ClassVar = {"POST": Kind.IMPORT}
    options: ClassVar = {"POST": frozenset({"ws", "url", "token"})}
    methods: ClassVar = {
        "POST": Method(
            "Clone a workspace of another server",
            {201: Imported},
            errors=frozenset({403, 409, 413, 424, 429, 503, 507}),
        )
    }

    def __init__(self, server: Server, transfers: Transfers) -> None:
        self._server = server
        self._transfers = transfers

    async def on_post(self, req: Request, resp: Response, name: str) -> None:
        url, theirs = req.get_param("url"), req.get_param("ws") or name
        if url is None:
            raise BadRequest("expected url, that of the server to clone from, in the query string")
        _checked(name)
        _checked(theirs)
        async with self._transfers.place(req), self._transfers.file() as file:
            address = f"{url.rstrip('/')}/v1/ws/{theirs}/export"
            most = self._server.settings.transfer_limit
            await self._transfers.pull(file, address, req.get_param("token"), most)
            await bring(self._server, self._transfers, req, resp, file, name, None, False)


async def bring(
    server: Server,
    transfers: Transfers,
    req: Request,
    resp: Response,
    file: IO[bytes],
    named: str | None,
    grants: bool | None,
    dry_run: bool,
) -> None:
    """Import the file, as the workspace of that name or that of the file, and answer what has come."""
    opened = await asyncio.to_thread(Export, file, server.settings.transfer_limit)
    name = named or opened.manifest.name
    if dry_run:
        req.activity = None
        await transfers.run(lambda watch: opened.check(watch))
        resp.media = {**opened.described(), "sha256": await digest_of(file)}
        return
    new = await asyncio.to_thread(lambda: name not in server.store.list())
    others = await _allowed(server, req, name, new)
    # Not before: what is refused is no activity of a workspace that the caller may not see.
    req.resource = Resource(name)
    how = partial(Bringing, others, grants is not False)
    done: Brought = await transfers.run(
        lambda watch: opened.bring(server.kernel, server.store, name, how(watch), new=new)
    )
    resp.status = 201
    resp.location = f"/v1/ws/{name}"
    resp.media = {
        "workspace": done.workspace,
        "apps": list(done.apps),
        "records": done.records,
        "files": done.files,
        "left_out": dict(done.left_out),
    }


async def _allowed(server: Server, req: Request, name: str, new: bool) -> list[dict[str, Any]]:
    """Whether who asks may make the workspace, or fill it. Answers what says whose a new one is."""
    caller = req.who
    if not new:
        await server.authorizer.ready(caller, name)
        if not server.authorizer.may(caller, Permission.INSTALL, Resource(name)):
            raise Exists(f"there is a workspace {name!r} already")
        return []
    if caller.operator:
        return []
    if caller.email is None:
        raise Forbidden("expected a user with an address, whom the workspace can belong to")
    return [owner_record(str(caller.subject))]


def _checked(name: str) -> None:
    try:
        check_name("workspace", name)
    except BadName as exc:
        raise BadRequest(str(exc)) from None


async def _parts(pieces: AsyncIterator[bytes], request_id: str) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in pieces:
            if piece:
                yield piece
    except MixError as exc:
        _log.warning("an export was broken off: %s", exc, extra={"request_id": request_id})
        raise CutOff from exc
