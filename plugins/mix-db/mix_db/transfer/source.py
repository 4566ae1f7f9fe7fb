"""A file that records are read from: opened once, unpacked on the way, never held as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import MAX_ITEM
from mixkit.errors import printable

__all__ = ["Line", "Source"]

_BOM: Final = b"\xef\xbb\xbf"
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b"
_BUFFER: Final = 1 << 18
_KEPT: Final = 1 << 16

Line = tuple[int, bytes, int]
"""Number of a line from 1, its bytes without the end of the line, and 0; or its size if it is too long, and then
its bytes are the first of it."""


class Source:
    """A file, or standard input, that is being read. Use it as a context manager.

    Attributes:
        name: for messages; `-` is standard input.
        path: None for standard input.
        size: bytes on the disk; None if nobody knows.

    Args:
        path: `-` is standard input. What is packed with gzip is unpacked while it is read.

    Raises:
        TransferError: it cannot be opened, or another import is reading it.
    """

    def __init__(self, path: Path) -> None:
        self.name = printable(str(path))
        self.path: Path | None = None if str(path) == "-" else path
        self.size: int | None = None
        self._file: io.BufferedReader
        if self.path is None:
            given: Any = sys.stdin.buffer
            self._file = given if isinstance(given, io.BufferedReader) else io.BufferedReader(given)
        else:
            try:
                self._file = path.open("rb")
            except OSError as exc:
                raise TransferError(f"{self.name}: cannot be read: {exc.strerror}") from None
            found = os.fstat(self._file.fileno())
            self.size = found.st_size if stat.S_ISREG(found.st_mode) else None
        self._packed = self._file.peek(2)[:2] == _GZIP
        self.stream = self._stream()

    def lock(self) -> None:
        """Be the only import of this file.

        Raises:
            TransferError: another one runs.
        """
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise TransferError(f"{self.name}: another import of this file runs; wait for its end") from None
        except OSError:
            # Some file systems of a network have no locks; then nobody else is kept away.
            pass

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._file.fileno()

    @property
    def packed(self) -> bool:
        """Whether it is unpacked while it is read."""
        return self._packed

    def position(self) -> int:
        """Bytes of the file that were read so far, of `size`."""
        if self.path is None:
            return 0
        with contextlib.suppress(OSError, ValueError):
            return os.lseek(self._file.fileno(), 0, os.SEEK_CUR)
        return 0

    def rewind(self) -> None:
        """Begin again with the first byte."""
        self._file.seek(0)
        self.stream = self._stream()

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end.

        Raises:
            TransferError: the disk or the packing is damaged.
        """
        try:
            return self.stream.read(size)
        except (OSError, EOFError, zlib.error) as exc:
            raise self._unreadable(exc) from None

    def lines(self, limit: int = MAX_ITEM, *, ends: bool = False) -> Iterator[Line]:
        """The lines, without a byte order mark before the first and, unless `ends`, `\\r\\n` or `\\n` behind each.

        Raises:
            TransferError: the disk or the packing is damaged, or the text is UTF-16.
        """
        number = 0
        readline = self.stream.readline
        while True:
            try:
                line = readline(limit + 2)
                if not line:
                    return
                number += 1
                size = 0
                if len(line) > limit and not line.endswith(b"\n"):
                    kept, size = line[:_KEPT], len(line)
                    while line and not line.endswith(b"\n"):
                        line = readline(_BUFFER)
                        size += len(line)
                    line = kept
            except (OSError, EOFError, zlib.error) as exc:
                raise self._unreadable(exc) from None
            if number == 1:
                line = self._without_mark(line)
            if not ends and not size and line.endswith(b"\n"):
                line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
            yield number, line, size

    def close(self) -> None:
        """Idempotent."""
        if self.path is not None:
            self._file.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _stream(self) -> io.BufferedReader:
        if not self._packed:
            return self._file
        unpacked: Any = gzip.GzipFile(fileobj=self._file, mode="rb")
        return io.BufferedReader(unpacked, _BUFFER)

    def _without_mark(self, line: bytes) -> bytes:
        if line.startswith(_WIDE):
            raise TransferError(
                f"{self.name}: expected UTF-8, found UTF-16; convert it with iconv -f UTF-16 -t UTF-8"
            )
        return line.removeprefix(_BOM)

    def _unreadable(self, exc: Exception) -> TransferError:
        what = "the gzip data is damaged or cut off" if self._packed else str(exc)
        return TransferError(f"{self.name}: cannot be read any further: {what}")
