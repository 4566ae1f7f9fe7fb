"""An app's objects in a bucket, and the book that is kept of them: what files and uploads stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from mix_files import trailer
from mix_files.explained import missing
from mix_files.ledger import Totals
from mix_files.s3.book import Book
from mix_files.s3.store import Store
from mix_files.settings import FilesSettings
from mixkit.errors import FileConflict, FileError, PathError
from mixkit.filesystem import FileInfo
from mixkit.paths import check_path
from mixkit.storage import Place

__all__ = ["Shelf", "folder_of"]

_KEY: Final = 1_024
_MAX_PATH: Final = 768


def folder_of(place: Place, settings: FilesSettings) -> str:
    """What the keys of an app's files begin with, without the slash of their paths."""
    folder = f"{settings.s3_prefix}{place.workspace}/{place.home.parent.name}"
    if len(folder.encode()) > _KEY - _MAX_PATH:
        raise FileError(f"the names of workspace and app are too long for keys of a store: {folder!r:.80}")
    return folder


class Shelf:
    """The objects of one app. Its paths are checked by who asks."""

    def __init__(self, place: Place, settings: FilesSettings, store: Callable[[], Store]) -> None:
        self._folder = folder_of(place, settings)
        self._store_of = store
        self.book = Book(place, settings, self._counted)

    @property
    def store(self) -> Store:
        return self._store_of()

    def key(self, path: str) -> str:
        """Of the object of a file."""
        return self._folder + path

    async def size_of(self, path: str, only_if: str | None) -> tuple[int, str] | None:
        """Size and ETag of a file as it is now, None if there is none. `FileConflict` if it is not as it must be."""
        meta = await self.store.head(self.key(path))
        etag = (meta["e_tag"] or "").strip('"') if meta else None
        if only_if is not None and only_if != (etag or ""):
            raise FileConflict(path, only_if, etag)
        return None if meta is None or etag is None else (max(0, meta["size"] - trailer.SIZE), etag)

    async def remove(self, path: str, only_if: str | None) -> None:
        """The path is locked."""
        found = await self.size_of(path, only_if)
        if found is None:
            raise missing(path)
        claim = await asyncio.to_thread(self.book.claim, 0, new=False, freed=0)
        try:
            await self.store.delete(self.key(path))
            await asyncio.to_thread(self.book.settle, claim, -1, -found[0])
        finally:
            claim.leave()

    def listed(self, meta: Any, prefix: str) -> FileInfo | None:
        path = meta["path"].removeprefix(self._folder)
        try:
            check_path(path)
        except PathError:
            return None  # Not one of ours.
        if meta["size"] < trailer.SIZE or not path.startswith(prefix):
            return None
        return FileInfo(
            path=path,
            size=meta["size"] - trailer.SIZE,
            etag=(meta["e_tag"] or "").strip('"'),
            modified=round(meta["last_modified"].timestamp() * 1_000),
        )

    def _counted(self) -> Totals:
        files = size = 0
        with self.store.explained("list", "/"):
            for chunk in self.store.list(self._folder):
                for meta in chunk:
                    info = self.listed(meta, "/")
                    if info is not None:
                        files += 1
                        size += info.size
        return Totals(files, size)
