"""What the paths of files take and answer."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from mixkit.file_urls import MAX_LIFETIME

__all__ = [
    "MOST",
    "Change",
    "Copy",
    "FilePage",
    "FileValue",
    "Listed",
    "Named",
    "Register",
    "Sign",
    "SignedUrl",
]

MOST: Final = 1_000
"""Files of a page of a list."""

Seconds = Annotated[float, Meta(gt=0, le=MAX_LIFETIME)]


class FileMetadata(TypedDict):
    """What is known of a file; in a list not all of it is."""

    size: int
    etag: str
    modified: int
    contentType: NotRequired[str]
    sha256: NotRequired[str | None]
    properties: NotRequired[dict[str, str]]


class FileValue(TypedDict):
    """A file as agents and these paths tell of it."""

    app: str
    path: str
    kind: Literal["persisted"]
    metadata: FileMetadata
    url: str | None


class FilePage(TypedDict):
    """A part of a list of files; `after` asks for the next."""

    files: list[FileValue]
    after: str | None


class Listed(msgspec.Struct):
    """Which part of a list."""

    folder: str = "/"
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 100


class Named(msgspec.Struct):
    """Which file."""

    path: str
    force: bool = False
    signed_for: Seconds | None = None


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be said of a file from now on, or another path for it. A property that is null is taken away."""

    contentType: str | None = None
    properties: dict[str, str | None] | None = None
    path: str | None = None
    force: bool = False


class Copy(msgspec.Struct, forbid_unknown_fields=True):
    """From which path to which; `force` replaces what is there."""

    source: str
    target: str
    force: bool = False


class Register(msgspec.Struct, forbid_unknown_fields=True):
    """A path and the URL elsewhere for which it is to stand."""

    path: str
    url: str
    contentType: str | None = None
    properties: dict[str, str] = {}
    force: bool = False


class Sign(msgspec.Struct, forbid_unknown_fields=True):
    """What may be stored by whoever has the URL, for how long, and how many bytes at most."""

    path: str
    seconds: Seconds
    most: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    force: bool = False


class SignedUrl(TypedDict):
    """Where to PUT the bytes of a file, without a token."""

    url: str
