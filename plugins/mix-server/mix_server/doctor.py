"""What `mixkit doctor` says of the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mix_server import auth
from mix_server.settings import MAX_WALL_TIME
from mixkit.contracts import Check
from mixkit.errors import ProfileError

if TYPE_CHECKING:
    from mix_server.settings import ServerSettings

__all__ = ["checks"]


def checks(kernel: Any) -> list[Check]:
    """The server's settings, looked at without starting anything."""
    settings: ServerSettings = kernel.settings("server")
    return [_workspaces(settings), _authentication(settings), _time(kernel.limits.wall_time)]


def _workspaces(settings: ServerSettings) -> Check:
    path = Path(settings.ws_dir)
    nearest = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Check(
            "server workspaces",
            "error",
            f"{settings.ws_dir!r} is no directory that can be written, and none can be made there",
            "set settings.server.ws_dir to one",
        )
    return Check("server workspaces", "ok", f"{settings.ws_dir!r}")


def _authentication(settings: ServerSettings) -> Check:
    name = "server authentication"
    if settings.no_auth:
        message = "off: everybody on this machine may do everything"
        return Check(name, "warning", message, "leave settings.server.no_auth away")
    try:
        if settings.token is not None:
            auth.OperatorToken(settings.token)
    except ProfileError as exc:
        return Check(name, "error", str(exc), "set a longer MIXKIT_SERVER_TOKEN")
    operator = (
        "by the token that is set"
        if settings.token is not None
        else "by a token that each start makes; set MIXKIT_SERVER_TOKEN to keep one"
    )
    users = "" if settings.jwks_url is None else f"; users by tokens for {settings.jwt_audience!r}"
    return Check(name, "ok", operator + users)


def _time(wall_time: float) -> Check:
    if wall_time > MAX_WALL_TIME:
        return Check(
            "server timeout",
            "error",
            f"limits.wall_time is {wall_time:g} s; a request has at most {MAX_WALL_TIME:g} s",
            f"set limits.wall_time to {MAX_WALL_TIME:g} or less",
        )
    return Check("server timeout", "ok", f"{wall_time:g} s a run")
