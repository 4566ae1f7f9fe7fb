"""The file layer: everything that the database does to files goes through a `Folder`.

So there is one place that knows how to be durable, and tests can put `mix_db.files.faults` in its stead. What it
promises is what POSIX does: a write is durable after `File.sync`, a new, renamed or removed name after
`Folder.sync`, and before that anything may be lost, reordered or torn.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from mix_db.files import names
from mix_db.files.errors import FilesError

__all__ = ["DiskFolder", "File", "Folder", "Mapped", "State", "write_whole"]

Mapped: TypeAlias = mmap.mmap | bytes
"""The content of a file without copying it; slices are bytes."""

State: TypeAlias = tuple[int, int, int]
"""Device and inode of a file, and its size. While the file is open, no other one has the first two."""

_CHUNK: Final = 1 << 20


class File(Protocol):
    """An open file. Reads and writes name their offset, so that threads and forks share no position."""

    def size(self) -> int: ...

    def state(self) -> State: ...

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

    def state(self, name: str) -> State | None:
        """Which file has the name now, and its size; None if there is none. The one call that every query makes."""
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
        return os.fstat(self.descriptor).st_size

    def state(self) -> State:
        found = os.fstat(self.descriptor)
        return found.st_dev, found.st_ino, found.st_size

    def read(self, offset: int, size: int) -> bytes:
        parts = []
        while size > 0 and (part := os.pread(self.descriptor, size, offset)):
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

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
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


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

    def identity(self) -> tuple[int, int]:
        """Its device and inode, which no other folder has as long as this one is open."""
        found = os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    def open(self, name: str, *, write: bool = False, create: bool = False) -> DiskFile:
        flags = (os.O_RDWR if write else os.O_RDONLY) | (os.O_CREAT if create else 0)
        descriptor = os.open(
            _plain(name), flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self._descriptor
        )
        return DiskFile(descriptor)

    def exists(self, name: str) -> bool:
        return self.state(name) is not None

    def state(self, name: str) -> State | None:
        try:
            found = os.stat(_plain(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_size

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
        from mix_db.files.lock import hold

        return hold(self._descriptor, timeout, name)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


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
