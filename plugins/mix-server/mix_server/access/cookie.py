"""The cookie that a browser's session is in.

Over TLS its name begins with `__Host-`: a browser takes one of such a name from this host alone, and not from another
one of the same domain, which could have somebody act in a session of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mix_server.errors import Unauthorized

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = ["PAST", "PLAIN", "SECURE", "is_secure", "session_of"]

PLAIN: Final = "mixkit_session"
"""Its name where there is no TLS."""
SECURE: Final = f"__Host-{PLAIN}"
"""Its name over TLS."""
PAST: Final = datetime.fromtimestamp(0, UTC)
"""When a cookie has ended that is to be forgotten. Falcon passes over a `max_age` of 0, and its `unset_cookie` is never
`Secure`."""


def is_secure(request: Request) -> bool:
    """Whether the browser asks over TLS, which may end at a proxy. Who lies about it gets a cookie of less use."""
    origin = request.get_header("Origin") or ""
    return _came_over_tls(request) or origin.startswith("https:")


def _came_over_tls(request: Request) -> bool:
    return "https" in (request.scheme, request.forwarded_scheme)


def session_of(request: Request, *, secure: bool) -> str | None:
    """The session that a browser sends, None if it sends none.

    Args:
        secure: only one of this host counts, whether the request came over TLS as far as it shows or not.

    Raises:
        Unauthorized: it sends several.
    """
    # PERF: most requests have no cookie at all.
    if request.get_header("Cookie") is None:
        return None
    for name in (SECURE,) if secure or _came_over_tls(request) else (SECURE, PLAIN):
        found = request.get_cookie_values(name)
        if found:
            if len(set(found)) > 1:
                # NOTE: another host of this domain may have added one.
                raise Unauthorized(f"expected one cookie {name}, found {len(found)}")
            return str(found[0])
    return None
