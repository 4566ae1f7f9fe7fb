"""Where a browser goes in the end: a path of this server, however it is written, or nowhere."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from mix_server.errors import BadRequest

__all__ = ["own_path"]

_LONGEST: Final = 2_048
_PATH: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
"""No control characters, which browsers leave out, and no backslashes, which they take for slashes: either could make
`//host` of it. What is not ASCII comes percent-encoded."""


def own_path(text: str) -> str:
    """The path, with its query and fragment, if it is one of this server.

    Raises:
        BadRequest: it leads elsewhere, or may.
    """
    fits = len(text) <= _LONGEST and _PATH.fullmatch(text) is not None
    if fits:
        parts = urlsplit(text)
        # NOTE: `/./` and `/../` in front of `//host` are taken out by browsers.
        fits = not parts.scheme and not parts.netloc and "//" not in parts.path and "\\" not in parts.path
    if not fits:
        raise BadRequest(f"expected then=/path, a path of this server, found {text!r:.200}")
    return text
