"""Folders that go at once, locks, and marks by which others see that something was changed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from mixkit.errors import NotFound
from mixkit.package.errors import Busy
from mixkit.whole_file import sync_folder

__all__ = ["CHANGES", "MAKING", "Mark", "counted", "empty_trash", "locked", "mark", "to_trash"]

CHANGES: Final = ".changes"
"""File of a directory that counts changes by its size, of bytes that nobody writes: odd while something is changed, or
somebody was killed while doing so; even between two changes, and another number after each."""

MAKING: Final = ".making"
"""File of a workspace that is being made, and locked by whoever makes it: until it is gone there is no workspace. One
that nobody has locked is of somebody who was killed."""

_LOCK: Final = ".lock"

Mark: TypeAlias = tuple[int, int, int]
_TRASH: Final = ".trash-"
_LOCK_SECONDS: Final = 60.0


def to_trash(folder: Path) -> None:
    """Take a folder out of sight with one rename, so that one that is half removed is never taken for a whole one."""
    folder.rename(tempfile.mkdtemp(prefix=f"{_TRASH}{folder.name}-", dir=folder.parent))
    sync_folder(folder.parent)


def empty_trash(directory: Path, forget: Callable[[str, Path], object] = lambda name, trash: None) -> None:
    """Remove what is in the trash of a directory, as far as possible; what stays goes the next time.

    Args:
        forget: called before with the name that each folder had, and where it is now.
    """
    for trash in directory.glob(f"{_TRASH}*"):
        forget(trash.name.removeprefix(_TRASH).rpartition("-")[0], trash)
        shutil.rmtree(trash, ignore_errors=True)


@contextlib.contextmanager
def locked(directory: Path, *, seconds: float = _LOCK_SECONDS, name: str = _LOCK) -> Iterator[int]:
    """Be the only one, of all processes and threads, who changes the directory. It ends with the process.

    Args:
        seconds: for which to wait.
        name: of the file that is locked, of which the descriptor is answered.

    Raises:
        NotFound: there is no such directory (any more).
        Busy: somebody else has kept it locked for so many seconds.
    """
    deadline = time.monotonic() + seconds
    path = directory / name
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
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def counted(directory: Path) -> Iterator[None]:
    """Change something, one at a time and for a moment, so that others see by `mark` that it may be another by now.

    Raises:
        NotFound, Busy: as `locked`.
    """
    with locked(directory, name=CHANGES) as fd:
        # Whoever was killed has left it odd.
        changing = os.fstat(fd).st_size | 1
        os.ftruncate(fd, changing)
        try:
            yield
        finally:
            os.ftruncate(fd, changing + 1)


def mark(changes: str) -> Mark | None:
    """What stays the same as long as nothing was changed; None while something is, and where nothing is or was.

    What is read after it is as it was when the mark was, or newer than the mark.

    Args:
        changes: path of the directory's `CHANGES`.
    """
    try:
        found = os.stat(changes)  # noqa: PTH116 - at every call of an agent
    except OSError:
        return None
    # NOTE: a directory that was made anew may have a file of that number and size, but not from the same moment.
    return None if found.st_size & 1 else (found.st_size, found.st_ino, found.st_mtime_ns)


def _same(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
