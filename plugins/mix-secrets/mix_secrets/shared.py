"""What the server keeps in the vaults of workspaces (`mixkit.vault`): secrets that belong to no app.

Locks are files of their own in the folder of the vault, named by a digest, which the system lets go of when a process
dies; they stay there, empty, since a file that is removed while somebody waits for it locks nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mix_secrets.names import Name
from mix_secrets.settings import SecretsSettings
from mix_secrets.vaults import FOLDER, found_in
from mixkit.errors import NotFound, StorageError
from mixkit.vault import Kept, Label

if TYPE_CHECKING:
    from mix_secrets.vault import Vault
    from mixkit.keyring import KeyRing

__all__ = ["SharedVault", "SharedVaults"]

_LOCKS: Final = "locks"
_LOCK_FILES: Final = 1_024
"""Of one workspace: two labels seldom have one, and then wait for one another, which nothing depends on."""
_PAUSE: Final = 0.02
"""Seconds between two looks at a lock that somebody has."""


class SharedVaults:
    """The vaults of all workspaces, those that the FFIs use too."""

    def __init__(self, settings: SecretsSettings) -> None:
        pass

    def of(self, root: Path, workspace: str, ring: KeyRing) -> SharedVault:
        """The vault of the workspace in that directory."""
        folder = root / FOLDER
        return SharedVault(found_in(folder, workspace, ring), folder)


class SharedVault:
    """What the vault of one workspace has that is no app's."""

    def __init__(self, vault: Vault, folder: Path) -> None:
        self._vault = vault
        self._folder = folder

    def read(self, label: Label) -> Kept | None:
        """What is kept under a label."""
        found = self._vault.kept(_name(label))
        return None if found is None else Kept(*found)

    def write(self, label: Label, value: bytes, extra: dict[str, Any]) -> int:
        """Keep something in place of what is there; answers its version."""
        return self._vault.put(_name(label), value, extra)

    def take(self, label: Label, version: int | None = None) -> Kept | None:
        """Remove something and answer it: of all who take it at once, one gets it."""
        found = self._vault.take(_name(label), version)
        return None if found is None else Kept(*found)

    def labels(self, kind: str, user: str | None = None) -> list[tuple[Label, int]]:
        """What there is of a kind, and when each was changed."""
        return [
            (Label(kind, entry.name.user, entry.name.name), entry.changed)
            for entry in self._vault.entries("", user)
            if entry.name.kind == kind
        ]

    @contextlib.asynccontextmanager
    async def locked(self, label: Label, seconds: float) -> AsyncIterator[None]:
        """Be the only one who holds that label; `TimeoutError` if that takes longer."""
        import asyncio
        import fcntl

        number = int.from_bytes(
            hashlib.sha256("\0".join(label).encode("utf-8", "surrogatepass")).digest()[:8]
        )
        opened = self._open(f"{number % _LOCK_FILES:03x}")
        until = time.monotonic() + seconds
        try:
            while True:
                try:
                    # NOTE: of this open file, so that it keeps out other tasks of this process as well.
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise TimeoutError(f"another process has held it for {seconds:g} s") from None
                    await asyncio.sleep(_PAUSE)
                else:
                    break
            yield
        finally:
            os.close(opened)

    def _open(self, name: str) -> int:
        locks = self._folder / _LOCKS
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            locks.mkdir(mode=0o700, exist_ok=True)
            return os.open(locks / name, flags, 0o600)
        except FileNotFoundError:
            raise NotFound("the workspace is gone, and its secrets with it") from None
        except OSError as exc:
            raise StorageError(f"cannot open the lock {str(locks / name)!r}: {exc.strerror}") from None


def _name(label: Label) -> Name:
    return Name("", label.user, label.kind, label.name)
