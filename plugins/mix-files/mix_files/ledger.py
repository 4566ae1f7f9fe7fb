"""What the files of an app take, kept right by all processes that write: who changes anything holds the lock.

    state     38 bytes, little-endian: `mixl`, 4; 1 while a change is being made, else 0, 1; version, 1; id of the
              boot of the machine, 16; files, 8; bytes, 8

Numbers that a killed process left in the middle, or that are from before the machine was started, are counted anew.
"""

from __future__ import annotations

import fcntl
import functools
import os
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["Ledger", "Totals", "locked"]

_STATE: Final = struct.Struct("<4sBB16sQQ")
_MAGIC: Final = b"mixl"
_VERSION: Final = 1
_NAME: Final = "state"
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Totals:
    """How many files there are, and how many bytes they have."""

    def __init__(self, files: int, bytes: int) -> None:
        self.files = files
        self.bytes = bytes


class Ledger:
    """The numbers, while the lock is held."""

    def __init__(self, file: int, count: Callable[[], Totals]) -> None:
        self._file = file
        known = self._read()
        if known is None:
            known = count()
            self._write(known, dirty=False)
        self.totals = known

    @contextmanager
    def changing(self, files: int, bytes: int) -> Iterator[None]:
        """Within it so many more files and bytes come to be there, or fewer. If it fails, it is counted anew later."""
        self._write(self.totals, dirty=True)
        yield
        self.totals = Totals(self.totals.files + files, self.totals.bytes + bytes)
        self._write(self.totals, dirty=False)

    def _read(self) -> Totals | None:
        raw = os.pread(self._file, _STATE.size, 0)
        if len(raw) != _STATE.size:
            return None
        magic, dirty, version, boot, files, bytes = _STATE.unpack(raw)
        if magic != _MAGIC or version != _VERSION or dirty or boot != _boot():
            return None
        return Totals(files, bytes)

    def _write(self, totals: Totals, *, dirty: bool) -> None:
        raw = _STATE.pack(_MAGIC, dirty, _VERSION, _boot(), max(0, totals.files), max(0, totals.bytes))
        os.pwrite(self._file, raw, 0)


@contextmanager
def locked(inside: int, count: Callable[[], Totals]) -> Iterator[Ledger]:
    """Be the only one, of all processes and threads, who changes the files in an open folder.

    Args:
        count: counts them, if need be.
    """
    # Opened each time: descriptors that are shared, by threads or after a fork, share the lock too.
    file = os.open(_NAME, _OPEN, 0o600, dir_fd=inside)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Ledger(file, count)
    finally:
        os.close(file)


@functools.lru_cache(maxsize=1)
def _boot() -> bytes:
    try:
        return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
