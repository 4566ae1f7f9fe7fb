"""A file that is written once from its beginning to its end, and of which no damaged byte is ever used.

    content   whatever was written, its size a multiple of 8
    sums      u32 for each block of the content: its CRC-32C. A block has 16,384 bytes, the last one what is left
    footer    32 bytes: magic "mixindex", u64 size of the content, u32 version of the format, u32 CRC-32C of the
              sums, u32 zero, u32 CRC-32C of the 28 bytes before

Numbers are little-endian. A block is compared with its sum when something in it is first used; so a file is opened
in the time that its sums take, 4 bytes for 16 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from crc32c import crc32c

from mix_db.files.errors import DamagedFile, FilesError

__all__ = ["VERSION", "Blocks", "Buffer", "padding", "seal"]

Buffer = bytes | bytearray | memoryview

VERSION: Final = 1

_MAGIC: Final = b"mixindex"
_FOOTER: Final = Struct("<8sQIII")
_SUM: Final = Struct("<I")
_SHIFT: Final = 14
_BLOCK: Final = 1 << _SHIFT
_CHUNK: Final = 16 * _BLOCK


class Blocks:
    """Such a file, read.

    Args:
        name: of the file, for errors.
        data: all of the file.

    Raises:
        DamagedFile: the end of the file is not as it was written.
        FilesError: a newer version wrote it.
    """

    __slots__ = ("_name", "_size", "_sums", "data", "flags")

    def __init__(self, name: str, data: memoryview) -> None:
        self._name = name
        end = len(data) - _FOOTER.size - _SUM.size
        if end < 0:
            raise DamagedFile(name, len(data), "expected the footer of an index, and the file ends before it")
        magic, size, version, sums, _ = _FOOTER.unpack_from(data, end)
        (total,) = _SUM.unpack_from(data, end + _FOOTER.size)
        if magic != _MAGIC or total != crc32c(data[end : end + _FOOTER.size]):
            raise DamagedFile(name, end, "expected the footer of an index")
        if version != VERSION:
            raise FilesError(
                f"{name} has version {version} of the format of indexes, this program reads version {VERSION};"
                " use the version of mixkit that wrote it"
            )
        count = _blocks(size)
        if size + count * _SUM.size != end:
            raise DamagedFile(name, end, f"expected {size} bytes of content, found another size")
        if crc32c(data[size:end]) != sums:
            raise DamagedFile(name, size, "the checksums do not match their own")
        self._size: int = size
        self._sums = data[size:end]
        self.flags = bytearray(count)
        """Not zero for the blocks that were verified."""
        self.data = data[:size]
        """The content, to be read only where `verify` was called before."""

    @property
    def size(self) -> int:
        """Of the content, in bytes."""
        return self._size

    def verify(self, start: int, size: int) -> None:
        """Make sure that these bytes are as they were written.

        Raises:
            DamagedFile: they may not be.
        """
        stop = start + size
        if start < 0 or stop > self._size:
            raise DamagedFile(
                self._name, min(max(start, 0), self._size), "a place beyond the end of the content"
            )
        last = _blocks(stop)
        block = self.flags.find(0, start >> _SHIFT, last)
        while block >= 0:
            if not self.holds(block):
                raise DamagedFile(self._name, block << _SHIFT, "a block does not match its checksum")
            self.flags[block] = 1
            block = self.flags.find(0, block + 1, last)

    def view(self, start: int, size: int) -> memoryview:
        """The bytes, verified."""
        self.verify(start, size)
        return self.data[start : start + size]

    def holds(self, block: int) -> bool:
        """Whether a block matches its checksum now."""
        (total,) = _SUM.unpack_from(self._sums, block * _SUM.size)
        start = block << _SHIFT
        return bool(crc32c(self.data[start : start + _BLOCK]) == total)

    def damage(self) -> Iterator[DamagedFile]:
        """Read everything; an error for each block that is damaged."""
        for block in range(len(self.flags)):
            if not self.holds(block):
                yield DamagedFile(self._name, block << _SHIFT, "a block does not match its checksum")


def seal(content: Iterable[Buffer]) -> Iterator[bytes]:
    """The file with this content, in pieces of 256 KiB for writing one behind the other."""
    sums = bytearray()
    size = 0
    rest = bytearray()
    for buffer in content:
        # Large buffers are cut, so that no copy keeps other threads from running.
        for start in range(0, len(buffer), _CHUNK):
            rest += buffer[start : start + _CHUNK]
            if len(rest) >= _CHUNK:
                sums += _totals(rest[:_CHUNK])
                size += _CHUNK
                yield bytes(rest[:_CHUNK])
                del rest[:_CHUNK]
    rest += padding(len(rest))
    sums += _totals(rest)
    size += len(rest)
    footer = _FOOTER.pack(_MAGIC, size, VERSION, crc32c(sums), 0)
    yield bytes(rest + sums + footer) + _SUM.pack(crc32c(footer))


def padding(size: int) -> bytes:
    """Zeros that make a size a multiple of 8."""
    return bytes(-size % 8)


def _totals(data: bytearray) -> bytes:
    view = memoryview(data)
    return b"".join(_SUM.pack(crc32c(view[start : start + _BLOCK])) for start in range(0, len(view), _BLOCK))


def _blocks(size: int) -> int:
    return (size + _BLOCK - 1) >> _SHIFT
