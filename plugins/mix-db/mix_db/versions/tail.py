"""The rows that are still in the write log, indexed as they come."""

from __future__ import annotations

from typing import Final

from mix_db.index.memory import MemoryPart
from mix_db.versions.indexing import add_versions
from mix_db.versions.rows import RowsView
from mix_db.versions.version import read_version

__all__ = ["Tail"]

_OVERHEAD: Final = 24
"""Bytes that a row takes in the log besides its content, roughly: so that tiny rows count too."""


_COUNTED: Final = 64 * 1024
"""Bytes of rows after which the paths of their index are counted again."""


class Tail:
    """Grows by one thread at a time, while others read what their snapshot sees of it.

    Attributes:
        log: whose rows these are, as `RowsView.log`.
        part: the index of the rows.
        number: of the last commit that is indexed, or came before `start`.
        time: when the last row was committed, Unix milliseconds; 0 if there is none.
        size: bytes of the rows.
        paths: different paths in their index, as of when they were counted last.
    """

    def __init__(self, log: object, start: int, number: int) -> None:
        self.log = log
        self.part = MemoryPart(start)
        self.number = number
        self.time = 0
        self.size = 0
        self.paths = 0
        self._counted = 0

    def __len__(self) -> int:
        return self.part.stop - self.part.start

    def take(self, view: RowsView) -> None:
        """Index the rows of the commits of the view that have not been yet."""
        for commit in view.since(self.number):
            # Should one not go in, the commit is taken up again from there.
            versions = commit.records[max(0, self.part.stop - commit.row) :]
            before = self.part.stop
            try:
                add_versions(self.part, versions)
            finally:
                self.size += sum(len(data) + _OVERHEAD for data in versions[: self.part.stop - before])
            if versions:
                self.time = read_version(versions[-1])["_rmx_last_modified_at"]
            self.number = commit.number
        if self.size - self._counted >= _COUNTED:
            self.paths, self._counted = self.part.paths(), self.size
