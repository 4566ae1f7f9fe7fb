"""The configuration of Claude Desktop: which servers it starts. What else is in the file stays as it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mixkit.errors import MixError
from mixkit.near import meant
from mixkit.whole_file import whole_file

__all__ = ["default_path", "is_ours", "read", "server_of", "with_server", "without_server", "write"]

_SERVERS: Final = "mcpServers"
_MOST: Final = 4 << 20
"""Bytes of a configuration."""


def default_path(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> Path:
    """Where Claude Desktop has its configuration.

    Raises:
        MixError: the environment does not say where that is.
    """
    if platform == "win32":
        folder = environ.get("APPDATA")
        if not folder:
            raise MixError("expected APPDATA in the environment, found none: say --config PATH")
        return Path(folder) / "Claude" / "claude_desktop_config.json"
    if platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "Claude" / "claude_desktop_config.json"


def read(path: Path) -> dict[str, Any]:
    """What is in the file; nothing if there is none.

    Raises:
        MixError: it cannot be read, or is not what it should be: then it is not to be written either.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise MixError(f"{path}: it cannot be read: {exc.strerror}") from None
    try:
        if len(data) > _MOST:
            raise ValueError(f"it has more than {_MOST} bytes")
        found = json.loads(data.decode(), object_pairs_hook=_object) if data.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise MixError(f"{path}: expected JSON, and nothing was changed: {exc}") from None
    if type(found) is not dict or type(found.get(_SERVERS, {})) is not dict:
        raise MixError(f"{path}: expected an object whose {_SERVERS} is one too, and nothing was changed")
    return found


def server_of(config: Mapping[str, Any], name: str) -> Any:
    """The server of that name; None if there is none."""
    return config.get(_SERVERS, {}).get(name)


def with_server(config: Mapping[str, Any], name: str, server: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a server under that name.

    Raises:
        MixError: the name is that of a server which is none of ours.
    """
    servers = config.get(_SERVERS, {})
    if name in servers and not is_ours(servers[name]):
        raise MixError(f"{name!r} is another server already: say --name with another name")
    return {**config, _SERVERS: {**servers, name: dict(server)}}


def without_server(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same without it.

    Raises:
        MixError: there is none of that name, or one that is none of ours.
    """
    servers = dict(config.get(_SERVERS, {}))
    if name not in servers:
        ours = [other for other, server in servers.items() if is_ours(server)]
        raise MixError(
            f"no server {name!r} is installed; mixkit has installed {', '.join(map(repr, ours)) or 'none'}"
            f"{meant(name, ours)}"
        )
    if not is_ours(servers.pop(name)):
        raise MixError(f"{name!r} is no server that mixkit has installed: take it out by hand")
    return {**config, _SERVERS: servers}


def is_ours(server: Any) -> bool:
    """Whether an entry starts `mixkit mcp`."""
    arguments = server.get("args") if type(server) is dict else None
    return type(arguments) is list and arguments[:3] == ["-P", "-m", "mixkit"] and "mcp" in arguments


def write(path: Path, config: Mapping[str, Any]) -> None:
    """Put it in the place of what is there, all of it or nothing. What it links to is written, not the link.

    Raises:
        MixError: it cannot be written.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It may hold tokens.
        with whole_file(path, private=True) as file:
            file.write(json.dumps(config, ensure_ascii=False, indent=2).encode() + b"\n")
    except OSError as exc:
        raise MixError(f"{path}: it cannot be written: {exc.strerror}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a name twice, of which one would be lost")
    return found
