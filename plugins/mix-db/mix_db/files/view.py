"""The rows and index segments of a database at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mix_db.files.rows import RowReader
from mix_db.files.segments import SegmentFile
from mix_db.files.write_log import Commit, WriteLog

__all__ = ["View", "read_each"]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A state that never changes, usable from any thread as long as anybody holds it, whatever becomes of the files.

    Attributes:
        rows: number of rows.
        last: number of the last commit.
        generation: another one after a compaction, which numbers rows anew.
        horizon: of commits up to this number, history may have been dropped.
        horizon_time: when that commit was, Unix milliseconds; 0 if there is none.
        extent_rows: rows that are in the row files; those behind are in `commits`.
        end: where the last of these commits ends in its log.
        segments: index segments, which cover the rows up to `extent_rows` in order and without gaps; none if the
            store was opened without an index.
    """

    rows: int
    last: int
    generation: int
    horizon: int
    horizon_time: int
    extent_rows: int
    segments: tuple[SegmentFile, ...]
    reader: RowReader = field(repr=False)
    # These two grow, and count as far as `rows` and `count` say; whoever has an older view does not see it.
    records: list[bytes] = field(repr=False)
    log: WriteLog = field(repr=False)
    count: int
    end: int

    def grown(self, rows: int, last: int, count: int, end: int) -> View:
        """The same with what was committed to its log since. Part of every commit, where `replace` takes its time."""
        return View(
            rows,
            last,
            self.generation,
            self.horizon,
            self.horizon_time,
            self.extent_rows,
            self.segments,
            self.reader,
            self.records,
            self.log,
            count,
            end,
        )

    @property
    def commits(self) -> Sequence[Commit]:
        """The commits that are in the write log, in order; a copy."""
        return self.log.commits[: self.count]

    def since(self, number: int) -> Sequence[Commit]:
        """The commits in the write log with a greater number, in order; quick, however many there are before.

        All commits after `number` are among them only if `number` is not less than `flushed`.
        """
        return self.log.since(number, self.count)

    @property
    def flushed(self) -> int:
        """Number of the last commit that is in the row files."""
        return self.log.header.commit

    def read(self, row: int) -> bytes:
        """The record of a row. `IndexError` if there is none, `DamagedFile` if it is not what was written."""
        if row < self.extent_rows:
            return self.reader.read(row)
        if row >= self.rows:
            raise IndexError(f"row {row} of {self.rows}")
        return self.records[row - self.extent_rows]

    def read_many(self, rows: Iterable[int], most: int | None = None) -> list[bytes]:
        """The records of several rows, in the order given, up to the one with which they have `most` bytes.

        Quicker than one by one, and raises what `read` does."""
        wanted = list(rows)
        if not wanted or max(wanted) < self.extent_rows:
            return self.reader.read_many(wanted, most)
        return read_each(self.read, wanted, most)


def read_each(read: Callable[[int], bytes], rows: Iterable[int], most: int | None) -> list[bytes]:
    """Rows read one by one, as `View.read_many` answers them."""
    records: list[bytes] = []
    left = most
    for row in rows:
        records.append(read(row))
        if left is not None:
            left -= len(records[-1])
            if left <= 0:
                break
    return records
