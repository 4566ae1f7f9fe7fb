"""The files of an app, for who manages them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mix_server.bodies import MULTIPART, file_in
from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.errors import BadRequest, OtherType, PreconditionFailed
from mix_server.files.answer import answer_file
from mix_server.files.conditions import There, Wanted, condition_of, flag
from mix_server.files.described import MOST, Change, Copy, FilePage, FileValue, Listed, Named
from mix_server.files.managing import ERRORS, Managing, created, property_name, stored
from mix_server.files.storing import arriving, checked, store
from mix_server.match import CONDITIONS
from mixkit.activities import Kind
from mixkit.errors import FileConflict
from mixkit.file_urls import MAX_LIFETIME, signed_query
from mixkit.file_value import file_value, stands_for
from mixkit.filesystem import ABSENT
from mixkit.paths import check_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from falcon.asgi.multipart import BodyPart

    from mix_server.request import Request
    from mix_server.response import Response
    from mixkit.filesystem import FileInfo, Files

__all__ = ["Content", "Copies", "FileList", "Props"]


class FileList(Managing):
    """`…/app/{app}/file-manager`: the files in a folder and all folders in it, in order of their paths."""

    permissions: ClassVar = {"GET": Permission.READ}
    options: ClassVar = {"GET": frozenset({"folder", "after", "limit"})}
    methods: ClassVar = {"GET": Method("List files", {200: FilePage}, query=Listed, errors=frozenset({429}))}

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, files = await self.open_files(ws, app)
        limit = req.get_param("limit") or "100"
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST):
            raise BadRequest(f"expected limit from 1 to {MOST}, found {limit!r:.40}")
        page = await files.list(
            req.get_param("folder") or "/", after=req.get_param("after") or None, most=int(limit)
        )
        resp.media = {"files": [file_value(place, info) for info in page.files], "after": page.after}


class Content(Managing):
    """`…/file-manager/content?path=`: the bytes of a file. GET reads, as the public path does; PUT stores the body,
    POST the file of a form, under its own name where the path ends with `/`; DELETE removes.

    `?force=true` replaces a file that is there, and so does `If-Match` with its version.
    """

    permissions: ClassVar = {
        "GET": Permission.READ,
        "PUT": Permission.WRITE,
        "POST": Permission.WRITE,
        "DELETE": Permission.WRITE,
    }
    activities: ClassVar = dict.fromkeys(("PUT", "POST", "DELETE"), Kind.SAVE)
    heeds_conditions = frozenset({"PUT", "DELETE"})
    options: ClassVar = {
        "GET": frozenset({"path"}),
        "PUT": frozenset({"path", "force"}),
        "POST": frozenset({"path", "force"}),
        "DELETE": frozenset({"path"}),
    }
    methods: ClassVar = {
        "GET": Method(
            "Read a file or a part of it",
            {200: bytes, 206: bytes, 304: None},
            ("*/*",),
            query=Named,
            errors=ERRORS | {416},
        ),
        "PUT": Method(
            "Store a file", dict.fromkeys((200, 201), FileValue), takes=bytes, taken_as=("*/*",), query=Named,
            errors=ERRORS,
        ),
        "POST": Method(
            "Store the file of a form", dict.fromkeys((200, 201), FileValue), takes=bytes, taken_as=(MULTIPART,),
            query=Named, errors=ERRORS,
        ),
        "DELETE": Method("Remove a file", {204: None}, query=Named, errors=ERRORS),
    }  # fmt: skip

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        _, files = await self.open_files(ws, app)
        await answer_file(self._server, req, resp, files, _path(req))

    async def on_put(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, files = await self.open_files(ws, app)
        path = _path(req)
        kind = checked(path, req.content_type, {})
        wanted = await condition_of(req, files, path, force=flag(req, "force"))
        info = await store(files, path, arriving(req, self._server.settings), wanted, kind)
        stored(resp, place, info, wanted)

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, files = await self.open_files(ws, app)
        given = req.get_param("path") or "/"
        if not given.endswith("/"):
            check_path(given)
        force = flag(req, "force")
        content_type = (req.content_type or "").partition(";")[0].strip().lower()
        if content_type != MULTIPART:
            raise OtherType(f"{MULTIPART} (PUT stores a body as it is)", content_type)
        part, parts = await file_in(req, arriving(req, self._server.settings))
        path = check_path(f"{given}{part.filename}" if given.endswith("/") else given)
        kind = checked(path, part.content_type, {})
        wanted = await condition_of(req, files, path, force=force)
        info = await store(files, path, _only(part, parts), wanted, kind)
        stored(resp, place, info, wanted)

    async def on_delete(self, req: Request, resp: Response, ws: str, app: str) -> None:
        _, files = await self.open_files(ws, app)
        path = _path(req)
        wanted = await condition_of(req, files, path, force=True)
        try:
            await files.delete(path, only_if=wanted.only_if)
        except FileConflict as exc:
            raise wanted.refusal(path, exc) from None
        resp.status = 204


class Props(Managing):
    """`…/file-manager/props?path=`: what is said of a file. PATCH changes it, or gives the file another path.

    `?signed_for=SECONDS` makes the URL in the answer one by which everybody may read the file for so long.
    """

    permissions: ClassVar = {"GET": Permission.READ, "PATCH": Permission.WRITE}
    activities: ClassVar = {"PATCH": Kind.SAVE}
    heeds_conditions = frozenset({"PATCH"})
    options: ClassVar = {"GET": frozenset({"path", "signed_for"}), "PATCH": frozenset({"path"})}
    methods: ClassVar = {
        "GET": Method("Say what is known of a file", {200: FileValue}, query=Named, errors=frozenset({429})),
        "PATCH": Method("Change what is said of a file, or its path", {200: FileValue}, takes=Change, query=Named,
                        errors=ERRORS),
    }  # fmt: skip

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, files = await self.open_files(ws, app)
        path, seconds = _path(req), _seconds(req)
        info = await files.stat(path)
        value = file_value(place, info)
        if seconds is not None and stands_for(info) is None:
            value["url"] += f"?{signed_query(self._server.kernel.keyring, place, path, seconds)}"
        resp.set_header("ETag", f'"{info.etag}"')
        resp.media = value

    async def on_patch(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, files = await self.open_files(ws, app)
        path = _path(req)
        conditional = any(req.get_header(name) is not None for name in CONDITIONS)
        wanted = await condition_of(req, files, path, force=not conditional)
        change = await self.form(req, Change, '{"contentType"?, "properties"?} or {"path", "force"?}')
        if change.path is None:
            if change.force:
                raise BadRequest("expected force beside another path alone")
            info = await self._change(files, path, change, wanted)
        elif change.contentType is not None or change.properties is not None:
            raise BadRequest(
                "expected another path or what is said of the file, found both: do one after the other"
            )
        elif conditional:
            raise PreconditionFailed(
                "a file gets another path whichever version it is; leave the condition away"
            )
        else:
            info = await _moved(files, path, change.path, force=change.force)
        resp.set_header("ETag", f'"{info.etag}"')
        resp.media = file_value(place, info)

    async def _change(self, files: Files, path: str, change: Change, wanted: Wanted) -> FileInfo:
        info = wanted.found or await files.stat(path)
        said = dict(info.metadata or {})
        for name, text in (change.properties or {}).items():
            if text is None:
                said.pop(property_name(name), None)
            else:
                said[property_name(name)] = text
        kind = checked(path, change.contentType or info.content_type, said)
        try:
            return await files.copy(path, path, content_type=kind, metadata=said, only_if=info.etag)
        except FileConflict as exc:
            raise PreconditionFailed(f"somebody has replaced it meanwhile: {exc}") from None


class Copies(Managing):
    """`…/file-manager/copy`: a file under another path too."""

    permissions: ClassVar = {"POST": Permission.WRITE}
    activities: ClassVar = {"POST": Kind.SAVE}
    methods: ClassVar = {"POST": Method("Copy a file", {201: FileValue}, takes=Copy, errors=ERRORS)}

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, files = await self.open_files(ws, app)
        copy: Copy = await self.form(req, Copy, '{"source", "target", "force"?}')
        source, target = check_path(copy.source), check_path(copy.target)
        if source == target:
            raise BadRequest("expected two paths, found one twice")
        try:
            info = await files.copy(source, target, only_if=None if copy.force else ABSENT)
        except FileConflict:
            raise There(target) from None
        created(resp, place, info)


async def _only(part: BodyPart, rest: AsyncIterator[BodyPart]) -> AsyncIterator[bytes]:
    """The bytes of a file in a form. `BadRequest` if there is another one behind it."""
    async for piece in part.stream:
        yield piece
    async for other in rest:
        if other.filename is not None:
            raise BadRequest("expected one file in the form, found two, and nothing was stored")


def _path(req: Request) -> str:
    path = req.get_param("path")
    if path is None:
        raise BadRequest("expected path in the query string, as ?path=/notes/today.txt")
    return check_path(path)


def _seconds(req: Request) -> float | None:
    text = req.get_param("signed_for")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 0 < int(text) <= MAX_LIFETIME):
        raise BadRequest(f"expected signed_for from 1 to {MAX_LIFETIME} seconds, found {text!r:.40}")
    return float(text)


async def _moved(files: Files, source: str, target: str, *, force: bool) -> FileInfo:
    if source == check_path(target):
        raise BadRequest("expected another path, found the one that the file has")
    try:
        return await files.rename(source, target, only_if=None if force else ABSENT)
    except FileConflict:
        raise There(target) from None
