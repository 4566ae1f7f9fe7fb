"""Resources: the files of apps, their stored queries, and records of the type `mcp_resource`.

    mix://APP/files/PATH                    a file
    mix://APP/query/NAME?param=text         what a stored query answers, JSON

    {"_rmx_type": "mcp_resource", "uri": "docs://terms", "name": "terms", "mimeType": "text/plain", "text": "…"}
    {"_rmx_type": "mcp_resource", "uriTemplate": "docs://{id}/text", "name": "text", "agent": "text",
     "values"?: {"id": ["…"]}}

A record has `text`, or `blob` (a binary), or names an `agent` of its app, which takes what stands in the places of the
template, and `uri`, and answers a text, a binary, or any value, which goes out as JSON.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from mixkit import tagged_json

__all__ = ["Named", "content_of", "file_uri", "named_of", "own", "query_uri"]

_OWN: Final = re.compile(r"mix://([A-Za-z0-9_-]{1,63})/(files|query)/([^?#]+)(?:\?([^#]*))?", re.ASCII)
_PLACE: Final = re.compile(r"\\\{([A-Za-z_][A-Za-z0-9_]{0,63})\\\}", re.ASCII)
_MOST_PLACES: Final = 10
JSON: Final = "application/json"


class Named(msgspec.Struct, frozen=True):
    """A resource, or a template of several, that a record describes."""

    app: str
    listed: dict[str, Any]
    row: Mapping[str, Any]

    def places(self, uri: str) -> dict[str, str] | None:
        """What stands in the places of the template if that is one of its resources; empty for a resource that it is;
        None for another one."""
        own = self.listed.get("uri")
        if own is not None:
            return {} if own == uri else None
        # A place stands for one step of a path, so that no text takes longer than it is long.
        pattern = _PLACE.sub(r"(?P<\1>[^/?#]+)", re.escape(self.listed["uriTemplate"]))
        found = re.fullmatch(pattern, uri)
        return None if found is None else {name: unquote(text) for name, text in found.groupdict().items()}


def named_of(records: list[tuple[str, Mapping[str, Any]]]) -> list[Named]:
    """What records describe. One that is none is passed over."""
    found = []
    for app, row in records:
        key = "uri" if isinstance(row.get("uri"), str) else "uriTemplate"
        uri, name = row.get(key), row.get("name")
        if (
            not isinstance(uri, str)
            or not isinstance(name, str)
            or (key == "uriTemplate" and not _is_template(uri))
        ):
            continue
        listed = {key: uri, "name": name}
        for more in ("title", "description", "mimeType"):
            if isinstance(row.get(more), str):
                listed[more] = row[more]
        listed.setdefault("description", "")
        found.append(Named(app, listed, row))
    return found


def _is_template(text: str) -> bool:
    """Whether each place has a name of its own, and something stands between any two."""
    names = re.findall(r"\{([^{}]*)\}", text)
    return (
        0 < len(names) <= _MOST_PLACES
        and len(set(names)) == len(names)
        and all(name.isidentifier() and name.isascii() and len(name) <= 64 for name in names)
        and "}{" not in text
    )


def file_uri(app: str, path: str) -> str:
    """Of a file of an app."""
    return f"mix://{app}/files/{quote(path.lstrip('/'))}"


def query_uri(app: str, name: str) -> str:
    """Of a stored query of an app."""
    return f"mix://{app}/query/{quote(name)}"


def own(uri: str) -> tuple[str, str, str, str] | None:
    """App, kind (`files`, `query`), name and query string of a resource that no record describes; None of another."""
    found = _OWN.fullmatch(uri)
    if found is None:
        return None
    app, kind, name, query = found.groups()
    return app, kind, unquote(name), query or ""


def content_of(uri: str, kind: str | None, value: Any) -> dict[str, Any]:
    """The contents of a resource: a text as it is, a binary as Base64, any other value as JSON."""
    about: dict[str, Any] = {"uri": uri}
    if isinstance(value, str):
        about |= {"mimeType": kind or "text/plain", "text": value}
    elif isinstance(value, bytes):
        about |= {"mimeType": kind or "application/octet-stream", "blob": base64.b64encode(value).decode()}
    else:
        about |= {"mimeType": kind or JSON, "text": tagged_json.dumps(value)}
    return about
