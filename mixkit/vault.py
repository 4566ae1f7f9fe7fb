"""Where a server keeps what is secret for a workspace and its users, apart from what agents keep: a contract.

A plugin offers, with the hook `mix_vaults`, a class that meets `Vaults`, made with its settings.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mixkit.keyring import KeyRing

__all__ = ["Kept", "Label", "Vault", "Vaults"]


class Label(NamedTuple):
    """What something in a vault is called.

    Attributes:
        kind: what it is, for the plugin that keeps it.
        user: whose it is; empty for the workspace's own.
        name: among those of the kind that the user has.
    """

    kind: str
    user: str
    name: str


class Kept(NamedTuple):
    """What is in a vault under a label.

    Attributes:
        value: the secret.
        extra: what is kept with it.
        version: grows with each change, and is never used again.
    """

    value: bytes
    extra: dict[str, Any]
    version: int


class Vault(Protocol):
    """What is kept for one workspace; sealed, and the same for all processes.

    Thread-safe; what a call does is on the disk when it returns, or was not done. All raise `StorageError`, and
    `KeyRingError` if the master keys do not fit.
    """

    def read(self, label: Label) -> Kept | None:
        """What is kept under a label."""
        ...

    def write(self, label: Label, value: bytes, extra: dict[str, Any]) -> int:
        """Keep something in place of what is there; answers its version. `NotFound` if the workspace is gone."""
        ...

    def take(self, label: Label, version: int | None = None) -> Kept | None:
        """Remove something and answer it: of all who take it at once, in all processes, one gets it.

        Args:
            version: only if it is still this one.
        """
        ...

    def labels(self, kind: str, user: str | None = None) -> list[tuple[Label, int]]:
        """What there is of a kind, sorted, and when each was changed, in milliseconds since 1970."""
        ...

    def locked(self, label: Label, seconds: float) -> AbstractAsyncContextManager[None]:
        """Be the only one, of all tasks in all processes, who holds that label. A process that dies lets go of it.

        Args:
            seconds: how long to wait for it; `TimeoutError` after that.
        """
        ...


class Vaults(Protocol):
    """The vaults of all workspaces."""

    def of(self, root: Path, workspace: str, ring: KeyRing) -> Vault:
        """The vault of the workspace in that directory; made when something is first kept in it."""
        ...
