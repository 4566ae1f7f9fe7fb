"""Where the processes of a bus find each other: a directory of theirs alone, with a lock and a socket in it.

Whoever has the lock carries the messages. It is flock(2): the kernel gives it back when its holder ends, however
that is.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mixkit.bus import BusError

__all__ = ["Lead", "check_peer", "lead", "reach"]

_LOCK: Final = "lock"
_SOCKET: Final = "socket"
_BACKLOG: Final = 128
_CREDENTIALS: Final = struct.Struct("3i")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Lead:
    """The lock, and the socket at which the others come."""

    def __init__(self, directory: Path, descriptor: int, listener: socket.socket) -> None:
        self._directory = directory
        self._descriptor = descriptor
        self.listener = listener

    @property
    def stands(self) -> bool:
        """Whether the lock is still where others look for it: somebody may have removed the directory."""
        try:
            found = (self._directory / _LOCK).stat()
            return self._descriptor >= 0 and os.path.samestat(found, os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """Let another lead. Twice is harmless."""
        # Taken first: of two who close it at once, the other one would close what has its number by then.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self.listener.close()
            # Closing alone would not do while a child between fork and exec has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: it is the parent's, who keeps it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self.listener.close()
            os.close(descriptor)


def lead(directory: Path) -> Lead | None:
    """The lead, or None if another process has it. The directory is made if there is none.

    Raises:
        BusError: the directory is not ours alone, or sockets cannot be in it.
    """
    with _opened(directory) as folder:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(_LOCK, flags, 0o600, dir_fd=folder)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                os.unlink(_SOCKET, dir_fd=folder)
            listener.bind(_path(folder))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except BaseException as exc:
            listener.close()
            os.close(descriptor)
            if isinstance(exc, BlockingIOError):
                return None
            raise
    return Lead(directory, descriptor, listener)


def reach(directory: Path) -> socket.socket | None:
    """A connection to who leads, or None if nobody answers.

    Raises:
        BusError: the directory, or who answers, is not ours.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with _opened(directory) as folder:
            connection.connect(_path(folder))
        check_peer(connection)
    except BaseException as exc:
        connection.close()
        if isinstance(exc, ConnectionError | FileNotFoundError | BlockingIOError):
            return None
        raise
    return connection


def check_peer(connection: socket.socket) -> None:
    """Raise `BusError` unless the other side runs for the same user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    if user != os.geteuid():
        raise BusError(f"the bus is for processes of user {os.geteuid()}, found one of user {user}")


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(directory, _DIRECTORY)
        try:
            found = os.fstat(folder)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise BusError(
                    f"the directory of the bus, {directory.name!r}: expected one of user {os.geteuid()} with mode "
                    f"0700, found user {found.st_uid} and mode {found.st_mode & 0o7777:04o}; remove it, or set these"
                )
            yield folder
        finally:
            os.close(folder)
    except (BlockingIOError, ConnectionError, FileNotFoundError):
        raise
    except OSError as exc:
        raise BusError(
            f"the directory of the bus, {directory.name!r}, cannot be used: {exc.strerror or exc}; messages need a "
            "directory of this machine that can be written, or a broker"
        ) from None


def _path(folder: int) -> str:
    # A socket's path has 107 bytes at most, a directory's 4,095.
    return f"/proc/self/fd/{folder}/{_SOCKET}"
