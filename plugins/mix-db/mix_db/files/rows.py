"""The rows of a database: `db.dat`, `db.off` and `db.sum`, which only ever grow at the end.

    db.dat   the rows, one directly behind the other:
                 varcode   length of the record in bytes (`mix_db.files.varcode`)
                 bytes     the record, MessagePack; to this module it is only bytes
    db.off   header of 4 bytes: "MXO1"; then for each row
                 u64       offset in db.dat where the row starts
    db.sum   for each row
                 u32       CRC-32C of the row as db.dat has it, its varcode included

All numbers are little-endian. How many rows there are, and how long db.dat is, says the header of the write log
(`mix_db.files.write_log`): what lies behind that was left by a flush that did not get to its end, is not read, and
is overwritten by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from mix_db.files import varcode
from mix_db.files.crc32c import crc32c
from mix_db.files.errors import DamagedFile
from mix_db.files.layer import Folder

__all__ = ["DATA", "HEADER", "OFFSETS", "SUMS", "Extent", "RowReader", "append"]

DATA: Final = "db.dat"
OFFSETS: Final = "db.off"
SUMS: Final = "db.sum"
HEADER: Final = b"MXO1"
_U64: Final = Struct("<Q")
_U32: Final = Struct("<I")


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of the row files counts: `rows` rows in `size` bytes of db.dat."""

    rows: int = 0
    size: int = 0

    def sizes(self) -> dict[str, int]:
        """Bytes of each file that count."""
        return {DATA: self.size, OFFSETS: len(HEADER) + 8 * self.rows, SUMS: 4 * self.rows}


class RowReader:
    """The rows of an extent, memory-mapped. Any thread may read; nothing is loaded that nobody asks for.

    Raises:
        DamagedFile: a file is missing or shorter than the extent, or its header is wrong.
    """

    def __init__(self, folder: Folder, extent: Extent) -> None:
        self.extent = extent
        maps = {
            name: _map(folder, name, size) if extent.rows else b"" for name, size in extent.sizes().items()
        }
        self._data, self._offsets, self._sums = (memoryview(maps[name]) for name in (DATA, OFFSETS, SUMS))
        if extent.rows and bytes(self._offsets[: len(HEADER)]) != HEADER:
            found = bytes(self._offsets[: len(HEADER)])
            raise DamagedFile(OFFSETS, 0, f"expected the header {HEADER!r}, found {found!r}")

    def read(self, row: int) -> bytes:
        """The record of a row.

        Raises:
            IndexError: there is no such row.
            DamagedFile: it does not match its checksum, wherever the fault is.
        """
        if not 0 <= row < self.extent.rows:
            raise IndexError(f"row {row} of {self.extent.rows}")
        place = len(HEADER) + 8 * row
        offset: int = _U64.unpack_from(self._offsets, place)[0]
        if offset >= self.extent.size:
            raise DamagedFile(OFFSETS, place, f"row {row} at {offset}, behind the end of {DATA}")
        try:
            length, start = varcode.read(self._data, offset)
        except ValueError as exc:
            raise DamagedFile(DATA, offset, f"row {row}: {exc}") from None
        end = start + length
        if end > self.extent.size:
            raise DamagedFile(DATA, offset, f"row {row} is said to have {length} bytes, which do not follow")
        if crc32c(self._data[offset:end]) != _U32.unpack_from(self._sums, 4 * row)[0]:
            raise DamagedFile(
                DATA, offset, f"row {row} does not match its checksum at offset {4 * row} of {SUMS}"
            )
        return bytes(self._data[start:end])


def append(folder: Folder, extent: Extent, records: Iterable[bytes]) -> Extent:
    """Write the records behind `extent` and return when they are durable; answers the extent with them.

    They count once a write log says so. Needs the write lock.

    Raises:
        DamagedFile: a file is missing or shorter than the extent.
        OSError: they could not be written; nothing that counts has changed.
    """
    data, offsets, sums = bytearray(), bytearray(), bytearray()
    for record in records:
        row = varcode.write(len(record)) + record
        offsets += _U64.pack(extent.size + len(data))
        sums += _U32.pack(crc32c(row))
        data += row
    added = len(sums) // 4
    for name, size, content in (
        (DATA, extent.size, data),
        (OFFSETS, len(HEADER) + 8 * extent.rows, offsets),
        (SUMS, 4 * extent.rows, sums),
    ):
        if extent.rows and not folder.exists(name):
            raise DamagedFile(name, 0, f"expected {size} bytes, and there is no such file")
        file = folder.open(name, write=True, create=extent.rows == 0)
        try:
            if extent.rows:
                _check_size(name, file.size(), size)
            elif name == OFFSETS:
                file.write(0, HEADER)
            file.write(size, bytes(content))
            file.sync()
        finally:
            file.close()
    if extent.rows == 0:
        folder.sync()
    return Extent(extent.rows + added, extent.size + len(data))


def _map(folder: Folder, name: str, size: int) -> memoryview:
    try:
        file = folder.open(name)
    except FileNotFoundError:
        raise DamagedFile(name, 0, f"expected {size} bytes, and there is no such file") from None
    try:
        _check_size(name, file.size(), size)
        return file.map(size)
    finally:
        file.close()


def _check_size(name: str, found: int, expected: int) -> None:
    # Beyond its end a mapped file does not raise, it kills the process.
    if found < expected:
        raise DamagedFile(name, found, f"expected {expected} bytes, the file ends here")
