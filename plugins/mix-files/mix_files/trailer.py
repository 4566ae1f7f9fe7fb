"""What stands behind the bytes of a file on disk: what is said of them, in a block of one size.

    file      bytes of the file, then the block of 4,096 bytes
    block     JSON {"type": text, "metadata": {name: text}}, zeros, then the end; in a bucket also "version", "modified"
    end       60 bytes, little-endian: SHA-256 of the bytes, 32, or zeros if it is not known; size of the bytes, 8;
              length of the JSON, 4; CRC-32 of the JSON and of the 12 bytes before this, 4; version, 4; `mixfile\\n`, 8

So a file and what is said of it are replaced at once, its size is known from a look at the folder alone, and most
programs that an operator opens it with do not mind. A file without such a block is not one of ours.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["HASH_AT", "SIZE", "Trailer", "read_trailer", "unpack"]

SIZE: Final = 4_096
_END: Final = struct.Struct("<32sQIII8s")
assert _END.size == 60
_MAGIC: Final = b"mixfile\n"
_VERSION: Final = 1
HASH_AT: Final = SIZE - _END.size
"""Where in the block the SHA-256 stands."""


class Trailer(msgspec.Struct, frozen=True):
    """What is said of a file's bytes. `sha256` is empty where it is not known; `version` and `modified`, in Unix
    milliseconds, where others keep them."""

    size: int
    content_type: str
    metadata: Mapping[str, str]
    sha256: bytes = b""
    version: str = ""
    modified: int = 0

    def pack(self) -> bytes:
        """The block."""
        said = msgspec.json.encode(_Said(self.content_type, dict(self.metadata), self.version, self.modified))
        checked = struct.pack("<QI", self.size, len(said))
        end = _END.pack(self.sha256, self.size, len(said), zlib.crc32(said + checked), _VERSION, _MAGIC)
        if len(said) + len(end) > SIZE:
            raise ValueError(f"expected at most {SIZE - len(end)} bytes of JSON, found {len(said)}")
        return said.ljust(SIZE - len(end), b"\0") + end


class _Said(msgspec.Struct, omit_defaults=True):
    type: str
    metadata: dict[str, str]
    version: str = ""
    modified: int = 0


def read_trailer(file: int, length: int) -> Trailer | None:
    """The block of an open file of that length, or None if it has none: it is not ours, or it was cut or changed."""
    if length < SIZE:
        return None
    return unpack(os.pread(file, SIZE, length - SIZE), length)


def unpack(block: bytes, length: int) -> Trailer | None:
    """The same, of its last `SIZE` bytes."""
    if len(block) != SIZE:
        return None
    sha256, size, said_length, crc, version, magic = _END.unpack_from(block, HASH_AT)
    if magic != _MAGIC or version != _VERSION or size != length - SIZE or said_length > HASH_AT:
        return None
    said = block[:said_length]
    if zlib.crc32(said + struct.pack("<QI", size, said_length)) != crc:
        return None
    try:
        found = msgspec.json.decode(said, type=_Said)
    except msgspec.DecodeError:
        return None
    return Trailer(
        size,
        found.type,
        found.metadata,
        sha256 if any(sha256) else b"",
        found.version,
        found.modified,
    )
