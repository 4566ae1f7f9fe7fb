"""The files of the page, as the server sends them.

They hold nothing of anybody: all that the page shows it asks of the server's API, in the session of who looks at it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mix_server.described import Method

from mixkit.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

__all__ = ["HEADERS", "Asset", "Elsewhere", "Page", "files"]

INDEX: Final = "index.html"

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_POLICY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    # Forms are sent by the page's own scripts; nothing that is put into it can send one elsewhere.
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    # No text can become markup or code, whatever a script of the page does with it.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)

HEADERS: Final = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Kept, and asked for again each time: who updates the server has the new page at once.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page: its bytes, its type, and what changes when they do."""

    data: bytes
    type: str
    etag: str


def files() -> dict[str, Asset]:
    """All files of the page, by path."""
    found = {}
    for path, file in _walk(resources.files("mix_admin") / "static", ""):
        kind = _TYPES.get(path.rpartition(".")[2])
        if kind is not None:
            data = file.read_bytes()
            found[path] = Asset(data, kind, hashlib.sha256(data).hexdigest()[:32])
    return found


def _walk(folder: Traversable, above: str) -> Iterator[tuple[str, Traversable]]:
    for each in folder.iterdir():
        path = above + each.name
        if each.is_dir():
            yield from _walk(each, f"{path}/")
        else:
            yield path, each


class Page:
    """`GET /admin/…`: the files of the administration page, for everybody; what it shows is asked of the API."""

    permissions: ClassVar = {"GET": None}
    methods: ClassVar = {
        "GET": Method(
            "Read a file of the page",
            {200: bytes, 304: None},
            tuple(_TYPES.values()),
            errors=frozenset({404}),
        )
    }

    def __init__(self, files: Mapping[str, Asset]) -> None:
        self._files = files

    async def on_get(self, req: Any, resp: Any, path: str = "") -> None:
        asset = self._files.get(path or INDEX)
        if asset is None:
            raise NotFound("the page has no such file")
        resp.set_headers(HEADERS)
        resp.etag = asset.etag
        if _has(req, asset.etag):
            resp.status = 304
            return
        resp.content_type = asset.type
        resp.data = asset.data


def _has(req: Any, etag: str) -> bool:
    return any(known in ("*", etag) for known in req.if_none_match or ())


class Elsewhere:
    """`GET /admin`: the page is at `/admin/`."""

    permissions: ClassVar = {"GET": None}
    methods: ClassVar = {"GET": Method("Say where the page is", {308: None})}

    def __init__(self, path: str) -> None:
        self._path = path

    async def on_get(self, req: Any, resp: Any) -> None:
        resp.status = 308
        # Relative, so that it holds behind a proxy that has the server below a path of its own.
        resp.set_header("Location", self._path.lstrip("/"))
