"""Which part of a file a request is to get, if any: conditions and ranges (RFC 9110, sections 13 and 14).

One range is answered as such. Several at once, other units, and what is no range are passed over, as the RFC wants it:
the whole file is the answer then.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from mix_server.errors import PreconditionFailed, Refusal
from mix_server.match import tags_of

if TYPE_CHECKING:
    from mix_server.request import Request
    from mixkit.filesystem import FileInfo

__all__ = ["NoSuchPart", "http_date", "is_known", "part_of"]

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.ASCII | re.IGNORECASE)


class NoSuchPart(Refusal):
    """The file ends before the part that is asked for begins."""

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"expected a part of the {size} bytes that the file has")
        self.headers = {"Content-Range": f"bytes */{size}"}  # type: ignore[misc]


def http_date(modified: int) -> str:
    """Unix milliseconds as HTTP has them."""
    return formatdate(modified // 1_000, usegmt=True)


def is_known(req: Request, info: FileInfo) -> bool:
    """Whether the reader has that version of a file already.

    Raises:
        PreconditionFailed: it is not the version that the reader wants.
    """
    tag = f'"{info.etag}"'
    wanted = req.get_header("If-Match")
    if wanted is not None:
        tags = tags_of("If-Match", wanted)
        if "*" not in tags and tag not in tags:
            raise PreconditionFailed(
                "expected the version of the file that If-Match names, found another one"
            )
    elif (
        since := _moment(req.get_header("If-Unmodified-Since"))
    ) is not None and info.modified // 1_000 > since:
        raise PreconditionFailed("expected a file that is older than If-Unmodified-Since, found a newer one")
    known = req.get_header("If-None-Match")
    if known is not None:
        # A reader's copy is as good if it is only equivalent.
        tags = [found.removeprefix("W/") for found in tags_of("If-None-Match", known)]
        return "*" in tags or tag in tags
    since = _moment(req.get_header("If-Modified-Since"))
    return since is not None and info.modified // 1_000 <= since


def part_of(req: Request, info: FileInfo) -> tuple[int, int] | None:
    """Where the part begins and ends that a request asks for; None for the whole file.

    Raises:
        NoSuchPart: it begins behind the end.
    """
    header = req.get_header("Range")
    found = None if header is None else _RANGE.fullmatch(header.strip())
    if found is None or not _is_current(req, info):
        return None
    first, last, tail = found.groups()
    if tail is not None:
        start, stop = max(0, info.size - int(tail)), info.size
    else:
        start, stop = int(first), min(int(last) + 1, info.size) if last else info.size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise NoSuchPart(info.size)
    return start, stop


def _is_current(req: Request, info: FileInfo) -> bool:
    """Whether the version is the one of which the reader has another part, if it says so."""
    header = req.get_header("If-Range")
    if header is None:
        return True
    if header.startswith(('"', "W/")):
        return header == f'"{info.etag}"'
    # NOTE: a file may change twice in a second, so a date says too little unless it is well in the past.
    since = _moment(header)
    return (
        since is not None and since == info.modified // 1_000 and since + 60 < datetime.now(UTC).timestamp()
    )


def _moment(header: str | None) -> float | None:
    """Unix seconds of a date; None if there is none, or it is no date, which is passed over."""
    if header is None:
        return None
    try:
        return parsedate_to_datetime(header).replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
