"""Pages of other web sites, as far as the operator lets their scripts ask this server (Fetch, section 3.2: CORS).

A script says who asks by `Authorization`, as any other client does. Cookies are for the pages of this server alone,
so no answer ever allows credentials. A preflight is answered in the same way for every path: whoever asks without a
token learns from it neither what there is nor what may be done.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mixkit.errors import ProfileError

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response

__all__ = ["Cors"]

_ORIGIN: Final = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?", re.ASCII
)
_DEFAULTS: Final = (("http://", ":80"), ("https://", ":443"))
_ANY: Final = "*"

_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED_WITH: Final = ", ".join(
    (
        "Authorization", "Content-Type", "Content-Encoding", "If-Match", "If-None-Match", "If-Range", "Last-Event-ID",
        "Prefer", "Range", "X-Request-Id",
        "Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset",
    )
)  # fmt: skip
_SHOWN: Final = ", ".join(
    (
        "Accept-Ranges", "Content-Disposition", "Content-Range", "Deprecation", "ETag", "Link", "Location",
        "Mix-Warning", "Mix-Watermark", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id",
        "Tus-Resumable", "Upload-Expires", "Upload-Length", "Upload-Metadata", "Upload-Offset",
    )
)  # fmt: skip
_MAX_AGE: Final = "600"
"""Seconds that a browser remembers what a preflight was answered."""


class Cors:
    """Which origins' scripts may ask.

    Args:
        origins: as `https://app.example.org`, or `*` for all.

    Raises:
        ProfileError: one of them is no origin.
    """

    def __init__(self, origins: list[str]) -> None:
        for origin in origins:
            if origin != _ANY and not (_ORIGIN.fullmatch(origin) and not _has_default_port(origin)):
                raise ProfileError(
                    "expected origins as browsers write them, https://app.example.org or http://localhost:5173, "
                    f"in small letters, without a path and without the usual port, or *; found {origin!r:.100}",
                    "settings.server.cors_origins",
                )
        self._any = _ANY in origins
        self._origins = frozenset(origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: str) -> bool:
        """Whether scripts of that origin may ask."""
        return self._any or origin in self._origins

    def is_preflight(self, req: Request) -> bool:
        """Whether a browser asks whether it may ask, for an origin that may."""
        if req.method != "OPTIONS":
            return False
        origin = req.get_header("Origin")
        return (
            origin is not None
            and req.get_header("Access-Control-Request-Method") is not None
            and self.allows(origin)
        )

    def answer(self, resp: Response) -> None:
        """Answer a preflight; `label` does the rest."""
        resp.status = 204
        resp.set_headers(
            {
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": _ASKED_WITH,
                "Access-Control-Max-Age": _MAX_AGE,
            }
        )
        resp.append_header("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")

    def label(self, req: Request, resp: Response) -> None:
        """Say in an answer whose scripts may read it."""
        if self._any:
            resp.set_header("Access-Control-Allow-Origin", _ANY)
        else:
            # What is kept for one origin is not for another one, and the answer without an origin is for none.
            resp.append_header("Vary", "Origin")
            origin = req.get_header("Origin")
            if origin is None or origin not in self._origins:
                return
            resp.set_header("Access-Control-Allow-Origin", origin)
        resp.set_header("Access-Control-Expose-Headers", _SHOWN)


def _has_default_port(origin: str) -> bool:
    return any(origin.startswith(scheme) and origin.endswith(port) for scheme, port in _DEFAULTS)
