"""The file layer: everything that the database does to files goes through a `Folder`.

So there is one place that knows how to be durable, and tests can put `mix_db.files.faults` in its stead. What it
promises is what POSIX does: a write is durable after `File.sync`, a new, renamed or removed name after
`Folder.sync`, and before that anything may be lost, reordered or torn.

What a commit looks at must leave no trace in the inode of the write log, which the next sync would write as well: a
read would note its time, and since Linux 6.13 a stat makes the next write note its own to the nanosecond.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from mix_db.files import names
from mix_db.files.errors import FilesError

__all__ = ["DiskFolder", "File", "Folder", "Identity", "Mapped", "identity_python", "write_whole"]

Mapped: TypeAlias = mmap.mmap | bytes
"""The content of a file without copying it; slices are bytes."""

Identity: TypeAlias = tuple[int, int]
"""Device and inode of a file. While it is open, no other one has these."""

_NOATIME: Final = getattr(os, "O_NOATIME", 0)
_CHUNK: Final = 1 << 20


class File(Protocol):
    """An open file. Reads and writes name their offset, so that threads and forks share no position."""

    def size(self) -> int: ...

    def identity(self) -> Identity: ...

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes; fewer only where the file ends."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """All of `data`. After an `OSError` any part of it may have been written."""
        ...

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None:
        """Return when everything that was written is durable."""
        ...

    def map(self, size: int) -> Mapped:
        """The first `size` bytes, which stay readable when the file is closed or removed. The file must not get
        shorter while they are used."""
        ...

    def close(self) -> None: ...


class Folder(Protocol):
    """A folder with the files of one database. Names are plain names in it, never paths."""

    def open(self, name: str, *, write: bool = False, create: bool = False) -> File:
        """`FileNotFoundError` if there is no such file, unless it is to be created."""
        ...

    def exists(self, name: str) -> bool: ...

    def identity(self, name: str) -> Identity | None:
        """Which file has the name now; None if there is none. A call that every query makes."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none."""
        ...

    def listing(self) -> list[str]:
        """All names in the folder."""
        ...

    def rename(self, old: str, new: str) -> None:
        """In one step, replacing what has the new name."""
        ...

    def link(self, old: str, new: str) -> None:
        """Give the file a second name. `FileExistsError` if there is a file of that name."""
        ...

    def remove(self, name: str) -> None:
        """Take the name away. Whoever has the file open or mapped keeps it."""
        ...

    def sync(self) -> None:
        """Return when all names are durable."""
        ...

    def lock(self, timeout: float, name: str = names.LOCK) -> AbstractContextManager[None]:
        """The right to write, for the time of a `with`. `LockTimeout` after `timeout` seconds."""
        ...

    def close(self) -> None: ...


class DiskFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def size(self) -> int:
        # Not fstat, as commits ask; nobody uses the position.
        return os.lseek(self.descriptor, 0, os.SEEK_END)

    def identity(self) -> Identity:
        found = os.fstat(self.descriptor)
        return found.st_dev, found.st_ino

    def read(self, offset: int, size: int) -> bytes:
        found = part = os.pread(self.descriptor, size, offset)
        while part and len(found) < size:
            part = os.pread(self.descriptor, size - len(found), offset + len(found))
            found += part
        return found

    def write(self, offset: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.descriptor, rest, offset)
            offset += written
            rest = rest[written:]

    def truncate(self, size: int) -> None:
        os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        # The length counts as data for fdatasync, the times do not.
        os.fdatasync(self.descriptor)

    def map(self, size: int) -> Mapped:
        return mmap.mmap(self.descriptor, size, prot=mmap.PROT_READ) if size else b""

    def close(self) -> None:
        # Taken first: of two who close it at once, the other one would close what has its number by then.
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class DiskFolder:
    """A folder of the operating system, held open, so that it stays the same one when it is renamed.

    Args:
        path: the folder; for the files in it symbolic links are not followed.
        create: make it, with mode 0700, if it is missing.
        parents: and what it is in.

    Raises:
        FileNotFoundError: it is missing and not to be made, or what it is in is.
    """

    def __init__(self, path: Path, *, create: bool = False, parents: bool = True) -> None:
        if create and not path.exists():
            path.mkdir(mode=0o700, parents=parents, exist_ok=True)
            _sync_directory(path.parent)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def own_identity(self) -> Identity:
        """Device and inode of the folder itself."""
        found = os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    def open(self, name: str, *, write: bool = False, create: bool = False) -> DiskFile:
        flags = (os.O_RDWR if write else os.O_RDONLY) | (os.O_CREAT if create else 0)
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(_plain(name), flags | _NOATIME, 0o600, dir_fd=self._descriptor)
        except OSError as exc:
            # The file is another user's, whose times are not ours to leave alone; or the file system cannot.
            if exc.errno not in (errno.EPERM, errno.EINVAL):
                raise
            descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        return DiskFile(descriptor)

    def exists(self, name: str) -> bool:
        return self.identity(name) is not None

    def identity(self, name: str) -> Identity | None:
        return _identity(self._descriptor, _plain(name))

    def size(self, name: str) -> int | None:
        try:
            return os.stat(_plain(name), dir_fd=self._descriptor, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def listing(self) -> list[str]:
        with os.scandir(self._descriptor) as entries:
            return [entry.name for entry in entries]

    def link(self, old: str, new: str) -> None:
        # pathlib knows no dir_fd, here and below.
        os.link(
            _plain(old),
            _plain(new),
            src_dir_fd=self._descriptor,
            dst_dir_fd=self._descriptor,
            follow_symlinks=False,
        )

    def remove(self, name: str) -> None:
        os.unlink(_plain(name), dir_fd=self._descriptor)

    def rename(self, old: str, new: str) -> None:
        os.rename(_plain(old), _plain(new), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def lock(self, timeout: float, name: str = names.LOCK) -> AbstractContextManager[None]:
        # Its fork handlers are registered only in processes that write.
        from mix_db.files.lock import Hold

        return Hold(self._descriptor, timeout, name)

    def close(self) -> None:
        # As a file.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def write_whole(folder: Folder, name: str, content: Iterable[bytes]) -> None:
    """Write a file under another name and give it its own when it is durable; in one step, replacing an older one.

    The name is durable after `Folder.sync`. One process at a time may do it for a name.
    """
    temporary = name + names.NEW
    try:
        file = folder.open(temporary, write=True, create=True)
        try:
            file.truncate(0)
            written, buffer = 0, bytearray()
            for part in content:
                buffer += part
                if len(buffer) >= _CHUNK:
                    file.write(written, bytes(buffer))
                    written += len(buffer)
                    buffer.clear()
            file.write(written, bytes(buffer))
            file.sync()
        finally:
            file.close()
        folder.rename(temporary, name)
    except Exception:
        # On a full disk the space is needed; a name that cannot be removed is swept by the next writer.
        with contextlib.suppress(OSError):
            folder.remove(temporary)
        raise


def identity_python(directory: int, name: str) -> Identity | None:
    """Device and inode of a file, not of what a link points to; None if there is none. `mix_db._files.identity` is the
    twin in C, which asks the system for nothing else."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _asker() -> Callable[[int, str], Identity | None]:
    try:
        from mix_db import _files
    except ImportError:
        return identity_python
    return _files.identity


_identity: Final = _asker()


def _plain(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise FilesError(f"a plain file name is expected in the folder of a database, found {name!r}")
    return name


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
