"""Snapshots: the state of an instance as a value, and its form in bytes.

Layout of the bytes, integers little-endian:

    offset  size
    0       8     "MIXSNAP2"
    8       32    SHA-256 of everything after it
    40      2     length of the engine version, in bytes, then the version in ASCII
    ..      32    SHA-256 of the module's code
    ..      4     number of memories
    ..      4     number of globals, at 16 bytes each
                  per memory: 8 bytes size, 8 bytes number of runs, 8 bytes length of their contents
                  the globals
                  per memory: its runs, each 8 bytes offset and 8 bytes length, in rising order; then their contents

A run is what stands between long stretches of zeros, which are not kept: of a memory that a runtime has prepared,
most is zero.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Final

from mixkit.errors import EngineError

__all__ = ["Snapshot", "State", "load_snapshot"]

State = tuple[tuple[tuple[int, bytes, bytes], ...], bytes]
"""Memories (size, runs, their contents), and the mutable globals, as `_native` has them."""

_MAGIC: Final = b"MIXSNAP2"
_VERSION: Final = struct.Struct("<H")
_COUNTS: Final = struct.Struct("<32sII")
_MEMORY: Final = struct.Struct("<QQQ")
_RUN: Final = 16
_GLOBAL: Final = 16
_MAX_MEMORY: Final = 1 << 32


class Snapshot:
    """Frozen state of an instance of one module; immutable, usable from any thread.

    Attributes:
        image: what an engine has made of it to restore it faster.
    """

    __slots__ = ("code_hash", "image", "size", "state", "version")

    def __init__(self, code_hash: str, version: str, state: State) -> None:
        self.code_hash = code_hash
        self.version = version
        self.state = state
        self.image: Any = None
        self.size: int = sum(len(runs) + len(contents) for _, runs, contents in state[0]) + len(state[1])

    def __repr__(self) -> str:
        return f"Snapshot(code {self.code_hash[:12]}…, {self.size} bytes)"

    def to_bytes(self) -> bytes:
        """The layout above."""
        memories, variables = self.state
        version = self.version.encode("ascii")
        body = [
            _VERSION.pack(len(version)),
            version,
            _COUNTS.pack(bytes.fromhex(self.code_hash), len(memories), len(variables) // _GLOBAL),
            *(_MEMORY.pack(size, len(runs) // _RUN, len(contents)) for size, runs, contents in memories),
            variables,
            *(part for _, *parts in memories for part in parts),
        ]
        digest = hashlib.sha256()
        for part in body:
            digest.update(part)
        return b"".join([_MAGIC, digest.digest(), *body])


def load_snapshot(data: bytes, version: str) -> Snapshot:
    """What `Snapshot.to_bytes` wrote, if it was written under the same engine version.

    Raises:
        EngineError: damaged, cut off, or of another version; take a new snapshot then.
    """
    if data[:8] != _MAGIC:
        raise EngineError(f"expected a snapshot ({_MAGIC.decode()}), found {data[:8]!r}; take a new snapshot")
    body = memoryview(data)[40:]
    if hashlib.sha256(body).digest() != data[8:40]:
        raise EngineError(
            f"a snapshot of {len(data)} bytes is damaged: its checksum differs; take a new snapshot"
        )
    try:
        return _parse(body, version)
    except (struct.error, UnicodeDecodeError) as exc:
        raise EngineError(
            f"a snapshot of {len(data)} bytes is malformed: {exc}; take a new snapshot"
        ) from None


def _parse(body: memoryview, version: str) -> Snapshot:
    (length,) = _VERSION.unpack_from(body)
    at = _VERSION.size + length
    found = bytes(body[_VERSION.size : at]).decode("ascii")
    if found != version:
        raise EngineError(
            f"the snapshot is of engine version {found}, this is {version}; take a new snapshot"
        )
    code_hash, memories, variables = _COUNTS.unpack_from(body, at)
    at += _COUNTS.size
    sizes = [_MEMORY.unpack_from(body, at + i * _MEMORY.size) for i in range(memories)]
    at += memories * _MEMORY.size
    expected = at + variables * _GLOBAL + sum(count * _RUN + used for _, count, used in sizes)
    if expected != len(body) or any(used > size or size > _MAX_MEMORY for size, _, used in sizes):
        raise EngineError("a snapshot is malformed: its lengths do not add up; take a new snapshot")
    state_globals = bytes(body[at : at + variables * _GLOBAL])
    at += len(state_globals)
    kept = []
    for size, count, used in sizes:
        middle = at + count * _RUN
        kept.append((size, bytes(body[at:middle]), bytes(body[middle : middle + used])))
        at = middle + used
    return Snapshot(code_hash.hex(), found, (tuple(kept), state_globals))
