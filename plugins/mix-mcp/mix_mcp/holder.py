"""Which processes live, for others that see the same workspaces.

Each holds a lock on a file of its own: flock(2), which the kernel gives back when its holder ends, however it does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

__all__ = ["Holder"]


class Holder:
    """This process, among those of a folder.

    Args:
        folder: where the files are; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._file = -1

    @property
    def name(self) -> str:
        """Under which this process is known to the others, as long as it lives."""
        if not self._name:
            self._folder.mkdir(exist_ok=True)
            name = secrets.token_hex(8)
            self._file = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._name = name
        return self._name

    def lives(self, name: str) -> bool:
        """Whether the process of that name, this one or another, has not ended."""
        if not name or not name.isalnum():
            return False
        path = self._folder / name
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        path.unlink(missing_ok=True)
        return False

    def close(self) -> None:
        """It ends."""
        if self._name:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / self._name).unlink()
            os.close(self._file)
            self._name = ""
