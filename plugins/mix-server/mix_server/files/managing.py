"""What the paths for managing files have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mix_server.bodies import read_form
from mix_server.errors import BadRequest
from mix_server.files.place import files_of, place_of
from mixkit.file_urls import url_of
from mixkit.file_value import file_value, is_own

if TYPE_CHECKING:
    from mix_server.files.conditions import Wanted
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.filesystem import FileInfo, Files
    from mixkit.storage import Place

__all__ = ["ERRORS", "Managing", "created", "property_name", "stored"]

ERRORS: Final = frozenset({409, 412, 429, 507})
"""Statuses of errors of what changes files."""


class Managing:
    """A resource for the files of an app."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def open_files(self, ws: str, app: str) -> tuple[Place, Files]:
        """The app's place and its files. `NotFound` if there is no app, or nothing that keeps files."""
        place = await place_of(self._server, ws, app)
        return place, files_of(self._server, place)

    async def form(self, req: Request, form: type[Any], example: str) -> Any:
        """The body of a request; see `read_form`."""
        return await read_form(req, form, example, self._server.settings.body_timeout)


def property_name(name: str) -> str:
    """The name of a property, if everybody may set it; else `BadRequest`."""
    if not is_own(name):
        raise BadRequest("expected no property whose name begins with mixkit-: those are mixkit's own")
    return name


def created(resp: Response, place: Place, info: FileInfo) -> None:
    """Make a new file the answer."""
    resp.status = 201
    resp.location = url_of(place, info.path)
    resp.set_header("ETag", f'"{info.etag}"')
    resp.media = file_value(place, info)


def stored(resp: Response, place: Place, info: FileInfo, wanted: Wanted) -> None:
    """Make a file that was stored the answer."""
    if wanted.found is None:
        created(resp, place, info)
    else:
        resp.set_header("ETag", f'"{info.etag}"')
        resp.media = file_value(place, info)
