"""What the operating system says, as errors that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mixkit.errors import FileError, NotFound

__all__ = ["explained", "missing"]

_REMEDIES: Final = {
    errno.ENOSPC: "the disk of the server is full; make room there",
    errno.EDQUOT: "the server's user may have no more on its disk; make room there",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "check who may read and write there",
    errno.EPERM: "check who may read and write there",
    errno.EMFILE: "the process has too many files open; raise its limit (ulimit -n)",
    errno.ENOTDIR: "something that is no folder is in the way; whoever runs the server must look there",
    errno.ELOOP: "a link is in the way; whoever runs the server must remove it",
}


def missing(path: str) -> NotFound:
    """The error of a file that is not there."""
    return NotFound(f"no file {path!r:.200}; $file_list and `mixkit files ls` show what there is")


@contextmanager
def explained(what: str, path: str = "") -> Iterator[None]:
    """What the system refuses within, as `NotFound` for a file that is not there, else as `FileError`."""
    try:
        yield
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as exc:
        remedy = _REMEDIES.get(exc.errno or 0, "")
        raise FileError(
            f"cannot {what}{f' {path!r:.200}' if path else ''}: {exc.strerror}{'; ' if remedy else ''}{remedy}"
        ) from exc
