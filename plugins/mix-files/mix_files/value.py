"""What an agent gets of a file: `{app, path, kind, metadata, url}`."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mixkit.file_urls import url_of
from mixkit.filesystem import FileInfo
from mixkit.storage import Place

if TYPE_CHECKING:
    from mimetypes import MimeTypes

__all__ = ["REGISTERED", "file_value", "guessed", "own"]

REGISTERED: Final = "mixkit-url"
"""Metadata of a file that stands for a URL elsewhere: which one. Agents cannot set it by hand."""
_OURS: Final = "mixkit-"
_BYTES: Final = "application/octet-stream"


def file_value(place: Place, info: FileInfo) -> dict[str, Any]:
    """The file as agents see it. In a list nothing is known of its type, SHA-256 and properties."""
    metadata: dict[str, Any] = {"size": info.size, "etag": info.etag, "modified": info.modified}
    said = info.metadata
    if said is not None:
        metadata["contentType"] = info.content_type
        metadata["sha256"] = info.sha256
        metadata["properties"] = own(said)
    url = (said or {}).get(REGISTERED)
    if url is None:
        url = url_of(place, info.path)
    return {"app": place.app, "path": info.path, "kind": "persisted", "metadata": metadata, "url": url}


def own(metadata: Mapping[str, str]) -> dict[str, str]:
    """What an agent has said of a file, without what mixkit has."""
    return {name: text for name, text in metadata.items() if not name.startswith(_OURS)}


def guessed(path: str, *, text: bool) -> str:
    """The content type of a file that nobody has said: by its name, else by whether it is text."""
    found = _types().guess_type(posixpath.basename(path), strict=False)
    # What is compressed is not what is in it.
    kind = found[0] if found[1] is None else None
    if kind is None:
        kind = "text/plain" if text else _BYTES
    return f"{kind}; charset=utf-8" if text and kind.startswith("text/") else kind


@functools.lru_cache(maxsize=1)
def _types() -> MimeTypes:
    import mimetypes

    # Without the files of the system, which are others on each machine.
    return mimetypes.MimeTypes()
