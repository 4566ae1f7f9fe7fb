"""What can go wrong with workspaces, besides `PackageError` for packages themselves."""

from __future__ import annotations

from mixkit.errors import MixError, NotFound

__all__ = ["BadName", "Busy", "Exists"]


class BadName(NotFound, ValueError):
    """A name that no workspace, app or agent can have. A `NotFound`, because looking it up finds nothing."""

    code = "name"


class Exists(MixError):
    """A workspace or an app of that name is already there."""

    code = "exists"


class Busy(MixError):
    """Another process kept the workspace locked for too long. Try again."""

    code = "busy"
