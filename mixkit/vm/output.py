"""What a guest writes to its standard streams: logged by line, and the last of it kept for the error that follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from mixkit.errors import GuestError

__all__ = ["Output"]

STDOUT: Final = 1
STDERR: Final = 2
_LEVELS: Final = {STDOUT: 1, STDERR: 2}
_MAX_LINE: Final = 1 << 16
"""Bytes of a line; a longer one is logged in pieces."""
_LAST_LINES: Final = 20
_LAST_CHARACTERS: Final = 2_000
"""What an error quotes: enough for a panic and the trace that a runtime prints behind it."""


class Output:
    """The output of one guest, as lines with their level in the log: 1 (info) or 2 (warning)."""

    __slots__ = ("_last", "_started")

    def __init__(self) -> None:
        self._started: dict[int, bytes] = {}
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def lines(self, fd: int, data: bytes) -> Iterator[tuple[int, str]]:
        """The lines that end with these bytes written to a stream. What has no end yet is kept for the next write."""
        data = self._started.pop(fd, b"") + data
        start = 0
        # One after the other: the limit on the log ends it before a list of all lines would have been made.
        while (end := data.find(b"\n", start)) >= 0 or len(data) - start >= _MAX_LINE:
            end = min(end, start + _MAX_LINE) if end >= 0 else start + _MAX_LINE
            yield self._line(fd, data[start:end])
            start = end + (data[end : end + 1] == b"\n")
        if start < len(data):
            self._started[fd] = data[start:]

    def rest(self) -> list[tuple[int, str]]:
        """The lines that have no end."""
        started, self._started = self._started, {}
        return [self._line(fd, data) for fd, data in started.items()]

    def explain(self, error: GuestError) -> GuestError:
        """The error, with the last lines of stderr, on which runtimes say why they give up; as it is without any."""
        said = " | ".join(self._last)
        if not said:
            return error
        if len(said) > _LAST_CHARACTERS:
            said = f"…{said[-_LAST_CHARACTERS:]}"
        return GuestError(f"{error}; last on stderr: {said}", trap=error.trap, backtrace=error.backtrace)

    def _line(self, fd: int, data: bytes) -> tuple[int, str]:
        text = data.decode("utf-8", "replace")
        if fd == STDERR and text.strip():
            self._last.append(text.strip()[-_LAST_CHARACTERS:])
        return _LEVELS[fd], text
