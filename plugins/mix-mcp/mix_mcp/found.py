"""Which local server a command is about."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mix_mcp.settings import McpSettings
from mixkit.errors import MixError

if TYPE_CHECKING:
    from mix_mcp.local_server import LocalServer
    from mix_mcp.state_dir import StateDir, Wanted
    from mixkit.cli.session import Session

__all__ = ["local_server", "place_of", "served_here", "tell"]


def place_of(session: Session, port: int | None) -> tuple[StateDir, int]:
    """The folder and the port of the local server, of the settings if none is given.

    Raises:
        MixError: there can be none on this system.
    """
    if sys.platform == "win32":
        raise MixError(
            "there is no local server on Windows, which has not what it is met by: leave --local away"
        )
    from mix_mcp.state_dir import StateDir, default_path

    found = port or session.settings("mcp", McpSettings).port
    return StateDir(default_path(found)), found


def served_here(session: Session, ws_dir: Path | None) -> Wanted:
    """What the local server is to serve: the directory that is given, or that which `mixkit serve` would here."""
    from mix_mcp.local_server import wanted_of

    if ws_dir is None:
        from mix_server.settings import ServerSettings

        ws_dir = Path(session.settings("server", ServerSettings).ws_dir)
    return wanted_of(session, ws_dir)


def local_server(session: Session, port: int | None, ws_dir: Path | None) -> LocalServer:
    """The local server, which may not run yet."""
    from mix_mcp.local_server import LocalServer

    folder, port = place_of(session, port)
    return LocalServer(folder, port, served_here(session, ws_dir), session, tell)


def tell(text: str) -> Any:
    """Say what takes a while, where it is not taken for an answer."""
    click.echo(f"mixkit: {text}", err=True)
