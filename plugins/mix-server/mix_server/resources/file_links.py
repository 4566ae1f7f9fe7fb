"""Files that are elsewhere, and those that others may store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.errors import BadRequest
from mix_server.files.conditions import There
from mix_server.files.described import FileValue, Register, Sign, SignedUrl
from mix_server.files.managing import ERRORS, Managing, created, property_name
from mix_server.files.storing import checked
from mixkit import egress, outgoing
from mixkit.activities import Kind
from mixkit.errors import FFIError, FileConflict, FileError
from mixkit.file_urls import upload_query, url_of
from mixkit.file_value import REGISTERED, check_url
from mixkit.filesystem import ABSENT
from mixkit.paths import check_path
from mixkit.target import parse_url

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response

__all__ = ["Registered", "SignedUpload"]

_LOOK_UP: Final = 10.0
"""Seconds in which the name of a host must be looked up."""


class Registered(Managing):
    """`…/file-manager/register`: a file that stands for a URL elsewhere. Nothing is fetched; but where nobody of
    here may connect to, no file leads either."""

    permissions: ClassVar = {"POST": Permission.WRITE}
    activities: ClassVar = {"POST": Kind.SAVE}
    methods: ClassVar = {
        "POST": Method(
            "Let a file stand for a URL elsewhere", {201: FileValue}, takes=Register, errors=ERRORS
        )
    }

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, files = await self.open_files(ws, app)
        given: Register = await self.form(
            req, Register, '{"path", "url", "contentType"?, "properties"?, "force"?}'
        )
        path = check_path(given.path)
        said = {property_name(name): text for name, text in given.properties.items()}
        try:
            said[REGISTERED] = check_url(given.url)
            async with asyncio.timeout(_LOOK_UP):
                await egress.check(parse_url(given.url), outgoing.policy("http", False, ()))
        except TimeoutError:
            raise BadRequest("the host's name could not be looked up in time; try again") from None
        except (FileError, FFIError) as exc:
            raise BadRequest(str(exc)) from None
        kind = checked(path, given.contentType, said)
        try:
            info = await files.put(
                path, b"", content_type=kind, metadata=said, only_if=None if given.force else ABSENT
            )
        except FileConflict:
            raise There(path) from None
        created(resp, place, info)


class SignedUpload(Managing):
    """`…/file-manager/sign`: a URL by which everybody may store one file, once or until its time is over."""

    permissions: ClassVar = {"POST": Permission.WRITE}
    activities: ClassVar = {"POST": Kind.GRANT}
    methods: ClassVar = {"POST": Method("Let others store a file", {201: SignedUrl}, takes=Sign)}

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        place, _ = await self.open_files(ws, app)
        given: Sign = await self.form(req, Sign, '{"path", "seconds", "most"?, "force"?}')
        path = check_path(given.path)
        req.about = {"file": path}
        limit = self._server.settings.file_limit
        most = limit if given.most is None else min(given.most, limit)
        query = upload_query(self._server.kernel.keyring, place, path, given.seconds, most, force=given.force)
        resp.status = 201
        resp.media = {"url": f"{url_of(place, path)}?{query}"}
