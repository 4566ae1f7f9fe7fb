"""A file that is being written: on disk, where nobody looks for files, until it takes its place.

It is as long as what it may become, so that all who write see what is taken already; and it is locked as long as
somebody writes it, so that what a killed process left is told from what is in use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
import time
from contextlib import suppress
from typing import Final

from mix_files import trailer
from mix_files.trailer import Trailer
from mixkit.errors import FileError

__all__ = ["Draft", "reserved", "sweep"]

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# For writing, since NFS locks nothing else exclusively.
_LOCKED: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ALONE: Final = 256 * 1024
"""Bytes from which on a thread of its own computes the SHA-256 while the disk works."""


class Draft:
    """To be made and moved by whoever holds the lock of the app's files. Its methods are not called at once.

    Args:
        inside: the folder of drafts, open; it stays the caller's.
        room: bytes that are taken for it from the beginning.
    """

    def __init__(self, inside: int, room: int) -> None:
        self.name = secrets.token_hex(12)
        self.size = 0
        self.room = 0
        self._placed = False
        self._hash = hashlib.sha256()
        self._inside = os.dup(inside)
        self._file = -1
        try:
            self._file = os.open(self.name, _NEW, 0o600, dir_fd=inside)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self.take(room)
        except BaseException:
            self.forget()
            raise

    def take(self, room: int) -> None:
        """Take so many bytes altogether."""
        if room > self.room:
            os.ftruncate(self._file, room + trailer.SIZE)
            self.room = room

    def write(self, data: bytes | memoryview) -> None:
        """Write behind what was written. There must be room."""
        self._hash.update(data)
        _write(self._file, data, self.size)
        self.size += len(data)

    def finish(self, content_type: str, metadata: dict[str, str]) -> os.stat_result:
        """Say what it is, and have it on disk for good."""
        self._seal(Trailer(self.size, content_type, metadata, self._hash.digest()))
        os.fsync(self._file)
        return os.fstat(self._file)

    def fill(self, data: bytes, content_type: str, metadata: dict[str, str]) -> os.stat_result:
        """Write all of it and finish."""
        if len(data) < _ALONE:
            self.write(data)
            return self.finish(content_type, metadata)
        # PERF: computing the SHA-256 takes as long as the disk does. What the loss of power takes is that alone, and
        # whoever reads the file computes it then.
        thread = threading.Thread(target=self._hash.update, args=(data,), name="mixkit-sha256")
        thread.start()
        try:
            _write(self._file, data, 0)
            self.size = len(data)
            when = self._seal(Trailer(self.size, content_type, metadata))
            os.fsync(self._file)
        finally:
            thread.join()
        os.pwrite(self._file, trailer.packed_hash(self._hash.digest()), self.size + trailer.HASH_AT)
        os.utime(self._file, ns=when)
        return os.fstat(self._file)

    def take_from(
        self, source: int, said: Trailer, content_type: str, metadata: dict[str, str]
    ) -> os.stat_result:
        """Copy the bytes of an open file, of which that is said, and finish."""
        while self.size < said.size:
            try:
                copied = os.copy_file_range(source, self._file, said.size - self.size, self.size, self.size)
            except OSError:
                copied = _write(self._file, os.pread(source, 1 << 20, self.size), self.size)
            if not copied:
                raise FileError("a file became shorter while it was copied; look who else writes to the disk")
            self.size += copied
        self._seal(Trailer(said.size, content_type, metadata, said.sha256))
        os.fsync(self._file)
        return os.fstat(self._file)

    @property
    def sha256(self) -> str:
        """Of what was written, in hex."""
        return self._hash.hexdigest()

    def _seal(self, said: Trailer) -> tuple[int, int]:
        _write(self._file, said.pack(), self.size)
        os.ftruncate(self._file, self.size + trailer.SIZE)
        # Clocks of file systems tick slowly, and an ETag is made of this.
        now = time.time_ns()
        os.utime(self._file, ns=(now, now))
        return now, now

    def place(self, inside: int, name: str) -> None:
        """Give it its name in an open folder."""
        os.rename(self.name, name, src_dir_fd=self._inside, dst_dir_fd=inside)
        self._placed = True

    def forget(self) -> None:
        """Remove it unless it was placed, and free what it holds. Idempotent."""
        # Taken first: of two who forget it at once, the other one would close what has its number by then.
        inside, self._inside = self._inside, -1
        file, self._file = self._file, -1
        if inside >= 0:
            if not self._placed:
                with suppress(OSError):
                    os.unlink(self.name, dir_fd=inside)
            os.close(inside)
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.forget()


def _write(file: int, data: bytes | memoryview, at: int) -> int:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        at += written
        rest = rest[written:]
    return len(data)


def reserved(inside: int) -> int:
    """Bytes that the drafts in an open folder have taken."""
    total = 0
    for name in _names(inside):
        with suppress(FileNotFoundError):
            total += max(0, os.stat(name, dir_fd=inside, follow_symlinks=False).st_size - trailer.SIZE)
    return total


def sweep(inside: int) -> None:
    """Remove the drafts that nobody writes any more. By whoever holds the lock."""
    for name in _names(inside):
        try:
            file = os.open(name, _LOCKED, dir_fd=inside)
        except OSError:
            # Links and the like are none of ours, and are in nobody's way.
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            with suppress(OSError):
                os.unlink(name, dir_fd=inside)
        finally:
            os.close(file)


def _names(inside: int) -> list[str]:
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=inside)
    try:
        return os.listdir(here)  # noqa: PTH208 - of a folder that is open
    finally:
        os.close(here)
