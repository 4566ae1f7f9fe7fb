"""The witness: what the last commit was whose call may have returned, beside the write log that has it.

    12 bytes  "MXWITN" and the version of the format, 1 (`mix_db.files.prologue`)
    u32       generation of the row files
    u64       number of the commit
    u64       rows of the generation up to and with it, those of the log included
    u64       rows that compactions have dropped, as the header of the log says
    u64       sum of the checksums of those rows, as its frame says
    u32       CRC-32C of everything before

All numbers are little-endian. It is written over in place after the commit is durable and before its call returns, and
is never synced. So after a crash it may be older than the log, torn or missing, which means nothing; but it is never
newer. A log that does not reach the commit, or has others up to it, is not the log that was written: acknowledged
commits are missing, although what is left looks whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from crc32c import crc32c

from mix_db.files import names, prologue
from mix_db.files.errors import DamagedFile, FormatVersion
from mix_db.files.layer import File, Folder
from mix_db.files.write_log import NAME, Commit, Header, WriteLog

__all__ = ["Witness", "Writer", "forget"]

_MAGIC: Final = b"MXWITN"
_VERSION: Final = 1
_FIELDS: Final = Struct(f"<{prologue.SIZE}sIQQQQ")
_CRC: Final = Struct("<I")
_SIZE: Final = _FIELDS.size + _CRC.size
_PROLOGUE: Final = prologue.pack(_MAGIC, _VERSION)


@dataclass(frozen=True, slots=True)
class Witness:
    """The number of an acknowledged commit, and the rows behind it: how many, of what sum, and in which generation."""

    number: int
    generation: int
    rows: int
    dropped: int
    sum: int

    @classmethod
    def read(cls, folder: Folder) -> Witness | None:
        """What the folder's witness says, if there is one that is whole. Read it before the log that it is held to."""
        try:
            file = folder.open(names.WITNESS)
        except FileNotFoundError:
            return None
        try:
            data = file.read(0, _SIZE)
        finally:
            file.close()
        try:
            prologue.check(names.WITNESS, data, _MAGIC, _VERSION)
        except (DamagedFile, FormatVersion):
            return None
        if len(data) < _SIZE or _CRC.unpack_from(data, _FIELDS.size)[0] != crc32c(data[: _FIELDS.size]):
            return None
        _, generation, number, rows, dropped, total = _FIELDS.unpack_from(data)
        return cls(number, generation, rows, dropped, total)

    def missing(self, header: Header, commits: Sequence[Commit]) -> str | None:
        """What a log with this header and all these commits lacks; None if that cannot be seen."""
        last = commits[-1].number if commits else header.commit
        if last < self.number:
            return f"commits up to {self.number} were acknowledged, and it ends with {last}"
        if self.number < header.commit:
            return None
        rows, total = header.extent.rows, header.extent.sum
        if self.number > header.commit:
            commit = next(each for each in reversed(commits) if each.number <= self.number)
            rows, total = commit.row + len(commit.records), commit.sum
        expected, found = self.rows + self.dropped, rows + header.dropped
        if found != expected:
            return f"expected {expected} rows committed up to commit {self.number}, found {found}"
        if self.generation == header.extent.generation and self.sum != total:
            return f"the rows up to commit {self.number} are not those that were acknowledged"
        return None

    def check(self, log: WriteLog) -> None:
        """Raise `DamagedFile` if acknowledged commits are missing in a log that was read."""
        if message := self.missing(log.header, log.commits):
            remedy = "put a backup in its place, or go on with what is there after mixkit db repair"
            raise DamagedFile(NAME, log.end, message, remedy)


class Writer:
    """Writes the witness of a folder. Needs the write lock. It is part of every commit."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file: File | None = None

    def write(self, header: Header, last: Commit) -> None:
        """The last commit of a log, as far as the operating system lets it: it is durable whether it is told or not."""
        rows = last.row + len(last.records)
        data = _FIELDS.pack(_PROLOGUE, header.extent.generation, last.number, rows, header.dropped, last.sum)
        try:
            if self._file is None:
                self._file = self._folder.open(names.WITNESS, write=True, create=True)
            self._file.write(0, data + _CRC.pack(crc32c(data)))
        except OSError:
            pass

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def forget(folder: Folder) -> None:
    """Remove the witness, durably, before a new database begins. Needs the write lock."""
    if folder.exists(names.WITNESS):
        folder.remove(names.WITNESS)
        folder.sync()
