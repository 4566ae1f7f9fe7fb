"""The write log: commits that are durable and not yet in the row files.

    header, 80 bytes
        12 bytes  "MXWLOG" and the version of the format, 3, which is that of the row files, too
                  (`mix_db.files.prologue`)
        u32       mark: random, another one in each log, of bytes that are not zero
        u32       generation of the row files, manifest and segments (`mix_db.files.names`)
        u64       rows that are in the row files
        u64       bytes of db.dat that these take
        u64       number of the last commit that is in the row files; commits count from 1
        u64       horizon: of commits up to this number, history may have been dropped
        u64       when that commit was, Unix milliseconds
        u64       rows that compactions have dropped, in all generations together
        u64       sum of the checksums of the rows in the row files, modulo 2^64
        u32       CRC-32C of the 76 bytes before
    then for each commit a frame
        u32       the mark of the header
        u32       length of the records part in bytes
        u64       number of the commit, one more than that of the frame before
        u64       synced: up to this offset the log was known to be durable when the frame was written
        u64       sum of the checksums of all rows of the generation, those of this commit included, modulo 2^64
        u32       CRC-32C of the 32 bytes before and of the records part
        for each record
            varcode   its length
            bytes     the record, opaque here
    then zeros, any number of them: room for commits to come

All numbers are little-endian. A log is made whole under another name, synced, and renamed, so its header is never
torn, and with it every switch is one step: to longer row files after a flush, to a new generation after a compaction.
Its first row is the one behind those of the row files; so a crash between writing the row files and renaming leaves
the old log in force, and no row counts twice. Commits that came in while the row files were written are carried over
to the new log.

The room makes a commit cheaper: where the file does not grow, a sync writes the commit alone, not also what the file
system notes of it. Its size says nothing, then: whether there is more is seen at the first bytes behind the last frame,
which is written from its beginning on, and begins with the mark. Only a power cut leaves anything else behind zeros,
and whoever opens the log reads it to its end. In version 2 there is no room, and such a log gets none: processes that
know only this version, and look at its size, may have it open until the next flush.

What to do with a frame that is not intact is decided twice:

* **Torn tail.** Nothing behind it was written after it was known to be durable: no intact frame further on has a
  `synced` beyond its start, and the witness knows of no commit there. Its call never returned (or its bytes went bad
  before the next commit and with them the witness). The tail is removed and a warning logged.
* **Damage.** An intact frame further on, or the witness, says that this one was durable. Something else spoiled it,
  and commits that were acknowledged are lost or in doubt: `DamagedFile`, and nothing is changed.

The sums are carried on from commit to commit, and compared with the rows that are there by each flush and by `check`:
whatever leaves rows out, or puts others in their place, has to be wrong in the same way in several places. That the
log reaches its end says the witness (`mix_db.files.witness`).

Frames further on are found by the mark. Nobody who can only store records knows it, so no record can pretend to be
a frame.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from crc32c import crc32c

from mix_db.files import prologue, varcode
from mix_db.files.errors import DamagedFile, FilesError
from mix_db.files.layer import File, Folder, write_whole
from mix_db.files.rows import Extent, added, lay

__all__ = [
    "HEADER_SIZE",
    "MARK",
    "MAX_COMMIT",
    "NAME",
    "Commit",
    "Header",
    "Scan",
    "WriteLog",
    "check_size",
    "find_frame",
    "row_sum",
    "scan",
]

NAME: Final = "writelog"
MAX_COMMIT: Final = 1 << 28
"""Bytes that the records of one commit may take together, their lengths included."""

_MAGIC: Final = b"MXWLOG"
_VERSION: Final = 3
_ROOMLESS: Final = 2
_HEADER: Final = Struct(f"<{prologue.SIZE}sIIQQQQQQQ")
_FRAME: Final = Struct("<IIQQQ")
_CRC: Final = Struct("<I")
HEADER_SIZE: Final = _HEADER.size + _CRC.size
MARK: Final = slice(prologue.SIZE, prologue.SIZE + 4)
"""Where the mark is in the header; that of the first frame follows the header."""
_FRAME_SIZE: Final = _FRAME.size + _CRC.size

_LEAST_ROOM: Final = 1 << 12
_MOST_ROOM: Final = 1 << 16
_LOOK: Final = 4
"""Bytes at the end that say whether something was written there: a mark, or what has come of it."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger("mixkit.db")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: its number, the number of its first row, its records, and the sum of the checksums of all rows up to
    its last, which commits have in a log."""

    number: int
    row: int
    records: tuple[bytes, ...]
    sum: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """What came before this log: the extent of the row files, the last commit in them, the horizon and its time, and
    how many rows compactions have dropped. Of which version it is."""

    mark: bytes
    extent: Extent
    commit: int
    horizon: int = 0
    horizon_time: int = 0
    dropped: int = 0
    version: int = _VERSION

    @classmethod
    def new(
        cls, extent: Extent, commit: int, horizon: int = 0, horizon_time: int = 0, dropped: int = 0
    ) -> Header:
        """With a mark of its own."""
        mark = bytes(secrets.choice(range(1, 256)) for _ in range(4))
        return cls(mark, extent, commit, horizon, horizon_time, dropped)

    def pack(self) -> bytes:
        extent, mark = self.extent, _CRC.unpack(self.mark)[0]
        data = _HEADER.pack(
            prologue.pack(_MAGIC, self.version),
            mark,
            extent.generation,
            extent.rows,
            extent.size,
            self.commit,
            self.horizon,
            self.horizon_time,
            self.dropped,
            extent.sum,
        )
        return data + _CRC.pack(crc32c(data))

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        """Raises `DamagedFile`, as the header is never torn, or `FormatVersion`."""
        version = prologue.check(NAME, data, _MAGIC, _VERSION, _ROOMLESS)
        if len(data) < HEADER_SIZE:
            raise DamagedFile(
                NAME, len(data), f"expected a header of {HEADER_SIZE} bytes, the file ends here"
            )
        _, mark, generation, rows, size, commit, horizon, horizon_time, dropped, total = _HEADER.unpack_from(
            data
        )
        if _CRC.unpack_from(data, _HEADER.size)[0] != crc32c(data[: _HEADER.size]):
            raise DamagedFile(NAME, 0, f"the header of {HEADER_SIZE} bytes does not match its checksum")
        extent = Extent(rows, size, generation, total)
        return cls(_CRC.pack(mark), extent, commit, horizon, horizon_time, dropped, version)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of the log holds: the intact commits up to offset `end`.

    `damaged` is true when more commits were durable behind `end`; `torn` bytes there are neither an intact commit nor
    room for others.
    """

    commits: list[Commit]
    end: int
    torn: int
    damaged: bool


def scan(header: Header, data: bytes, start: int, after: Commit | None) -> Scan:
    """Read the frames in `data`, which was found at offset `start`, behind commit `after`."""
    number, row = (
        (after.number, after.row + len(after.records)) if after else (header.commit, header.extent.rows)
    )
    commits: list[Commit] = []
    position = 0
    while frame := _read_frame(header.mark, data, position):
        found, _, total, records, end = frame
        if found != number + 1:
            break
        commits.append(Commit(found, row, records, total))
        number, row, position = found, row + len(records), end
    damaged = False
    torn = len(data[position:].rstrip(b"\0"))
    later = data.find(header.mark, position + 1) if torn else -1
    while later >= 0 and not damaged:
        frame = _read_frame(header.mark, data, later)
        # A frame is only believed about what lies before itself.
        damaged = frame is not None and start + position < frame[1] <= start + later
        later = data.find(header.mark, later + 1)
    return Scan(commits, start + position, torn, damaged)


def find_frame(header: Header, log: bytes, start: int) -> tuple[int, Commit] | None:
    """Where the first intact frame at or behind `start` is, and an empty commit to stand for the one before it."""
    later = log.find(header.mark, start)
    while later >= 0:
        if frame := _read_frame(header.mark, log, later):
            return later, Commit(frame[0] - 1, 0, ())
        later = log.find(header.mark, later + 1)
    return None


class WriteLog:
    """The log as one process sees it. Not thread-safe; whoever changes it holds the write lock.

    Attributes:
        header: of the log file that is open.
        commits: all of it that has been read or written, in order.
        end: offset behind the last of them.
        broken: a write failed, and this object takes no more. A new one does: where `is_current` has become false
            nothing of the write is left, otherwise what is whole of it will count as committed.
    """

    def __init__(self, folder: Folder, *, write: bool) -> None:
        self._folder = folder
        self._write = write
        self._file: File = folder.open(NAME, write=write)
        # As long as it is open no other file has this.
        self._identity = self._file.identity()
        try:
            self.header = Header.unpack(self._file.read(0, HEADER_SIZE))
        except FilesError:
            self._file.close()
            raise
        self.commits: list[Commit] = []
        self.end = HEADER_SIZE
        self._synced = HEADER_SIZE
        # Where the file ends, as far as this process knows.
        self._size = 0
        # Whether all behind `end` has been seen to be room, save what others may have written since.
        self._recovered = False
        self.broken = False

    @classmethod
    def create(cls, folder: Folder, header: Header, commits: Sequence[Commit] = ()) -> None:
        """Put a log with these commits in the place of the present one, in one step. Needs the write lock.

        What the header's extent counts must be durable, as it is in no log after this. Until `sync` of the new one,
        a power cut may bring the old one back.
        """
        content = bytearray(header.pack())
        total = header.extent.sum
        for commit in commits:
            # All before it is durable before anybody sees it, as the file is synced before it gets its name.
            body, total = _body(commit.records, total)
            content += _frame(header.mark, commit.number, len(content), total, body)
        write_whole(folder, NAME, [bytes(content)])

    @property
    def last(self) -> int:
        """Number of the last commit."""
        return self.commits[-1].number if self.commits else self.header.commit

    @property
    def rows(self) -> int:
        """Number of rows, those of the row files included."""
        return (
            self.commits[-1].row + len(self.commits[-1].records) if self.commits else self.header.extent.rows
        )

    @property
    def sum(self) -> int:
        """Sum of the checksums of all these rows."""
        return self.commits[-1].sum if self.commits else self.header.extent.sum

    def is_current(self) -> bool:
        """False once another log has been put in its place: open that one."""
        return self._folder.identity(NAME) == self._identity

    def grown(self, end: int) -> bool:
        """Whether something was written behind a commit that ended there; the one look that every query makes."""
        return self._file.read(end, _LOOK).strip(b"\0") != b""

    def since(self, number: int, count: int) -> list[Commit]:
        """Of the first `count` commits those with a greater number."""
        return self.commits[max(0, number - self.header.commit) : count]

    def refresh(self) -> None:
        """Read what other processes have committed since. A frame that is just being written is left for later.

        Raises:
            DamagedFile: one that was durable is not intact.
        """
        found, before = self._scan(), -1
        while found.damaged and found.end > before:
            # A commit may have been written while its bytes were read, and a later one before theirs were. Who saw the
            # later one finds the first whole now; and what is not, at the second look, is damaged.
            before = found.end
            found = self._scan()
        self._refuse_damage(found)
        self._take(found)

    def recover(self) -> int:
        """Read to the end, which a killed writer may have left torn: remove that. Needs the write lock.

        The first time the whole file is looked at, as after a power cut; then the place where others go on writing.
        Answers the number of bytes removed.

        Raises:
            DamagedFile: it is no torn tail; nothing is changed.
        """
        if self._recovered:
            # One look, as each commit takes it. How much room there is was seen before, and need not be right.
            seen = self._file.read(self.end, _LOOK)
            if seen and not seen.strip(b"\0"):
                return 0
        self._size = self._file.size()
        if self._size < self.end:
            raise DamagedFile(
                NAME, self._size, f"expected {self.end} bytes that were there before, the file ends here"
            )
        if self._recovered and self._size == self.end:
            return 0
        found = self._scan()
        self._refuse_damage(found)
        if found.torn:
            _log.warning(
                "%s: removing %d bytes of an unfinished commit at offset %d", NAME, found.torn, found.end
            )
            # With the room behind it, in which more of it may be than can be seen.
            self._file.truncate(found.end)
            self._size = found.end
        self._take(found)
        self._recovered = True
        return found.torn

    def sync(self) -> None:
        """Make all that was read durable, and the name of the file: a killed writer may have been about to.

        Needed before the first `append`.
        """
        self._file.sync()
        self._folder.sync()
        self._synced = self.end

    def append(self, groups: Sequence[Sequence[bytes]]) -> list[Commit]:
        """Commit each group of records and return the commits when all are durable: one write, one sync.

        Needs the write lock and a log that is read to the end.

        Raises:
            OSError: none of them is committed. They may appear all the same if the power goes before the next
                commit, or if they cannot be undone; then the log is `broken`, and it takes no more.
        """
        if self.broken:
            raise FilesError("the write log could not be put right after an error of the disk; open it again")
        data = bytearray()
        commits: list[Commit] = []
        number, row, total = self.last, self.rows, self.sum
        for records in groups:
            number += 1
            body, total = _body(records, total)
            data += _frame(self.header.mark, number, self._synced, total, body)
            commits.append(Commit(number, row, tuple(records), total))
            row += len(records)
        written = False
        try:
            self._file.write(self.end, bytes(data))
            written = True
            self._make_room(len(data))
            self._file.sync()
        except OSError as exc:
            if not written and len(groups) == 1 and exc.errno in _FULL:
                # Its end did not fit, so nobody can have taken it for whole; and there is no room for a new file.
                self._file.truncate(self.end)
            else:
                self._undo()
            raise
        self.end += len(data)
        self._synced = self.end
        self.commits += commits
        return commits

    def close(self) -> None:
        self._file.close()

    def _make_room(self, size: int) -> None:
        """Behind a commit of that size, unless there is some; it is durable with the commit."""
        end = self.end + size
        # As much as there is already, within bounds, so that a small database stays small.
        room = min(max(end, _LEAST_ROOM), _MOST_ROOM)
        if end <= self._size or 4 * size > room or self.header.version == _ROOMLESS:
            return
        whole = (end + room) // _LEAST_ROOM * _LEAST_ROOM
        # Where there is no space for it, commits go on growing the file.
        with contextlib.suppress(OSError):
            self._file.write(end, bytes(whole - end))
            self._size = whole

    def _undo(self) -> None:
        # Not truncated: readers may have seen frames that are to go, and must notice. A new file tells them.
        self.broken = True
        write_whole(self._folder, NAME, [self._file.read(0, self.end)])

    def _scan(self) -> Scan:
        data = self._file.read(self.end, max(0, self._file.size() - self.end))
        return scan(self.header, data, self.end, self.commits[-1] if self.commits else None)

    @staticmethod
    def _refuse_damage(found: Scan) -> None:
        if found.damaged:
            raise DamagedFile(NAME, found.end, "this commit is not intact, and later ones are")

    def _take(self, found: Scan) -> None:
        self.commits += found.commits
        self.end = found.end


def check_size(records: Sequence[bytes]) -> None:
    """Raise `FilesError` if the records are too many bytes for one commit."""
    size = sum(map(len, records))
    if size + varcode.MAX_SIZE * len(records) <= MAX_COMMIT:
        return
    size += sum(len(varcode.write(len(record))) for record in records)
    if size > MAX_COMMIT:
        raise FilesError(f"a commit of at most {MAX_COMMIT} bytes is expected, found {size}; save in parts")


def row_sum(record: bytes) -> int:
    """The checksum of a row as `db.sum` has it."""
    return int(crc32c(varcode.write(len(record)) + record))


def _body(records: Sequence[bytes], total: int) -> tuple[bytes, int]:
    """The records part of a frame, and the sum with their rows."""
    body, _, _, checksums = lay(tuple(records), 0)
    return body, added(total, checksums)


def _frame(mark: bytes, number: int, synced: int, total: int, body: bytes) -> bytes:
    head = _FRAME.pack(_CRC.unpack(mark)[0], len(body), number, synced, total)
    return head + _CRC.pack(crc32c(body, crc32c(head))) + body


def _read_frame(
    mark: bytes, data: bytes, position: int
) -> tuple[int, int, int, tuple[bytes, ...], int] | None:
    """(number, synced, sum, records, end) of the frame at the position, or None if none is intact there."""
    if len(data) - position < _FRAME_SIZE or data[position : position + 4] != mark:
        return None
    _, length, number, synced, total = _FRAME.unpack_from(data, position)
    start = position + _FRAME_SIZE
    end = start + length
    head = data[position : position + _FRAME.size]
    if (
        end > len(data)
        or crc32c(memoryview(data)[start:end], crc32c(head)) != _CRC.unpack_from(data, start - 4)[0]
    ):
        return None
    records = []
    try:
        while start < end:
            size, start = varcode.read(data, start)
            records.append(data[start : start + size])
            start += size
    except ValueError:
        return None
    return (number, synced, total, tuple(records), end) if start == end else None
