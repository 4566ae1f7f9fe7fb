"""How the write log and the manifest begin, in all versions of their formats.

    6 bytes   what the file is, in letters
    u16       version of the format
    u32       CRC-32C of the 8 bytes before

So a version that is not known can be told from a file that is damaged, whatever comes behind.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from crc32c import crc32c

from mix_db.files.errors import DamagedFile, FormatVersion

__all__ = ["SIZE", "check", "pack"]

_PROLOGUE: Final = Struct("<6sHI")
SIZE: Final = _PROLOGUE.size


def pack(magic: bytes, version: int) -> bytes:
    """The first `SIZE` bytes of a file."""
    data = _PROLOGUE.pack(magic, version, 0)[:-4]
    return data + crc32c(data).to_bytes(4, "little")


def check(file: str, data: bytes, magic: bytes, version: int, oldest: int | None = None) -> int:
    """The version of a file whose content begins as it should: `version`, or one from `oldest` on.

    Raises `DamagedFile` or `FormatVersion`."""
    if len(data) < SIZE:
        raise DamagedFile(file, len(data), f"expected {SIZE} bytes at least, the file ends here")
    letters, found, total = _PROLOGUE.unpack_from(data)
    if letters != magic:
        raise DamagedFile(file, 0, f"expected {magic!r}, found {letters!r}")
    if total != crc32c(data[: SIZE - 4]):
        raise DamagedFile(file, 0, f"its first {SIZE} bytes do not match their checksum")
    if not (version if oldest is None else oldest) <= found <= version:
        raise FormatVersion(file, found, version)
    return int(found)
