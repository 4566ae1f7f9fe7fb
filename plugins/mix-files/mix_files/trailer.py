"""What stands behind the bytes of a file on disk: what is said of them, in a block of one size.

    file      bytes of the file, then the block of 4,096 bytes
    block     MessagePack {"type": text, "metadata": {name: text}}, zeros, then the end; in a bucket also "version",
              "modified"
    end       64 bytes, little-endian: SHA-256 of the bytes, 32, and its CRC-32, 4; size of the bytes, 8; length of the
              MessagePack, 4; CRC-32 of it and of the 12 bytes before, 4; version, 4; `mixfile\\n`, 8

A SHA-256 that does not have its CRC-32 is not known: whoever wants it computes it.

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

__all__ = ["HASH_AT", "SIZE", "Trailer", "packed_hash", "read_trailer", "unpack"]

SIZE: Final = 4_096
_END: Final = struct.Struct("<32sIQIII8s")
assert _END.size == 64
_REST: Final = struct.Struct("<QIII8s")
_UNKNOWN: Final = bytes(32) + b"\xff" * 4
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
        said = msgspec.msgpack.encode(
            _Said(self.content_type, dict(self.metadata), self.version, self.modified)
        )
        checked = struct.pack("<QI", self.size, len(said))
        known = packed_hash(self.sha256) if self.sha256 else _UNKNOWN
        end = known + _REST.pack(self.size, len(said), zlib.crc32(said + checked), _VERSION, _MAGIC)
        if len(said) + len(end) > SIZE:
            raise ValueError(f"expected at most {SIZE - len(end)} bytes, found {len(said)}")
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
    sha256, hash_crc, size, said_length, crc, version, magic = _END.unpack_from(block, HASH_AT)
    if magic != _MAGIC or version != _VERSION or size != length - SIZE or said_length > HASH_AT:
        return None
    said = block[:said_length]
    if zlib.crc32(said + struct.pack("<QI", size, said_length)) != crc:
        return None
    try:
        found = msgspec.msgpack.decode(said, type=_Said)
    except msgspec.DecodeError:
        return None
    known = sha256 if zlib.crc32(sha256) == hash_crc else b""
    return Trailer(size, found.type, found.metadata, known, found.version, found.modified)


def packed_hash(sha256: bytes) -> bytes:
    """A SHA-256 as it stands in the block, from `HASH_AT` on."""
    return sha256 + struct.pack("<I", zlib.crc32(sha256))
