"""What comes from a descriptor, cut into lines."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

__all__ = ["MOST", "Lines", "is_file", "read_lines"]

MOST: Final = 4 * 1024 * 1024
"""Bytes of a message."""
_AT_ONCE: Final = 64 * 1024
"""Bytes that are read at once. Buffers for more are mapped anew each time."""


class Lines:
    """Cuts pieces into lines.

    Args:
        most: bytes of a line.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """The lines that end in a piece, each without its end; None for one that is too long."""
        ended = data.split(b"\n")
        rest = ended.pop()
        for line in ended:
            yield self._joined(line)
        self._begin(rest)

    def end(self) -> bytes | None:
        """The last line, which has no end; None if it is too long."""
        return self._joined(b"")

    def _begin(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self._most:
            self._begun.clear()
        elif piece:
            self._begun.append(piece)

    def _joined(self, line: bytes) -> bytes | None:
        # PERF: most lines come as a whole.
        if self._length or len(line) > self._most:
            self._begin(line)
            found = None if self._length > self._most else b"".join(self._begun)
            self._begun.clear()
            self._length = 0
            return found
        return line


async def read_lines(
    source: int,
    lines: Lines,
    take: Callable[[bytes | None], None],
    is_full: Callable[[], bool],
    room: Callable[[], Awaitable[None]],
) -> None:
    """Take the lines of a descriptor, until it ends.

    Args:
        take: called with each, on the event loop.
        is_full: whether nothing more should be read now.
        room: waits until it may.
    """
    # PERF: who has threads cuts lines without it.
    import asyncio

    if is_file(source):
        # The event loop waits for no file.
        while data := await asyncio.to_thread(os.read, source, _AT_ONCE):
            for line in lines.feed(data):
                take(line)
            if is_full():
                await room()
    else:
        await _Reading(source, lines, take, is_full, room).ended
    take(lines.end())


def is_file(descriptor: int) -> bool:
    """Whether that is a file, or a device like one: never waited for, which no event loop could."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(descriptor))


class _Reading:
    """PERF: what comes is taken where the event loop finds it, without waking anybody who waits for it."""

    def __init__(
        self,
        source: int,
        lines: Lines,
        take: Callable[[bytes | None], None],
        is_full: Callable[[], bool],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._source = source
        self._lines = lines
        self._take = take
        self._is_full = is_full
        self._room = room
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._resuming: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.ended.add_done_callback(self._stop)
        self._loop.add_reader(source, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._source, _AT_ONCE)
            for line in self._lines.feed(data):
                self._take(line)
            full = self._is_full()
        except BlockingIOError:
            return
        except Exception as exc:
            self._end(exc)
            return
        if not data:
            self._end(None)
        elif full:
            self._loop.remove_reader(self._source)
            self._resuming = self._loop.create_task(self._resume())

    async def _resume(self) -> None:
        try:
            await self._room()
        except Exception as exc:
            self._end(exc)
        else:
            if not self.ended.done():
                self._loop.add_reader(self._source, self._read)

    def _end(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if exc is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(exc)

    def _stop(self, ended: asyncio.Future[None]) -> None:
        self._loop.remove_reader(self._source)
        if self._resuming is not None:
            self._resuming.cancel()
