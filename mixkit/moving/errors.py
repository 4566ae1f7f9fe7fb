"""What goes wrong with other servers."""

from __future__ import annotations

from mixkit.errors import MixError

__all__ = ["RemoteError"]


class RemoteError(MixError):
    """What was asked of another server cannot be had: it cannot be reached, refuses, or answers something else."""

    code = "remote"
