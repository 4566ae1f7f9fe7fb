"""The rows of a database: `db.dat`, `db.off` and `db.sum`, which only ever grow at the end.

    db.dat   the rows, one directly behind the other:
                 varcode   length of the record in bytes (`mix_db.files.varcode`)
                 bytes     the record, MessagePack; to this module it is only bytes
    db.off   header of 4 bytes: "MXO1"; then for each row
                 u64       offset in db.dat where the row starts
    db.sum   for each row
                 u32       CRC-32C of the row as db.dat has it, its varcode included

All numbers are little-endian. How many rows there are, how long db.dat is and of which generation the files are
(`mix_db.files.names`) says the header of the write log (`mix_db.files.write_log`), whose format version is theirs:
what lies behind that was left by a flush that did not get to its end, is not read, and is overwritten by the next
one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from crc32c import crc32c

from mix_db.files import names, varcode
from mix_db.files.errors import DamagedFile
from mix_db.files.layer import Folder, Mapped

__all__ = ["HEADER", "Extent", "RowReader", "added", "append", "lay", "lay_python", "map_file", "rows_python"]

HEADER: Final = b"MXO1"
_U64: Final = Struct("<Q")
_U32: Final = Struct("<I")
_CHUNK: Final = 1 << 20
_SUM: Final = (1 << 64) - 1
# Bytes of the longest rows whose varcode takes one byte, and two.
_ONE: Final = 1 + 0x7F
_TWO: Final = 2 + 0x3FFF


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of the row files counts: `rows` rows in `size` bytes of db.dat, their generation, and the sum of their
    checksums as `added` makes it."""

    rows: int = 0
    size: int = 0
    generation: int = 0
    sum: int = 0

    def sizes(self) -> dict[str, int]:
        """Bytes of each file that count: data, offsets, sums."""
        return {
            names.data(self.generation): self.size,
            names.offsets(self.generation): len(HEADER) + 8 * self.rows,
            names.sums(self.generation): 4 * self.rows,
        }


class RowReader:
    """The rows of an extent, memory-mapped. Any thread may read; nothing is loaded that nobody asks for.

    Raises:
        DamagedFile: a file is missing or shorter than the extent, or its header is wrong.
    """

    __slots__ = ("_data", "_last", "_names", "_offsets", "_sums", "extent")

    def __init__(self, folder: Folder, extent: Extent) -> None:
        self.extent = extent
        self._names = list(extent.sizes())
        self._last = extent.rows - 1
        data, offsets, sums = (
            map_file(folder, name, size) if extent.rows else b"" for name, size in extent.sizes().items()
        )
        if extent.rows and offsets[: len(HEADER)] != HEADER:
            found = bytes(offsets[: len(HEADER)])
            raise DamagedFile(self._names[1], 0, f"expected the header {HEADER!r}, found {found!r}")
        self._data = data
        self._offsets = _numbers(offsets, len(HEADER), "Q")
        self._sums = _numbers(sums, 0, "I")

    def read(self, row: int) -> bytes:
        """The record of a row.

        Raises:
            IndexError: there is no such row.
            DamagedFile: it does not match its checksum, wherever the fault is.
        """
        # Every row of every query comes through here. The offset of the next row is quicker to find than the varcode
        # is to read, and the checksum says whether it is right.
        if 0 <= row < self._last:
            offsets = self._offsets
            whole = self._data[offsets[row] : offsets[row + 1]]
            if whole and crc32c(whole) == self._sums[row]:
                if len(whole) <= _ONE:
                    return whole[1:]
                if len(whole) <= _TWO:
                    return whole[2:]
        return self._read_with_care(row)

    def read_many(self, rows: Iterable[int], most: int | None = None) -> list[bytes]:
        """The records of several rows, in the order given, up to the one with which they have `most` bytes; raises what
        `read` does."""
        wanted = list(rows)
        records: list[bytes] = []
        left = sys.maxsize if most is None else most
        while len(records) < len(wanted) and left > 0:
            some = _rows(self._data, self._offsets, self._sums, wanted, len(records), left)
            if not some:
                some = [self._read_with_care(wanted[len(records)])]
            records += some
            left -= sum(map(len, some))
        return records

    def _read_with_care(self, row: int) -> bytes:
        """Long rows, the last one, and those whose neighbour's offset may be wrong; says what is damaged."""
        data_name, offsets_name, sums_name = self._names
        size = self.extent.size
        if not 0 <= row < self.extent.rows:
            raise IndexError(f"row {row} of {self.extent.rows}")
        place = len(HEADER) + 8 * row
        offset = self._offsets[row]
        if offset >= size:
            raise DamagedFile(offsets_name, place, f"row {row} at {offset}, behind the end of {data_name}")
        # The row, its checksum or its offset may be what is wrong; `check` finds out which.
        where = f"if row {row} starts there, as offset {place} of {offsets_name} says"
        try:
            length, after = varcode.read(self._data[offset : offset + varcode.MAX_SIZE])
        except ValueError as exc:
            raise DamagedFile(data_name, offset, f"{exc}, {where}") from None
        start = offset + after
        if start + length > size:
            raise DamagedFile(data_name, offset, f"a row of {length} bytes, which do not follow, {where}")
        record = self._data[start : start + length]
        if crc32c(record, crc32c(self._data[offset:start])) != self._sums[row]:
            message = f"row {row} does not match its checksum at offset {4 * row} of {sums_name}, {where}"
            raise DamagedFile(data_name, offset, message)
        return record


def rows_python(
    data: Mapped, offsets: Sequence[int], sums: Sequence[int], wanted: Sequence[int], at: int, most: int
) -> list[bytes]:
    """The records of the rows that are wanted from place `at` on, up to the one with which they have `most` bytes, or
    before one that has to be read with care. `mix_db._files.rows` is the twin in C."""
    records: list[bytes] = []
    last = len(sums) - 1
    for row in wanted[at:]:
        if most <= 0 or not 0 <= row < last:
            break
        whole = data[offsets[row] : offsets[row + 1]]
        size = len(whole)
        if not 0 < size <= _TWO or crc32c(whole) != sums[row]:
            break
        record = whole[1 if size <= _ONE else 2 :]
        records.append(record)
        most -= len(record)
    return records


def lay_python(records: Sequence[bytes], at: int) -> tuple[bytes, bytes, bytes, int]:
    """The bytes of rows in db.dat, db.off and db.sum, where they begin at offset `at` of db.dat; and the sum of their
    checksums. `mix_db._files.lay` is the twin in C."""
    data, offsets, sums = bytearray(), bytearray(), bytearray()
    total = 0
    for record in records:
        row = varcode.write(len(record)) + record
        checksum = crc32c(row)
        offsets += _U64.pack(at + len(data))
        sums += _U32.pack(checksum)
        data += row
        total += checksum
    return bytes(data), bytes(offsets), bytes(sums), total


_Rows = Callable[[Any, Any, Any, list[int], int, int], list[bytes]]
_Lay = Callable[[tuple[bytes, ...], int], tuple[bytes, bytes, bytes, int]]


def _native() -> tuple[_Rows, _Lay]:
    try:
        from mix_db._files import lay, rows
    except ImportError:
        return rows_python, lay_python
    return rows, lay


_rows, lay = _native()


def append(folder: Folder, extent: Extent, records: Iterable[bytes]) -> Extent:
    """Write the records behind `extent` and return when they are durable; answers the extent with them.

    They count once a write log says so. They are written as they come, never all in memory. Needs the lock
    `names.FLUSH`, or a generation that is being made.

    Raises:
        DamagedFile: a file is missing or shorter than the extent.
        OSError: they could not be written; nothing that counts has changed.
    """
    rows, size, total = extent.rows, extent.size, extent.sum
    with ExitStack() as stack:
        files = []
        for name, expected in extent.sizes().items():
            if extent.rows and not folder.exists(name):
                raise DamagedFile(name, 0, f"expected {expected} bytes, and there is no such file")
            file = folder.open(name, write=True, create=extent.rows == 0)
            files.append(stack.enter_context(closing(file)))
            if extent.rows:
                _check_size(name, file.size(), expected)
        if not extent.rows:
            files[1].write(0, HEADER)
        positions = list(extent.sizes().values())

        def write(some: Sequence[bytes]) -> None:
            nonlocal rows, size, total
            *buffers, checksums = lay(tuple(some), size)
            for index, (file, buffer) in enumerate(zip(files, buffers, strict=True)):
                file.write(positions[index], buffer)
                positions[index] += len(buffer)
            rows, size, total = rows + len(some), size + len(buffers[0]), added(total, checksums)

        some: list[bytes] = []
        waiting = 0
        for record in records:
            some.append(record)
            waiting += len(record)
            if waiting >= _CHUNK:
                write(some)
                some, waiting = [], 0
        write(some)
        for file in files:
            file.sync()
    if extent.rows == 0:
        folder.sync()
    return Extent(rows, size, extent.generation, total)


def added(total: int, checksums: int) -> int:
    """The sum of the checksums of rows, modulo 2^64, with more of them. Rows that are missing or others change it."""
    return (total + checksums) & _SUM


def map_file(folder: Folder, name: str, size: int) -> Mapped:
    """The first `size` bytes of a file; `DamagedFile` if it is missing or shorter."""
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


def _numbers(data: Mapped, start: int, form: str) -> Sequence[int]:
    if sys.byteorder == "little":
        return memoryview(data)[start:].cast(form)  # type: ignore[call-overload,no-any-return]
    swapped = array(form, data[start:])
    swapped.byteswap()
    return swapped
