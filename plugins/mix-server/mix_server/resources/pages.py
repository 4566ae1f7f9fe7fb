"""The server's own pages: static files, from the package, which need nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar, Final

from mix_server.caller import EVERYBODY
from mix_server.described import Method
from mix_server.match import tags_of

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response

__all__ = ["Page"]

_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "public, no-cache",
}


class Page:
    """A file of the API's page at `/swagger/`. What it shows it asks for as any client does, with a token."""

    permissions: ClassVar = {"GET": EVERYBODY}
    methods: ClassVar = {
        "GET": Method(
            "A file of the page with this API", {200: str, 304: None}, ("*/*",), errors=frozenset({412})
        )
    }

    def __init__(self, name: str) -> None:
        self._name = name

    async def on_get(self, req: Request, resp: Response) -> None:
        data, tag = _file(self._name)
        resp.set_headers({**_HEADERS, "ETag": tag})
        known = req.get_header("If-None-Match")
        if known is not None and {"*", tag} & {
            each.removeprefix("W/") for each in tags_of("If-None-Match", known)
        }:
            resp.status = 304
            return
        resp.content_type = f"{_TYPES[self._name.rpartition('.')[2]]}; charset=utf-8"
        resp.data = data


@cache
def _file(name: str) -> tuple[bytes, str]:
    data = files("mix_server.pages").joinpath(name).read_bytes()
    return data, f'"{hashlib.sha256(data).hexdigest()[:32]}"'
