"""Files of the operator's, beside everything else: `--serve-files-from`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from mix_server.caller import EVERYBODY
from mix_server.described import Method
from mix_server.part import http_date, is_known, part_of
from mix_server.streams import CutOff, Stream
from mix_server.threads import to_end
from mixkit.filesystem import PIECE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import BinaryIO

    from mix_server.folder import Folder
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["FolderFile"]

_HEADERS: Final = {
    "Accept-Ranges": "bytes",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, no-cache",
}


class FolderFile:
    """`GET /{path}`, where no other path is: a file of the folder that the operator serves, for everybody."""

    permissions: ClassVar = {"GET": EVERYBODY}
    methods: ClassVar = {
        "GET": Method(
            "Read a file of the folder that is served",
            {200: bytes, 206: bytes, 304: None},
            ("*/*",),
            errors=frozenset({404, 412, 416, 429}),
        )
    }

    def __init__(self, server: Server, folder: Folder) -> None:
        self._server = server
        self._folder = folder

    async def on_get(self, req: Request, resp: Response, path: str) -> None:
        file, info = await asyncio.to_thread(self._folder.open, f"/{path}")
        try:
            resp.set_headers(_HEADERS)
            resp.set_header("ETag", f'"{info.etag}"')
            resp.set_header("Last-Modified", http_date(info.modified))
            if is_known(req, info):
                resp.status = 304
                return
            part = None if req.method == "HEAD" else part_of(req, info)
            start, stop = part or (0, info.size)
            if part is not None:
                resp.status = 206
                resp.set_header("Content-Range", f"bytes {start}-{stop - 1}/{info.size}")
            resp.content_type = info.content_type
            if req.method == "HEAD":
                resp.content_length = stop - start
                return
            if stop - start <= PIECE:
                data = await to_end(partial(_read, file, start, stop - start))
                resp.data = data
                return
            resp.content_length = stop - start
            sent, file = file, None  # type: ignore[assignment]
            resp.stream = Stream(self._server.streams, req, _parts(sent, start, stop), sent.close)
        finally:
            if file is not None:
                file.close()


def _read(file: BinaryIO, start: int, most: int) -> bytes:
    file.seek(start)
    return file.read(most)


async def _parts(file: BinaryIO, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    while start < stop:
        data = await to_end(partial(_read, file, start, min(PIECE, stop - start)))
        if not data:
            # It has become shorter meanwhile.
            raise CutOff
        start += len(data)
        yield data
