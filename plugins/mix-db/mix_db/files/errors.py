"""What can go wrong with the files of a database."""

from __future__ import annotations

from mixkit.errors import StorageError

__all__ = ["DamagedFile", "FilesError", "LockTimeout"]


class FilesError(StorageError):
    """The files of a database cannot be used as asked; the message says what to do."""

    code = "database_files"


class DamagedFile(FilesError):
    """A file does not hold what was written to it. `file` is its name, `offset` the byte where it shows."""

    code = "database_damaged"

    def __init__(self, file: str, offset: int, message: str) -> None:
        super().__init__(f"{file} is damaged at offset {offset}: {message}; see mixkit db check")
        self.file = file
        self.offset = offset


class LockTimeout(FilesError):
    """Another process or thread kept the right to write for longer than `timeout` seconds."""

    code = "database_locked"

    def __init__(self, timeout: float) -> None:
        super().__init__(
            f"expected to get the write lock within {timeout:g} s, but another writer holds it;"
            " try again, or end the process that hangs (lsof LOCK names it)"
        )
        self.timeout = timeout
