"""A file as the answer to a request: which part of it, and what is said of it.

What an agent or a user has stored must not act as a page of this server. So its type is what was said of it and is not
guessed, what could hold a program is to be saved and not to be shown, and whatever is shown is a document of no origin
that can load nothing.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mix_server.errors import Overloaded, Refusal
from mix_server.part import http_date, is_known, part_of
from mix_server.streams import CutOff, Stream
from mixkit.app_files import is_public
from mixkit.errors import FileConflict, MixError
from mixkit.file_value import stands_for
from mixkit.filesystem import PIECE, FileInfo, Files, Reading, pieces

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["answer_file"]

_SHOWN: Final = frozenset(
    (
        "text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/x-icon",
        "audio/mpeg", "audio/ogg", "audio/wav", "audio/webm", "audio/mp4", "audio/flac",
        "video/mp4", "video/ogg", "video/webm", "video/quicktime", "application/json",
    )
)  # fmt: skip
"""Types that a browser may show: none that can hold a program."""

_ATTEMPTS: Final = 5

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


async def answer_file(
    server: Server, req: Request, resp: Response, files: Files, path: str, *, anywhere: bool = False
) -> None:
    """Make a file, or the part of it that is asked for, the answer. Pages of other sites may show it `anywhere`.

    Raises:
        NotFound: there is none.
        Refusal: it has no such part, is not as the request wants it, or is elsewhere.
    """
    for _ in range(_ATTEMPTS):
        try:
            await _answer(server, req, resp, files, path, anywhere=anywhere)
            return
        except FileConflict:
            # Replaced between the look at it and its part, of which the new one may have another.
            continue
    raise Overloaded(f"{path!r:.200} is being replaced again and again")


async def _answer(
    server: Server, req: Request, resp: Response, files: Files, path: str, *, anywhere: bool
) -> None:
    reading = None
    try:
        if req.method == "HEAD" or req.get_header("Range") is not None:
            info = await files.stat(path)
        else:
            reading = await files.read(path)
            info = reading.info
        if (url := stands_for(info)) is not None:
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
        resp.stream = Stream(server.streams, req, _parts(sent), partial(_close, sent))
    finally:
        if reading is not None:
            await reading.close()


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
