"""What `$file_*` take besides paths and bytes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mixkit.errors import FFIError
from mixkit.filesystem import ABSENT

__all__ = [
    "ChangeOptions",
    "CreateOptions",
    "GetOptions",
    "ListOptions",
    "PropsOptions",
    "ReadOptions",
    "condition",
    "tagged",
]


class GetOptions(msgspec.Struct, frozen=True):
    """What the URL of a file is to be good for."""

    signedFor: Annotated[float | None, "seconds for which everybody who has the URL may read the file"] = None


class ReadOptions(msgspec.Struct, frozen=True):
    """Which part of a file, and of which version."""

    start: Annotated[int, "bytes before it"] = 0
    length: Annotated[int | None, "bytes at most; the setting files.read_bytes is the cap"] = None
    ifMatch: Annotated[str | None, "the ETag that it must have"] = None
    text: Annotated[bool, "answer a string; the file must be UTF-8"] = False


class CreateOptions(msgspec.Struct, frozen=True):
    """What is said of a file, and what it may replace."""

    contentType: Annotated[str | None, "guessed from the path unless given"] = None
    properties: Annotated[dict[str, str] | None, "texts by name"] = None
    force: Annotated[bool, "replace a file that has the path"] = False
    ifMatch: Annotated[str | None, "replace the file that has this ETag"] = None
    more: Annotated[bool, "further pieces come"] = False


class ListOptions(msgspec.Struct, frozen=True):
    """Which part of a list."""

    after: Annotated[str | None, "what the page before answered"] = None
    limit: Annotated[int, "files of a page, 1 to 1,000"] = 100


class ChangeOptions(msgspec.Struct, frozen=True):
    """What a file that is renamed or copied may replace."""

    force: Annotated[bool, "replace a file that has the path"] = False
    ifMatch: Annotated[str | None, "replace the file that has this ETag"] = None


class PropsOptions(msgspec.Struct, frozen=True):
    """What is to be said of a file from now on."""

    contentType: str | None = None
    properties: Annotated[
        dict[str, str | None] | None, "texts by name, laid over those there are; null takes one away"
    ] = None
    ifMatch: Annotated[str | None, "the ETag that the file must have"] = None


def condition(force: bool, if_match: str | None) -> str | None:
    """The `only_if` of a change.

    Raises:
        FFIError: both are given, or the ETag is empty.
    """
    if if_match is None:
        return None if force else ABSENT
    if force:
        raise FFIError(
            "expected force or ifMatch, found both: one replaces whatever there is, one a version alone"
        )
    return tagged(if_match)


def tagged(if_match: str) -> str:
    """The ETag. FFIError if it is empty, which no file's is."""
    if not if_match:
        raise FFIError("ifMatch: expected an ETag, as metadata.etag of a file has it, found an empty string")
    return if_match
