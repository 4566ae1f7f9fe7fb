"""The files of an app, as browsers and other readers get them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from mix_server.auth import admit
from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest, Forbidden
from mix_server.files.answer import answer_file
from mix_server.files.conditions import condition_of, flag
from mix_server.files.described import FileValue
from mix_server.files.managing import ERRORS, stored
from mix_server.files.place import files_of, nowhere, place_of
from mix_server.files.storing import arriving, checked, store
from mixkit.activities import Kind
from mixkit.app_files import is_public
from mixkit.errors import NotFound
from mixkit.file_urls import is_signed, is_signed_upload
from mixkit.paths import check_path

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.storage import Place

__all__ = ["File"]

_MOMENT: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIZE: Final = re.compile(r"[0-9]{1,16}", re.ASCII)


class File:
    """`GET /v1/ws/{ws}/app/{app}/files/{path}`: a file or a part of it; below `/public` for everybody."""

    permissions: ClassVar = {"GET": Permission.READ, "PUT": Permission.WRITE}
    activities: ClassVar = {"PUT": Kind.SAVE}
    admits_by_itself = True
    heeds_conditions = frozenset({"PUT"})
    options: ClassVar = {
        "GET": frozenset({"expires", "signature"}),
        "PUT": frozenset({"expires", "most", "force", "signature"}),
    }
    methods: ClassVar = {
        "GET": Method(
            "Read a file or a part of it; below /public for everybody",
            {200: bytes, 206: bytes, 304: None},
            ("*/*",),
            errors=frozenset({409, 412, 416, 429}),
        ),
        "PUT": Method(
            "Store a file, by a URL that was signed for it",
            {200: FileValue, 201: FileValue, 204: None},
            takes=bytes,
            taken_as=("*/*",),
            errors=ERRORS,
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str, path: str) -> None:
        path = f"/{path}"
        link = _link(req)
        if link is None and not is_public(path):
            req.caller = await admit(self._server.authorizer, req, Permission.READ, Resource(ws, app))
        check_path(path)
        try:
            place = await self._place(ws, app, signed=link is not None)
        except NotFound:
            # Looked for all the same: by the time that the answer takes nobody learns which workspaces there are.
            place = nowhere(self._server)
        if link is not None and not is_signed(self._server.kernel.keyring, place, path, *link):
            raise _no_link()
        await answer_file(
            self._server,
            req,
            resp,
            files_of(self._server, place),
            path,
            anywhere=link is not None or is_public(path),
        )

    async def on_put(self, req: Request, resp: Response, ws: str, app: str, path: str) -> None:
        path = f"/{path}"
        terms = _terms(req)
        if terms is None:
            req.caller = await admit(self._server.authorizer, req, Permission.WRITE, Resource(ws, app))
        check_path(path)
        place = await self._place(ws, app, signed=terms is not None)
        ring, most, force = self._server.kernel.keyring, None, flag(req, "force")
        if terms is not None:
            expires, most, signature = terms
            if not is_signed_upload(ring, place, path, expires, most, force, signature):
                raise _no_link()
        req.activity, req.about = Kind.SAVE, {"file": path}
        files = files_of(self._server, place)
        kind = checked(path, req.content_type, {})
        wanted = await condition_of(req, files, path, force=force)
        info = await store(files, path, arriving(req, self._server.settings, most), wanted, kind)
        if terms is None:
            stored(resp, place, info, wanted)
        else:
            # Who may only store it learns nothing of it.
            resp.status = 204

    async def _place(self, ws: str, app: str, *, signed: bool) -> Place:
        try:
            return await place_of(self._server, ws, app)
        except NotFound:
            if not signed:
                raise
            raise _no_link() from None


def _link(req: Request) -> tuple[int, str] | None:
    """Until when, and the signature, of a request that comes by a signed URL; None for others.
    `BadRequest` if half of it is missing."""
    if not req.query_string:
        return None
    expires, signature = req.get_param("expires"), req.get_param("signature")
    if expires is None or signature is None or not _MOMENT.fullmatch(expires):
        raise BadRequest(
            "expected expires, a moment in Unix seconds, and signature, as the URL of a file has them"
        )
    return int(expires), signature


def _terms(req: Request) -> tuple[int, int, str] | None:
    """Until when, how many bytes at most, and the signature, of an upload by a signed URL; None for others.
    `BadRequest` if a part of it is missing."""
    given = [req.get_param(name) for name in ("expires", "most", "signature")]
    if given == [None, None, None]:
        return None
    expires, most, signature = given
    if not (expires and most and signature and _MOMENT.fullmatch(expires) and _SIZE.fullmatch(most)):
        raise BadRequest("expected expires, most, force and signature, as the URL of an upload has them")
    return int(expires), int(most), signature


def _no_link() -> Forbidden:
    return Forbidden("the URL was signed for something else, or its time is over; ask for a new one")
