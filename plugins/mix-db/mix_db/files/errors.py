"""What can go wrong with the files of a database."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from mixkit.errors import StorageError

__all__ = [
    "DamagedFile",
    "FilesError",
    "FormatVersion",
    "LockTimeout",
    "explained",
    "os_error",
]

_REMEDIES: Final = {
    errno.ENOSPC: "free some space on its disk and try again",
    errno.EDQUOT: "raise the quota or free some space and try again",
    errno.EROFS: "its file system is mounted read-only; open the database read-only, or elsewhere",
    errno.EACCES: "this user may not; change the owner or mode of the folder, or open it read-only",
    errno.EPERM: "this user may not; change the owner or mode of the folder, or open it read-only",
    errno.EMFILE: "this process has too many open files; close some, or raise the limit (ulimit -n)",
    errno.ENFILE: "the machine has too many open files; close some, or raise the limit (fs.file-max)",
    errno.ELOOP: "it is a symbolic link, which is not followed; put the file itself there",
}


class FilesError(StorageError):
    """The files of a database cannot be used as asked; the message says what to do."""

    code = "database_files"


class DamagedFile(FilesError):
    """A file does not hold what was written to it.

    `file` is its name, `offset` the byte where it shows, `reason` what was expected and found there.
    """

    code = "database_damaged"

    def __init__(self, file: str, offset: int, message: str, remedy: str = "see mixkit db check") -> None:
        super().__init__(f"{file} is damaged at offset {offset}: {message}; {remedy}")
        self.file = file
        self.offset = offset
        self.reason = message


class FormatVersion(FilesError):
    """A file has the format of another version of mixkit. `file`, `found` and `expected` say which."""

    code = "database_version"

    def __init__(self, file: str, found: int, expected: int) -> None:
        newer = found > expected
        super().__init__(
            f"expected {file} in format version {expected}, found version {found}: it was written by"
            f" {'a newer' if newer else 'an older'} mixkit; "
            + (
                "open it with that one"
                if newer
                else "run mixkit db export with that one and mixkit db import with this one"
            )
        )
        self.file = file
        self.found = found
        self.expected = expected


class LockTimeout(FilesError):
    """Another process or thread kept the right to write for longer than `timeout` seconds."""

    code = "database_locked"

    def __init__(self, timeout: float, name: str = "LOCK") -> None:
        super().__init__(
            f"expected to get the write lock {name} within {timeout:g} s, but another writer holds it;"
            f" try again, or end the process that hangs (lsof {name} names it)"
        )
        self.timeout = timeout


@contextlib.contextmanager
def explained(failed: str) -> Iterator[None]:
    """Turn what the operating system says within a `with` into a `FilesError`: what failed, why, what to do."""
    try:
        yield
    except OSError as exc:
        raise os_error(failed, exc) from exc


def os_error(failed: str, exc: OSError) -> FilesError:
    """The error of which `exc` is the cause: what failed, why, and what to do."""
    remedy = _REMEDIES.get(exc.errno or 0)
    reason = f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc)
    error = FilesError(f"{failed}: {reason}{'; ' + remedy if remedy else ''}")
    error.__cause__ = exc
    return error
