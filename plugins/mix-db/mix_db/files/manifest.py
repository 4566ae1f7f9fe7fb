"""The list of index segments of a generation: `db.seg`, written whole and put in place in one step.

    12 bytes  "MXSEGS" and the version of the format, 1 (`mix_db.files.prologue`)
    u32       the generation
    u32       number of segments
    for each segment, in the order of its rows
        u64       its first row
        u64       the row behind its last
        u64       bytes of its file
        u32       CRC-32C of the first 4096 bytes of the file, or of all if there are fewer
        u32       CRC-32C of the whole file
    u32       CRC-32C of everything before

All numbers are little-endian. The name of a segment's file follows from generation and rows. A segment of rows that
the write log does not yet count as flushed was left by a flush that did not get to its end: it is ignored. The others
cover the flushed rows without gaps. An index can be made again from the rows, so no row is lost with this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from crc32c import crc32c

from mix_db.files import names, prologue
from mix_db.files.errors import DamagedFile
from mix_db.files.layer import Folder, write_whole

__all__ = ["HEAD", "REMEDY", "Entry", "Manifest"]

HEAD: Final = 4096
"""Bytes of a segment that are checked whenever it is opened."""

REMEDY: Final = "open the database for writing, which makes the index again from the rows"

_MAGIC: Final = b"MXSEGS"
_VERSION: Final = 1
_HEADER: Final = Struct(f"<{prologue.SIZE}sII")
_ENTRY: Final = Struct("<QQQII")
_CRC: Final = Struct("<I")


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment: rows `start` to `stop`, without it, in a file of `size` bytes; `head` and `sum` are checksums."""

    start: int
    stop: int
    size: int
    head: int
    sum: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The segments of a generation, in the order of their rows."""

    generation: int
    entries: tuple[Entry, ...] = ()

    @property
    def name(self) -> str:
        return names.manifest(self.generation)

    def file(self, entry: Entry) -> str:
        """The name of a segment's file."""
        return names.segment(self.generation, entry.start, entry.stop)

    def pack(self) -> bytes:
        data = _HEADER.pack(prologue.pack(_MAGIC, _VERSION), self.generation, len(self.entries))
        data += b"".join(_ENTRY.pack(e.start, e.stop, e.size, e.head, e.sum) for e in self.entries)
        return data + _CRC.pack(crc32c(data))

    @classmethod
    def unpack(cls, generation: int, data: bytes) -> Manifest:
        """Raises `DamagedFile` or `FormatVersion`."""
        name = names.manifest(generation)
        try:
            prologue.check(name, data, _MAGIC, _VERSION)
        except DamagedFile as exc:
            raise _damaged(name, exc.offset, exc.reason) from None
        if len(data) < _HEADER.size + _CRC.size or not _intact(data):
            raise _damaged(name, 0, f"its {len(data)} bytes do not match their checksum")
        _, found, count = _HEADER.unpack_from(data)
        if len(data) != _HEADER.size + count * _ENTRY.size + _CRC.size:
            raise _damaged(name, 0, f"expected {count} segments, found {len(data)} bytes")
        if found != generation:
            raise _damaged(name, 0, f"expected generation {generation}, found {found}")
        body = memoryview(data)[_HEADER.size : -_CRC.size]
        return cls(generation, tuple(Entry(*fields) for fields in _ENTRY.iter_unpack(body)))

    @classmethod
    def read(cls, folder: Folder, generation: int) -> Manifest:
        """Raises `DamagedFile` or `FormatVersion`."""
        name = names.manifest(generation)
        try:
            file = folder.open(name)
        except FileNotFoundError:
            raise _damaged(name, 0, "there is no such file") from None
        try:
            return cls.unpack(generation, file.read(0, file.size()))
        finally:
            file.close()

    def write(self, folder: Folder) -> None:
        """Put it in the place of the present one; durable after `Folder.sync`. Needs the write lock."""
        write_whole(folder, self.name, [self.pack()])

    def counted(self, rows: int) -> Manifest:
        """The segments of the first `rows` rows, without those that an unfinished flush has left."""
        return Manifest(self.generation, tuple(entry for entry in self.entries if entry.start < rows))

    def check_covers(self, rows: int) -> None:
        """Raise `DamagedFile` unless the segments cover the first `rows` rows, each once."""
        reached = 0
        for entry in self.entries:
            if entry.start != reached or entry.stop <= entry.start:
                break
            reached = entry.stop
        if reached != rows:
            raise _damaged(
                self.name,
                0,
                f"expected segments of {rows} rows without a gap, found them up to row {reached}",
            )


def _damaged(name: str, offset: int, message: str) -> DamagedFile:
    return DamagedFile(name, offset, message, REMEDY)


def _intact(data: bytes) -> bool:
    return bool(crc32c(memoryview(data)[: -_CRC.size]) == _CRC.unpack_from(data, len(data) - _CRC.size)[0])
