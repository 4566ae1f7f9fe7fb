"""A new generation of the files, made beside the one in force: rows, segments, manifest.

It counts once a write log names it. Until then its files are like any others that a crash leaves behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from mix_db.files import names, rows, segments
from mix_db.files.layer import Folder
from mix_db.files.manifest import Entry, Manifest
from mix_db.files.rows import Extent, RowReader
from mix_db.files.segments import MakeIndex

__all__ = ["NewGeneration"]


class NewGeneration:
    """Its maker holds the lock `names.MERGE`.

    Args:
        number: of the generation; what there is of it already is removed.
        index: makes its segments; without one it gets none.
    """

    def __init__(self, folder: Folder, number: int, index: MakeIndex | None) -> None:
        self.extent = Extent(generation=number)
        self._folder = folder
        self._index = index
        self._entries: list[Entry] = []
        self.remove()

    def append(self, records: Iterable[bytes]) -> None:
        """Rows, and segments of them; their contents are durable when it returns."""
        start = self.extent.rows
        self.extent = rows.append(self._folder, self.extent, records)
        if self._index is None:
            return
        reader = RowReader(self._folder, self.extent)
        while start < self.extent.rows:
            stop = min(start + segments.ROWS, self.extent.rows)
            content = self._index(start, map(reader.read, range(start, stop)))
            self._entries.append(segments.write(self._folder, self.extent.generation, start, stop, content))
            start = stop

    def finish(self) -> Extent:
        """Make everything durable, names included; answers what the write log must say of it."""
        if self._index is not None:
            Manifest(self.extent.generation, tuple(self._entries)).write(self._folder)
        self._folder.sync()
        return self.extent

    def remove(self) -> None:
        """Give up its files, as far as they can be removed."""
        with contextlib.suppress(OSError):
            for name in self._folder.listing():
                if names.family(name) == self.extent.generation:
                    self._folder.remove(name)
