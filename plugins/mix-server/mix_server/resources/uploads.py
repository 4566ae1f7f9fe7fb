"""Uploads that go on where they broke off: tus 1.0.0, with creation, termination and expiration."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, TypedDict

from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.errors import BadRequest, BodyTooLarge, OtherType, PreconditionFailed, Refusal
from mix_server.files.conditions import There
from mix_server.files.managing import ERRORS, Managing
from mix_server.files.storing import checked
from mix_server.threads import to_end
from mix_server.uploads import MARK
from mixkit.activities import Kind
from mixkit.errors import FileConflict, NotFound
from mixkit.filesystem import ABSENT, PIECE
from mixkit.paths import check_path

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.uploads import Part, Started, Uploads
    from mixkit.filesystem import Files

__all__ = ["OneUpload", "UploadsOfApp"]

_VERSION: Final = "1.0.0"
_EXTENSIONS: Final = "creation,termination,expiration"
_BYTES: Final = "application/offset+octet-stream"
_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_KNOWN: Final = frozenset({"path", "filename", "filetype", "force", "sha256"})
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


_ASKED: Final = Method("Say what of tus is spoken here", {204: None})


class UploadState(TypedDict):
    """How far an upload is."""

    path: str
    offset: int
    length: int


class OtherOffset(Refusal):
    """The part does not begin where the last one ended."""

    status = 409

    def __init__(self, expected: int) -> None:
        super().__init__(f"expected Upload-Offset {expected}, where the upload goes on")
        self.headers = {"Upload-Offset": str(expected)}  # type: ignore[misc]


class OtherBytes(Refusal):
    """What has come is not what was announced."""

    status = 422

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"expected the SHA-256 {expected}, found {found}; the upload was ended, begin it anew"
        )


class _Tus(Managing):
    """Says what is spoken here, to a client that asks first (tus 1.0.0, OPTIONS)."""

    async def on_options(
        self, req: Request, resp: Response, ws: str, app: str, id: str | None = None
    ) -> None:
        resp.set_headers({"Tus-Version": _VERSION, "Tus-Extension": _EXTENSIONS})
        resp.set_header("Tus-Max-Size", str(self._server.settings.file_limit))
        done = "POST" if id is None else "DELETE, GET, HEAD, PATCH"
        resp.set_header("Allow", f"{done}, OPTIONS")
        resp.status = 204


class UploadsOfApp(_Tus):
    """`POST …/file-manager/uploads`: begin an upload, as tus says it.

    `Upload-Metadata` has the `path` of the file (or a folder, with `/` at the end, and its `filename`), and may have
    its `filetype`, `force`, to replace one that is there, and `sha256`, in hex, without which it does not become one:
    clients that go on with another file than they began with are found out by it.
    """

    permissions: ClassVar = {"POST": Permission.WRITE, "OPTIONS": Permission.SEE}
    activities: ClassVar = {"POST": Kind.SAVE}
    methods: ClassVar = {
        "OPTIONS": _ASKED,
        "POST": Method("Begin an upload in parts", {201: None}, errors=ERRORS | {413, 422, 423}),
    }

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        _check_version(req, resp)
        place, files = await self.open_files(ws, app)
        limit = self._server.settings.file_limit
        resp.set_header("Tus-Max-Size", str(limit))
        if req.content_length:
            raise BadRequest("expected no body: the bytes are sent by PATCH to the Location of the answer")
        length = _number(req, "Upload-Length")
        if length > limit:
            raise BodyTooLarge(limit)
        said = _metadata(req.get_header("Upload-Metadata") or "")
        path = said.get("path", "/")
        path = check_path(path + said.get("filename", "") if path.endswith("/") else path)
        kind, force = checked(path, said.get("filetype"), {}), said.get("force") == "true"
        sha256 = said.get("sha256")
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise BadRequest(f"expected 64 hex digits as sha256 in Upload-Metadata, found {sha256[:80]!r}")
        if not force:
            await _refuse_other(files, path)
        uploads = self._server.uploads
        started = await asyncio.to_thread(
            uploads.begin, place, path, length, kind, force=force, sha256=sha256 and sha256.lower()
        )
        if not length:
            await _finish_alone(self._server.uploads, files, started)
        resp.status = 201
        resp.location = f"{req.path.rstrip('/')}/{started.id}"
        _say(resp, started, 0)


class OneUpload(_Tus):
    """`…/file-manager/uploads/{id}`: HEAD tells how far it is, PATCH goes on, DELETE ends it. Who may write
    the files of the app may go on with any of them."""

    permissions: ClassVar = {
        **dict.fromkeys(("GET", "PATCH", "DELETE"), Permission.WRITE),
        "OPTIONS": Permission.SEE,
    }
    activities: ClassVar = dict.fromkeys(("PATCH", "DELETE"), Kind.SAVE)
    methods: ClassVar = {
        "OPTIONS": _ASKED,
        "GET": Method("Say how far an upload is", {200: UploadState}, errors=ERRORS | {422, 423}),
        "PATCH": Method(
            "Go on with an upload", {204: None}, takes=bytes, taken_as=(_BYTES,), errors=ERRORS | {422, 423}
        ),
        "DELETE": Method("End an upload", {204: None}, errors=frozenset({423})),
    }

    async def on_get(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        resp.set_header("Tus-Resumable", _VERSION)
        place, files = await self.open_files(ws, app)
        uploads = self._server.uploads
        started = await asyncio.to_thread(uploads.find, place, id)
        offset = await asyncio.to_thread(uploads.size, started)
        if offset == started.length and not started.done:
            # The process ended between the last byte and the file.
            await _finish_alone(uploads, files, started)
        _say(resp, started, offset)
        resp.set_header("Upload-Length", str(started.length))
        resp.set_header("Cache-Control", "no-store")
        resp.media = {"path": started.path, "offset": offset, "length": started.length}

    async def on_patch(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        _check_version(req, resp)
        place, files = await self.open_files(ws, app)
        uploads, settings = self._server.uploads, self._server.settings
        started = await asyncio.to_thread(uploads.find, place, id)
        content_type = (req.content_type or "").partition(";")[0].strip().lower()
        if content_type != _BYTES:
            raise OtherType(_BYTES, content_type)
        offset = _number(req, "Upload-Offset")
        if started.done:
            raise OtherOffset(started.length)
        with uploads.locked(started) as part:
            if offset != part.size:
                raise OtherOffset(part.size)
            left, held = started.length - offset, bytearray()
            try:
                # One byte more than there is room for is one too many; a limit of 0 would be none.
                async for piece in req.chunks(max(left, 1), settings.body_timeout, PIECE):
                    held += piece
                    if len(held) > left:
                        raise BodyTooLarge(left)
                    if len(held) >= PIECE:
                        whole, held = bytes(held), bytearray()
                        left -= len(whole)
                        await to_end(partial(part.append, whole))
            finally:
                # What has come of a request that broke off is kept too.
                if held:
                    await to_end(partial(part.append, bytes(held[:left])))
                await to_end(part.flush)
            size = part.size
            if size == started.length:
                await _finish(uploads, files, started, part)
        resp.status = 204
        _say(resp, started, size)

    async def on_delete(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        _check_version(req, resp)
        place, _ = await self.open_files(ws, app)
        uploads = self._server.uploads
        started = await asyncio.to_thread(uploads.find, place, id)
        if started.done:
            await asyncio.to_thread(uploads.end, id)
        else:
            with uploads.locked(started):
                await asyncio.to_thread(uploads.end, id)
        resp.status = 204


async def _finish_alone(uploads: Uploads, files: Files, started: Started) -> None:
    with uploads.locked(started) as part:
        await _finish(uploads, files, started, part)


async def _finish(uploads: Uploads, files: Files, started: Started, part: Part) -> None:
    """Make the bytes the file, unless that was done before the process ended.

    Raises:
        OtherBytes: they are not those that were announced.
        There: the file is there.
    """
    if started.sha256 is not None and (found := await to_end(part.sha256)) != started.sha256:
        await asyncio.to_thread(uploads.end, started.id)
        raise OtherBytes(started.sha256, found)
    said = {MARK: started.id}
    upload = None
    try:
        upload = await files.begin(
            started.path,
            content_type=started.content_type,
            metadata=said,
            only_if=None if started.force else ABSENT,
        )
        for start in range(0, started.length, PIECE):
            await upload.write(await to_end(partial(part.read, start, PIECE)))
        await upload.commit()
    except FileConflict:
        if not await _came_by(files, started):
            raise There(started.path) from None
    finally:
        if upload is not None:
            await upload.abort()
    await asyncio.to_thread(uploads.finish, started)


async def _came_by(files: Files, started: Started) -> bool:
    try:
        return (await files.stat(started.path)).metadata == {MARK: started.id}
    except NotFound:
        return False


async def _refuse_other(files: Files, path: str) -> None:
    try:
        await files.stat(path)
    except NotFound:
        return
    raise There(path)


def _check_version(req: Request, resp: Response) -> None:
    resp.set_headers({"Tus-Resumable": _VERSION, "Tus-Version": _VERSION, "Tus-Extension": _EXTENSIONS})
    found = req.get_header("Tus-Resumable")
    if found != _VERSION:
        raise PreconditionFailed(f"expected Tus-Resumable: {_VERSION}, found {(found or 'none')[:40]!r}")


def _number(req: Request, name: str) -> int:
    text = req.get_header(name)
    if text is None or not _NUMBER.fullmatch(text):
        raise BadRequest(f"expected a number of bytes in {name}, found {(text or 'none')[:40]!r}")
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """Names and texts of `Upload-Metadata`: `path L2E=,force dHJ1ZQ==`."""
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in header.split(","))):
        name, _, encoded = pair.partition(" ")
        if name not in _KNOWN or name in found:
            known = ", ".join(sorted(_KNOWN))
            raise BadRequest(f"expected {known} in Upload-Metadata, each once, found {name[:40]!r}")
        try:
            found[name] = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise BadRequest(f"expected {name} as base64 of UTF-8 in Upload-Metadata") from None
    return found


def _say(resp: Response, started: Started, offset: int) -> None:
    resp.set_header("Tus-Resumable", _VERSION)
    resp.set_header("Upload-Offset", str(offset))
    resp.set_header("Upload-Expires", formatdate(started.expires, usegmt=True))
