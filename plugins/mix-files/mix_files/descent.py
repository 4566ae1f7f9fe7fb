"""Ways into a folder that lead nowhere else: one name at a time, from an open folder, and through no link.

On disk a file `x` is called `x.f` and a folder `x` is called `x.d`, so that there may be both, as in object stores,
and nothing that a guest writes is a name of ours.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from mixkit.errors import FileError

__all__ = ["entries", "foreign", "make_folders", "open_file", "open_folder", "prune", "split", "within"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that somebody has put there must not be waited for.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def split(path: str) -> tuple[list[str], str]:
    """The folders of a checked path and its file, as they are called on disk."""
    *folders, name = path[1:].split("/")
    return [f"{folder}.d" for folder in folders], f"{name}.f"


def open_folder(name: str, inside: int) -> int:
    """Open a folder in an open folder. `OSError` if it is none, or a link."""
    return os.open(name, _FOLDER, dir_fd=inside)


@contextmanager
def within(root: int, folders: Sequence[str]) -> Iterator[int]:
    """The innermost of folders, each in the one before, open. `OSError` if one is not there, or is none."""
    here = os.dup(root) if not folders else open_folder(folders[0], root)
    try:
        for name in folders[1:]:
            inner = open_folder(name, here)
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


def make_folders(root: int, folders: Sequence[str]) -> int:
    """The innermost of folders, open; those that are not there are made, for good. The caller closes it."""
    here = os.dup(root)
    try:
        for name in folders:
            try:
                inner = open_folder(name, here)
            except FileNotFoundError:
                os.mkdir(name, 0o700, dir_fd=here)
                os.fsync(here)
                inner = open_folder(name, here)
            os.close(here)
            here = inner
    except BaseException:
        os.close(here)
        raise
    return here


def prune(root: int, folders: Sequence[str]) -> None:
    """Remove those of the folders that are empty, from the innermost on. Files may not be made meanwhile."""
    for depth in range(len(folders), 0, -1):
        try:
            with within(root, folders[: depth - 1]) as outer:
                os.rmdir(folders[depth - 1], dir_fd=outer)
        except OSError:
            return


def open_file(name: str, inside: int) -> tuple[int, os.stat_result]:
    """Open a file for reading, and what is known of it. The caller closes it.

    Raises:
        OSError: there is none.
        FileError: it is a link, a folder, a pipe or the like: nobody but an operator can have put it there.
    """
    try:
        file = os.open(name, _FILE, dir_fd=inside)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):
            raise foreign(name) from None
        raise
    found = os.fstat(file)
    # One that has another name too could be changed from elsewhere.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise foreign(name)
    return file, found


def entries(inside: int) -> list[tuple[str, bool]]:
    """What is in an open folder, in order of the paths: names as guests know them, folders with a slash behind.
    True for a folder."""
    found = []
    # A descriptor of its own, since reading moves a position that copies share.
    with suppress(FileNotFoundError):
        here = os.open(".", _FOLDER, dir_fd=inside)
        try:
            for name in os.listdir(here):  # noqa: PTH208 - of a folder that is open
                if name.endswith(".f"):
                    found.append((name[:-2], False))
                elif name.endswith(".d"):
                    found.append((name[:-2] + "/", True))
        finally:
            os.close(here)
    found.sort()
    return found


def foreign(name: str) -> FileError:
    """The error of what is no file of ours on the disk of the server."""
    return FileError(
        f"expected a file of mixkit's on the disk of this server at {name[:-2]!r:.80}, found something else: a link, a "
        "folder or a pipe, or a file with several names; whoever runs the server must remove it"
    )
