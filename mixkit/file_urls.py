"""Signed URLs: whoever has one may read, or store, that file until a moment, and needs no token.

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

__all__ = ["MAX_LIFETIME", "is_signed", "is_signed_upload", "signed_query", "upload_query", "url_of"]

_PURPOSE: Final = "file url"
_UPLOAD: Final = "file upload url"
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
    expires = _end(seconds)
    signature = ring.sign(_PURPOSE, _signed(place, path, str(expires)))
    return f"expires={expires}&signature={_text(signature)}"


def is_signed(ring: KeyRing, place: Place, path: str, expires: int, signature: str) -> bool:
    """Whether a query string has been signed for that file, and is still good."""
    return _is_good(ring, _PURPOSE, _signed(place, path, str(expires)), expires, signature)


def upload_query(
    ring: KeyRing, place: Place, path: str, seconds: float, most: int, *, force: bool = False
) -> str:
    """The query string with which everybody may store a file for so many seconds.

    Args:
        most: bytes that it may have.
        force: one that is there is replaced; else there must be none, so it is good once.

    Raises:
        ValueError: for no time, or more than `MAX_LIFETIME`.
    """
    expires = _end(seconds)
    terms = f"expires={expires}&most={most}&force={'true' if force else 'false'}"
    signature = ring.sign(_UPLOAD, _signed(place, path, terms))
    return f"{terms}&signature={_text(signature)}"


def is_signed_upload(
    ring: KeyRing, place: Place, path: str, expires: int, most: int, force: bool, signature: str
) -> bool:
    """Whether a query string has been signed for storing that file, and is still good."""
    terms = f"expires={expires}&most={most}&force={'true' if force else 'false'}"
    return _is_good(ring, _UPLOAD, _signed(place, path, terms), expires, signature)


def _is_good(ring: KeyRing, purpose: str, signed: bytes, expires: int, signature: str) -> bool:
    if not _SIGNATURE.fullmatch(signature):
        return False
    raw = base64.urlsafe_b64decode(signature + "=")
    return ring.verify(purpose, signed, raw) and time.time() < expires


def _end(seconds: float) -> int:
    if not 0 < seconds <= MAX_LIFETIME:
        raise ValueError(f"expected more than 0 and at most {MAX_LIFETIME} seconds, found {seconds}")
    return int(time.time() + seconds) + 1


def _text(signature: bytes) -> str:
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def _signed(place: Place, path: str, terms: str) -> bytes:
    parts = (place.workspace, place.app, place.home.parent.name, path, terms)
    # Each with its length, so that no two lists of parts are the same bytes.
    return b"".join(b"%d:%b" % (len(raw), raw) for raw in (part.encode() for part in parts))
