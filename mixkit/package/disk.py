"""Files that survive a crash: written, flushed to the disk, and put in place with one rename."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from mixkit.errors import NotFound
from mixkit.package.errors import Busy

__all__ = [
    "STAGING",
    "TRASH",
    "exclusive",
    "lease",
    "locked",
    "remove",
    "replace_file",
    "sync",
    "sync_tree",
    "to_trash",
    "write_file",
]

LOCK: Final = ".lock"
STAGING: Final = ".staging-"
TRASH: Final = ".trash-"
_LOCK_SECONDS: Final = 60.0


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """A new file with that content, on the disk when this returns. Its directory is not flushed."""
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Flush the names in a directory to the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(root: Path) -> None:
    """Flush the names in a directory and in all below it. Files were flushed when they were written."""
    for directory, _, _ in os.walk(root, topdown=False):
        sync(Path(directory))


def replace_file(path: Path, data: bytes) -> None:
    """Let `path` have that content: at any moment, and after any crash, it has the old or the new one."""
    fd, name = tempfile.mkstemp(prefix=STAGING, dir=path.parent)
    os.close(fd)
    staged = Path(name)
    try:
        staged.unlink()
        write_file(staged, [data])
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync(path.parent)


def to_trash(path: Path) -> Path:
    """Take a directory out of sight with one rename, next to where it was; answers where it is now.

    So a directory that is half removed is never mistaken for a whole one.
    """
    trash = Path(tempfile.mkdtemp(prefix=TRASH, dir=path.parent))
    return path.rename(trash)


def remove(path: Path) -> None:
    """Remove a file or a directory with all below it, as far as possible; what stays is swept later."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[bool]:
    """Whether nobody holds a lease on the directory; if so, nobody gets one inside the block."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(directory: Path, *, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """Be the only one, of all processes and threads, who changes the directory. It ends with the process.

    Raises:
        NotFound: there is no such directory (any more).
        Busy: somebody else has kept it locked for so many seconds.
    """
    deadline = time.monotonic() + seconds
    path = directory / LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no {directory.name!r} here") from None
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(
                        f"{directory.name!r} has been locked for {seconds:g} s; try again later"
                    ) from None
                time.sleep(0.02)
        # Whoever held the lock may have deleted the directory.
        if not _same(path, fd):
            raise NotFound(f"no {directory.name!r} here")
        yield
    finally:
        os.close(fd)


def _same(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def lease(directory: Path) -> int | None:
    """A file descriptor of the directory, which stays until that is closed; None if it is going away."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if _same(directory, fd):
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
