"""What an agent gets of a file: `{app, path, kind, metadata, url}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mixkit.file_urls import url_of
from mixkit.filesystem import FileInfo
from mixkit.storage import Place

__all__ = ["REGISTERED", "file_value", "own"]

REGISTERED: Final = "mixkit-url"
"""Metadata of a file that stands for a URL elsewhere: which one. Agents cannot set it by hand."""
_OURS: Final = "mixkit-"


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
        # Code that is run outside of workspaces has files where no server sees them.
        url = url_of(place, info.path) if place.workspace else None
    return {"app": place.app, "path": info.path, "kind": "persisted", "metadata": metadata, "url": url}


def own(metadata: Mapping[str, str]) -> dict[str, str]:
    """What an agent has said of a file, without what mixkit has."""
    return {name: text for name, text in metadata.items() if not name.startswith(_OURS)}
