"""What goes wrong with other servers."""

from __future__ import annotations

from mixkit.errors import MixError

__all__ = ["RemoteError", "RemoteRefused"]


class RemoteError(MixError):
    """What was asked of another server cannot be had: it cannot be reached, refuses, or answers something else."""

    code = "remote"


class RemoteRefused(RemoteError):
    """The other server answers with that status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
