"""What is told of a file, to agents and over HTTP alike: `{app, path, kind, metadata, url}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from mixkit.errors import FileError
from mixkit.file_urls import url_of
from mixkit.filesystem import FileInfo
from mixkit.storage import Place

__all__ = ["REGISTERED", "check_url", "file_value", "is_own", "own", "stands_for"]

REGISTERED: Final = "mixkit-url"
"""Metadata of a file that stands for a URL elsewhere: which one. Nobody sets it by hand."""
_OURS: Final = "mixkit-"
_LONGEST_URL: Final = 1_900


def file_value(place: Place, info: FileInfo) -> dict[str, Any]:
    """The file as it is told. In a list nothing is known of its type, SHA-256 and properties."""
    metadata: dict[str, Any] = {"size": info.size, "etag": info.etag, "modified": info.modified}
    if info.metadata is not None:
        metadata["contentType"] = info.content_type
        metadata["sha256"] = info.sha256
        metadata["properties"] = own(info.metadata)
    url = stands_for(info)
    if url is None:
        # Code that is run outside of workspaces has files where no server sees them.
        url = url_of(place, info.path) if place.workspace else None
    return {"app": place.app, "path": info.path, "kind": "persisted", "metadata": metadata, "url": url}


def stands_for(info: FileInfo) -> str | None:
    """The URL elsewhere that a file stands for; None for a file with bytes of its own."""
    return (info.metadata or {}).get(REGISTERED)


def own(metadata: Mapping[str, str]) -> dict[str, str]:
    """What has been said of a file, without what mixkit has."""
    return {name: text for name, text in metadata.items() if is_own(name)}


def is_own(name: str) -> bool:
    """Whether that is a name of metadata for everybody: those of mixkit have a beginning of their own."""
    return not name.startswith(_OURS)


def check_url(url: str) -> str:
    """The URL itself, if a file may stand for it.

    Raises:
        FileError: it is no absolute http or https URL, or has a password.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:
        fits = False
    if not fits or not url.isascii() or not url.isprintable() or " " in url or len(url) > _LONGEST_URL:
        raise FileError(
            f"expected an absolute URL, https://…, of at most {_LONGEST_URL} printable ASCII characters and without a "
            f"user name, found {url!r:.100}"
        )
    return url
