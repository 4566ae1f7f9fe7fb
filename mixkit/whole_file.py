"""A file that is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

__all__ = ["STAGED", "sync_folder", "whole_file"]

STAGED: Final = ".part"
"""How the names of files end that are being written; they begin with a dot, and those of killed writers stay."""

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@contextlib.contextmanager
def whole_file(
    path: Path, *, private: bool = False, replaces: bool = True, durable: bool = True
) -> Iterator[IO[bytes]]:
    """Write a file that takes its place when the block ends well. At any moment there is what was there before, or all
    of it.

    Args:
        private: nobody else may read it.
        replaces: it takes the place of a file that is there; if not, that one stays.
        durable: what was said of any moment is true after a crash of the machine, too, and once the block has ended,
            the file is there after one.

    Raises:
        FileExistsError: there is one already, which it does not replace.
        OSError: it cannot be written.
    """
    staged = path.parent / f".{os.urandom(8).hex()}{STAGED}"
    descriptor = os.open(staged, _NEW, 0o600 if private else 0o666)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
        if replaces:
            staged.replace(path)
        else:
            _link(staged, path)
        if durable:
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)


def _link(staged: Path, path: Path) -> None:
    try:
        # A link never replaces.
        path.hardlink_to(staged)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
