"""Lines in a folder, to which many processes append, which others read meanwhile, and of which the oldest go.

    0000000000000000-0001764291600000.log    lines, each with its end
    0000000000004711-0001764291700000.log    named by the number of the first, and since which millisecond

A line is known by its number: how many were ever written before it. Who appends holds a lock on the folder, so lines
are in the order of their numbers, and who has read up to one finds all others behind it. A line that somebody was
killed over is ended by the next writer; readers pass over what is none of theirs.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from mixkit.whole_file import sync_folder

__all__ = ["Bounds", "Log", "Tail"]

_ENDING: Final = ".log"
_SEGMENT: Final = 1 << 20
"""Bytes of a file after which another one is begun."""
_PARTS: Final = 8
"""A file has at most this part of what may be kept, so that not much more is."""
_CHUNK: Final = 256 << 10

Line = tuple[int, bytes]


class Bounds(NamedTuple):
    """How much is kept; the files have up to two more parts of `_PARTS` of it, which are dropped when lines are added.

    Attributes:
        lines: how many.
        seconds: how old.
        size: how many bytes.
    """

    lines: int | None = None
    seconds: float | None = None
    size: int | None = None


class _Segment(NamedTuple):
    first: int
    began: int
    name: str


class Log:
    """The lines in one folder. Thread-safe; many processes may have one of the same folder, and forks go on with it.

    Args:
        folder: made with the first line, in a folder that is there.
    """

    def __init__(self, folder: Path, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - it is immutable
        self._folder = folder
        self._bounds = bounds
        sizes = [_SEGMENT] if bounds.size is None else [_SEGMENT, bounds.size // _PARTS]
        self._most = max(min(sizes), 1)

    def open(self) -> int:
        """A descriptor of the folder, by which `append` finds this one also if another one has its name by then.

        Raises:
            FileNotFoundError: what the folder would be in is gone.
            OSError: it cannot be opened or made.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return os.open(self._folder, flags)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._folder.parent)
            return os.open(self._folder, flags)

    def append(self, folder: int, lines: bytes, *, durable: bool = False) -> None:
        """Write lines, each with its end. Killing this process or any other afterwards loses none.

        Args:
            folder: what `open` has answered; it stays open.
            durable: neither does a crash of the machine.

        Raises:
            OSError: they cannot be written; then none of them is.
        """
        # NOTE: by a descriptor of its own, since a lock belongs to what was opened, and threads may share that.
        own = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
            fd = self._current(own)
            try:
                _write(fd, lines, durable)
            finally:
                os.close(fd)
        finally:
            os.close(own)

    def _current(self, folder: int) -> int:
        """The file for the next lines; what is too old or too much goes when another one is begun."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        segments = _segments(folder)
        now = time.time_ns() // 1_000_000
        number = 0
        if segments:
            last = segments[-1]
            fd = os.open(last.name, flags, dir_fd=folder)
            try:
                seconds = self._bounds.seconds
                stale = seconds is not None and now - last.began > seconds * 1000 / _PARTS
                if os.fstat(fd).st_size < self._most and not stale:
                    return fd
                number = last.first + _count(fd)
            except BaseException:
                os.close(fd)
                raise
            if number == last.first:
                return fd
            os.close(fd)
        name = f"{number:016d}-{now:016d}{_ENDING}"
        fd = os.open(name, flags | os.O_CREAT, 0o600, dir_fd=folder)
        os.fsync(folder)
        self._drop(folder, [*segments, _Segment(number, now, name)], now)
        return fd

    def _drop(self, folder: int, segments: list[_Segment], now: int) -> None:
        bounds = self._bounds
        newest = segments[-1].first
        sizes = [_size(each.name, folder) for each in segments]
        for index, (segment, following) in enumerate(itertools.pairwise(segments)):
            if not (
                (bounds.lines is not None and newest - following.first >= bounds.lines)
                or (bounds.seconds is not None and following.began < now - bounds.seconds * 1000)
                or (bounds.size is not None and sum(sizes[index:]) > bounds.size)
            ):
                return
            os.unlink(segment.name, dir_fd=folder)

    # -- reading ------------------------------------------------------------------------------

    def segments(self) -> list[_Segment]:
        """The files, the oldest first."""
        try:
            return _segments(self._folder)
        except FileNotFoundError:
            return []

    def read(self, segment: _Segment, offset: int = 0, most: int = -1) -> bytes:
        """What is in a file; nothing if it was dropped."""
        try:
            with (self._folder / segment.name).open("rb", buffering=0) as file:
                file.seek(offset)
                return file.read(most) or b""
        except FileNotFoundError:
            return b""

    def backwards(self, before: int | None = None) -> Iterator[Line]:
        """Lines with their numbers, the newest first: those that there are now, but none that is too much.

        Args:
            before: the number of the first that is not wanted.
        """
        most = self._bounds.lines
        oldest: int | None = None
        for segment in reversed(self.segments()):
            behind = before is not None and segment.first >= before
            if behind and (most is None or oldest is not None):
                continue
            lines = self._lines(segment)
            number = segment.first + len(lines)
            if most is not None and lines and oldest is None:
                oldest = number - most
            while lines and not behind:
                line = lines.pop()
                number -= 1
                if oldest is not None and number < oldest:
                    return
                if before is None or number < before:
                    yield number, line

    def _lines(self, segment: _Segment) -> list[bytes]:
        data = self.read(segment)
        return data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]

    def tail(self, after: int | None = None) -> Tail:
        """What follows a line.

        Args:
            after: number of the line; None is the last one that there is now, -1 is before all.
        """
        if after is None:
            after = next((number for number, _ in self.backwards()), -1)
        return Tail(self, after)


class Tail:
    """The lines behind one, as they are written. Made by `Log.tail`.

    Attributes:
        after: number of the last line that was answered.
    """

    def __init__(self, log: Log, after: int) -> None:
        self._log = log
        self._segment: _Segment | None = None
        self._offset = 0
        self._number = 0
        self.after = after

    def next(self, most: int = 1_000) -> list[Line]:
        """At most so many of the lines that there are by now and were not answered yet; none where there are none."""
        found: list[Line] = []
        while True:
            lines = self._some()
            if not lines and not self._go_on():
                return found
            for line in lines:
                number = self._number
                if number > self.after:
                    if len(found) == most:
                        return found
                    found.append((number, line))
                    self.after = number
                self._number += 1
                self._offset += len(line) + 1

    def _some(self) -> list[bytes]:
        if self._segment is None:
            return []
        data = self._log.read(self._segment, self._offset, _CHUNK)
        if len(data) == _CHUNK and b"\n" not in data:
            data = self._log.read(self._segment, self._offset)
        return data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]

    def _go_on(self) -> bool:
        """To the file behind this one, if there is one: nobody writes into this one any more."""
        segments = self._log.segments()
        if self._segment is None:
            # The one that has it, or the first if that was dropped.
            behind = [each for each in segments if each.first <= self.after + 1][-1:] or segments[:1]
        else:
            behind = [each for each in segments if each.first > self._segment.first][:1]
            if behind and self._some():
                # Written between the last look into this one and the look at what there is.
                return True
        if not behind:
            return False
        self._segment, self._offset, self._number = behind[0], 0, behind[0].first
        return True


def _segments(folder: int | Path) -> list[_Segment]:
    found = []
    for name in os.listdir(folder):  # noqa: PTH208 - by a descriptor too
        first, _, began = name.removesuffix(_ENDING).partition("-")
        if name.endswith(_ENDING) and first.isdecimal() and began.isdecimal():
            found.append(_Segment(int(first), int(began), name))
    return sorted(found)


def _write(fd: int, lines: bytes, durable: bool) -> None:
    """All of them or none. Somebody may have been killed over what stands before them."""
    size = os.fstat(fd).st_size
    torn = size and os.pread(fd, 1, size - 1) != b"\n"
    try:
        # As one string, so that nobody reads a part of a line, as a rule.
        view = memoryview(b"\n" + lines if torn else lines)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        raise


def _count(fd: int) -> int:
    """Lines of a file, with one that was not ended: whoever goes on in another file leaves it so."""
    count, offset, last = 0, 0, b"\n"
    while chunk := os.pread(fd, _CHUNK, offset):
        count += chunk.count(b"\n")
        offset += len(chunk)
        last = chunk[-1:]
    return count + (last != b"\n")


def _size(name: str, folder: int) -> int:
    return os.stat(name, dir_fd=folder).st_size
