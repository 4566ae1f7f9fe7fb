"""The files of an app, as browsers and other readers get them.

What an agent or a user has stored must not act as a page of this server. So its type is what was said of it and is not
guessed, what could hold a program is to be saved and not to be shown, and whatever is shown is a document of no origin
that can load nothing.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import quote

from mix_server.auth import admit
from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest, Forbidden, Overloaded, Refusal
from mix_server.part import http_date, is_known, part_of
from mix_server.streams import CutOff, Stream
from mixkit.app_files import is_public
from mixkit.errors import FileConflict, MixError, NotFound
from mixkit.file_urls import is_signed
from mixkit.filesystem import PIECE, FileInfo, Files, Reading, pieces
from mixkit.paths import check_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.storage import Place

__all__ = ["File"]

_SHOWN: Final = frozenset(
    (
        "text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/x-icon",
        "audio/mpeg", "audio/ogg", "audio/wav", "audio/webm", "audio/mp4", "audio/flac",
        "video/mp4", "video/ogg", "video/webm", "video/quicktime", "application/json",
    )
)  # fmt: skip
"""Types that a browser may show: none that can hold a program."""

_URL: Final = "mixkit-url"
"""Metadata of a file that stands for a URL elsewhere: which one."""

_ATTEMPTS: Final = 5
_MOMENT: Final = re.compile(r"[0-9]{1,12}", re.ASCII)

_HEADERS: Final = {
    "Accept-Ranges": "bytes",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; "
    "style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
}


class Elsewhere(Refusal):
    """The file stands for a URL. Nobody is led there from here: a link to this server would be one to anywhere."""

    status = 409

    def __init__(self, url: str) -> None:
        super().__init__(f"the bytes of this file are not here; they are at {url}")


class File:
    """`GET /v1/ws/{ws}/app/{app}/files/{path}`: a file or a part of it; below `/public` for everybody."""

    permissions: ClassVar = {"GET": Permission.READ}
    admits_by_itself = True
    options: ClassVar = {"GET": frozenset({"expires", "signature"})}
    methods: ClassVar = {
        "GET": Method(
            "Read a file or a part of it; below /public for everybody",
            {200: bytes, 206: bytes, 304: None},
            ("*/*",),
            errors=frozenset({409, 412, 416, 429}),
        )
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
            place = await self._place(ws, app)
        except NotFound:
            if link is None:
                raise
            raise _no_link() from None
        if link is not None and not is_signed(self._server.kernel.keyring, place, path, *link):
            raise _no_link()
        if self._server.kernel.filesystem is None:
            raise NotFound("the profile has no file system")
        files = self._server.kernel.files.open(place)
        for _ in range(_ATTEMPTS):
            try:
                await self._answer(req, resp, files, path, anywhere=link is not None or is_public(path))
                return
            except FileConflict:
                # Replaced between the look at it and its part, of which the new one may have another.
                continue
        raise Overloaded(f"{path!r:.200} is being replaced again and again")

    async def _answer(self, req: Request, resp: Response, files: Files, path: str, *, anywhere: bool) -> None:
        reading = None
        try:
            if req.method == "HEAD" or req.get_header("Range") is not None:
                info = await files.stat(path)
            else:
                reading = await files.read(path)
                info = reading.info
            if (url := (info.metadata or {}).get(_URL)) is not None:
                raise Elsewhere(url)
            _say(resp, info, anywhere=anywhere)
            if is_known(req, info):
                resp.status = 304
                return
            # HEAD has no ranges: RFC 9110, section 14.2.
            part = None if req.method == "HEAD" else part_of(req, info)
            _say_content(resp, info)
            start, stop = part or (0, info.size)
            if part is not None:
                resp.status = 206
                resp.set_header("Content-Range", f"bytes {start}-{stop - 1}/{info.size}")
            resp.content_length = stop - start
            if req.method == "HEAD":
                return
            if reading is None:
                reading = await files.read(path, start=start, stop=stop, only_if=info.etag)
            if stop - start <= PIECE:
                resp.data = b"".join([piece async for piece in pieces(reading)])
                return
            sent, reading = reading, None
            resp.stream = Stream(self._server.streams, req, _parts(sent), partial(_close, sent))
        finally:
            if reading is not None:
                await reading.close()

    async def _place(self, ws: str, app: str) -> Place:
        workspace = self._server.store.workspace(ws)
        place = workspace.place_at_hand(app)
        return await asyncio.to_thread(workspace.place, app) if place is None else place


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


def _no_link() -> Forbidden:
    return Forbidden("the URL was signed for something else, or its time is over; ask for a new one")


def _say(resp: Response, info: FileInfo, *, anywhere: bool) -> None:
    """What is said of a file, with its bytes or without them. Pages of other sites may show it `anywhere`."""
    resp.set_headers(_HEADERS)
    resp.set_header("ETag", f'"{info.etag}"')
    resp.set_header("Last-Modified", http_date(info.modified))
    # Kept, and asked for again each time: it costs a question, and what was replaced or deleted is seen at once.
    resp.set_header("Cache-Control", "public, no-cache" if is_public(info.path) else "private, no-cache")
    resp.set_header("Cross-Origin-Resource-Policy", "cross-origin" if anywhere else "same-origin")


def _say_content(resp: Response, info: FileInfo) -> None:
    kind = info.content_type or "application/octet-stream"
    resp.content_type = kind
    shown = kind.partition(";")[0].strip().lower() in _SHOWN
    name = quote(info.path.rpartition("/")[2], safe="")
    how = "inline" if shown else "attachment"
    resp.set_header("Content-Disposition", f"{how}; filename*=UTF-8''{name}")


async def _parts(reading: Reading) -> AsyncGenerator[bytes, None]:
    try:
        while data := await reading.read():
            yield data
    except MixError as exc:
        raise CutOff from exc


def _close(reading: Reading) -> None:
    """Close the reading of an answer that is over."""
    task = asyncio.ensure_future(reading.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()
