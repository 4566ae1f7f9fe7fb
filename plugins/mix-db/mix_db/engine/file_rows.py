"""Rows in the files of a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from mix_db.files import check, names
from mix_db.files.home import belongs
from mix_db.files.layer import DiskFolder
from mix_db.files.store import Store
from mix_db.versions.indexing import check_segment, index_rows

__all__ = ["FileRows"]


class FileRows(Store):
    """The store of a folder, with segments as `mix_db.index` makes them. `identity` is the folder's.

    Args:
        path: the folder.
        create: make a database if there is none.
        parents: and what the folder is in.
        read_only, timeout: as for `Store`.

    Raises:
        FileNotFoundError: there is none, and it is not to be made.
        StorageError: see `Store`.
    """

    def __init__(
        self, path: Path, *, create: bool, read_only: bool, timeout: float, parents: bool = True
    ) -> None:
        folder = DiskFolder(path, create=create, parents=parents)
        self.identity = folder.own_identity()
        try:
            if not create and not any(map(belongs, folder.listing())):
                raise FileNotFoundError(f"there is no database in {path}")
            super().__init__(folder, read_only=read_only, timeout=timeout, index=index_rows)
        except BaseException:
            folder.close()
            raise

    def check(self) -> list[str]:
        """Read everything; answers what is not as it was written."""
        with contextlib.ExitStack() as stack:
            if not self.read_only:
                stack.enter_context(self.writing())
            return [str(finding) for finding in check.check(self.folder, check_segment)]

    def size(self) -> int:
        """Bytes of all files."""
        return self._size_of(self.folder.listing())

    def size_in_force(self) -> int:
        """Bytes of the files of the generation in force, but for the log; without those that are being made."""
        generation = self.view.generation
        return self._size_of(
            name
            for name in self.folder.listing()
            if names.family(name) == generation and not name.endswith(names.NEW)
        )

    def _size_of(self, files: Iterable[str]) -> int:
        return sum(size for size in map(self.folder.size, files) if size is not None)
