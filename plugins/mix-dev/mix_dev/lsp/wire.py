"""Messages of the language server protocol: a header with a length, and JSON."""

from __future__ import annotations

import threading
from typing import Any, BinaryIO, Final

import msgspec

__all__ = ["Malformed", "Wire"]

_MOST: Final = 64 << 20
"""Bytes of a message."""
_HEADERS: Final = 32


class Malformed(Exception):
    """What came is no message; the next one can be read all the same."""


class Wire:
    """Both directions of a connection."""

    def __init__(self, reads: BinaryIO, writes: BinaryIO) -> None:
        self._reads, self._writes = reads, writes
        self._lock = threading.Lock()

    def read(self) -> Any:
        """The next message; None at the end.

        Raises:
            Malformed: it is none.
        """
        length = self._length()
        if length is None:
            return None
        data = self._reads.read(length)
        if len(data) < length:
            return None
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Malformed(str(exc)) from None

    def _length(self) -> int | None:
        """Bytes of the next message; None at the end, and where nobody knows any more where a message begins."""
        length: int | None = None
        for _ in range(_HEADERS):
            line = self._reads.readline(4096)
            if line in (b"\r\n", b"\n"):
                return length
            name, colon, value = line.partition(b":")
            if not colon or not line.endswith(b"\n"):
                return None
            if name.strip().lower() == b"content-length":
                text = value.strip()
                if not text.isdigit() or len(text) > 9 or int(text) > _MOST:
                    return None
                length = int(text)
        return None

    def write(self, message: dict[str, Any]) -> None:
        """Send a message. Nothing happens if the other side is gone."""
        data = msgspec.json.encode({"jsonrpc": "2.0", **message})
        with self._lock:
            try:
                self._writes.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
                self._writes.flush()
            except (BrokenPipeError, ValueError):
                pass
