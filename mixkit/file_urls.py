"""Signed URLs: whoever has one may read that file until a moment, and needs no token.

What is signed is the app with its home, the path and the moment, so an app that is made under the name of one that was
deleted is another one. Whoever takes the key away that signed one, takes the URL away.
"""

from __future__ import annotations

import base64
import re
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mixkit.storage import Place

if TYPE_CHECKING:
    from mixkit.keyring import KeyRing

__all__ = ["MAX_LIFETIME", "is_signed", "signed_query", "url_of"]

_PURPOSE: Final = "file url"
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

MAX_LIFETIME: Final = 7 * 86_400
"""Seconds that a signed URL is good for at most."""


def url_of(place: Place, path: str) -> str:
    """Where a server answers a file: a path, without its host."""
    return f"/v1/ws/{quote(place.workspace)}/app/{quote(place.app)}/files{quote(path)}"


def signed_query(ring: KeyRing, place: Place, path: str, seconds: float) -> str:
    """The query string with which everybody may read a file for so many seconds.

    Raises:
        ValueError: for no time, or more than `MAX_LIFETIME`.
    """
    if not 0 < seconds <= MAX_LIFETIME:
        raise ValueError(f"expected more than 0 and at most {MAX_LIFETIME} seconds, found {seconds}")
    expires = int(time.time() + seconds) + 1
    signature = ring.sign(_PURPOSE, _signed(place, path, expires))
    return f"expires={expires}&signature={base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def is_signed(ring: KeyRing, place: Place, path: str, expires: int, signature: str) -> bool:
    """Whether a query string has been signed for that file, and is still good."""
    if not _SIGNATURE.fullmatch(signature):
        return False
    raw = base64.urlsafe_b64decode(signature + "=")
    return ring.verify(_PURPOSE, _signed(place, path, expires), raw) and time.time() < expires


def _signed(place: Place, path: str, expires: int) -> bytes:
    parts = (place.workspace, place.app, place.home.parent.name, path, str(expires))
    # Each with its length, so that no two lists of parts are the same bytes.
    return b"".join(b"%d:%b" % (len(raw), raw) for raw in (part.encode() for part in parts))
