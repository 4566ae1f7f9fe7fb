"""The file system `s3`: the contract, over objects."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from mix_files import trailer
from mix_files.explained import missing
from mix_files.s3.shelf import Shelf, folder_of
from mix_files.s3.store import Refused, Store
from mix_files.s3.upload import S3Upload, info_of, settled
from mix_files.settings import FilesSettings
from mix_files.trailer import Trailer
from mixkit.errors import FileConflict, FileError, ProfileError
from mixkit.file_fields import check_fields
from mixkit.filesystem import PIECE, FileInfo, Page, Usage
from mixkit.paths import check_folder, check_path
from mixkit.storage import Place

__all__ = ["S3FileSystem"]

T = TypeVar("T")

_TAIL: Final = 128 * 1024
"""Bytes that are read at once from the end, where it is said what a file is: many a file is not longer."""
_STEP: Final = 4 * PIECE


class S3FileSystem:
    """Files in a bucket. Nothing is connected before the first call, and each process connects for itself."""

    name = "s3"
    durable = True

    def __init__(self, settings: FilesSettings | None = None) -> None:
        self._settings = settings or FilesSettings()
        if not self._settings.s3_bucket:
            raise ProfileError("expected the name of a bucket, found none", "settings.files.s3_bucket")
        self.lifetime = self._settings.ephemeral_lifetime
        self._store: Store | None = None
        self._lock = threading.Lock()

    def open(self, place: Place) -> S3Files:
        return S3Files(place, self._settings, self.store)

    def remove(self, place: Place) -> None:
        self.store().remove(folder_of(place, self._settings))

    def store(self) -> Store:
        """This process's."""
        store = self._store
        if store is None or store.process != os.getpid():
            with self._lock:
                store = self._store
                if store is None or store.process != os.getpid():
                    store = self._store = Store(self._settings)
        return store


class S3Files:
    """`Files` of one app."""

    def __init__(self, place: Place, settings: FilesSettings, store: Callable[[], Store]) -> None:
        self.shelf = Shelf(place, settings, store)

    # -- reading ------------------------------------------------------------------------------

    async def stat(self, path: str) -> FileInfo:
        check_path(path)
        self.shelf.book.check_there()
        found = await self.shelf.store.tail(self.shelf.key(path), trailer.SIZE)
        if found is None:
            raise missing(path)
        return _info(path, *found)[0]

    async def read(
        self, path: str, *, start: int = 0, stop: int | None = None, only_if: str | None = None
    ) -> S3Reading:
        check_path(path)
        if start < 0 or (stop is not None and stop < start):
            raise FileError(
                f"expected a part from 0 on that does not end before it begins, found {start} to {stop}"
            )
        self.shelf.book.check_there()
        found = await self.shelf.store.tail(self.shelf.key(path), _TAIL)
        if found is None:
            raise missing(path)
        info, _ = _info(path, *found)
        if only_if is not None and info.etag != only_if:
            raise FileConflict(path, only_if, info.etag)
        return S3Reading(self.shelf.store, self.shelf.key(path), info, found[1][: -trailer.SIZE], start, stop)

    async def list(self, folder: str = "/", *, after: str | None = None, most: int = 1_000) -> Page:
        prefix = check_folder(folder)
        if after is not None:
            check_path(after)
        if most < 1:
            raise FileError(f"expected at least 1 file of a list, found {most}")
        self.shelf.book.check_there()
        found: list[FileInfo] = []
        offset = self.shelf.key(after) if after is not None and after > prefix else None
        with self.shelf.store.explained("list", folder):
            async for chunk in self.shelf.store.list(
                self.shelf.key(prefix).removesuffix("/"), offset, min(most + 1, 1_000)
            ):
                for meta in chunk:
                    info = self.shelf.listed(meta, prefix)
                    if info is None:
                        continue
                    if len(found) == most:
                        return Page(found, found[-1].path)
                    found.append(info)
        return Page(found, None)

    async def usage(self) -> Usage:
        self.shelf.book.check_there()
        totals = await asyncio.to_thread(self.shelf.book.totals)
        return self.shelf.book.usage(totals)

    # -- writing ------------------------------------------------------------------------------

    async def put(
        self,
        path: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        upload = self._upload(path, content_type, metadata, only_if)
        try:
            await upload.write(data)
            return await upload.commit()
        finally:
            await upload.abort()

    async def begin(
        self,
        path: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> S3Upload:
        upload = self._upload(path, content_type, metadata, only_if)
        await self.shelf.size_of(path, only_if)
        return upload

    def _upload(
        self, path: str, content_type: str, metadata: Mapping[str, str] | None, only_if: str | None
    ) -> S3Upload:
        check_path(path)
        said = dict(metadata or {})
        check_fields(content_type, said)
        self.shelf.book.check_there()
        return S3Upload(self.shelf, path, content_type, said, only_if)

    async def delete(self, path: str, *, only_if: str | None = None) -> None:
        check_path(path)
        self.shelf.book.check_there()
        await settled(self._delete(path, only_if))

    async def _delete(self, path: str, only_if: str | None) -> None:
        async with self.shelf.book.locked(path):
            await self.shelf.remove(path, only_if)

    async def rename(self, source: str, target: str, *, only_if: str | None = None) -> FileInfo:
        check_path(source)
        check_path(target)
        if source == target:
            raise FileError(f"expected two paths, found {source!r:.200} twice")
        return await self._copied(source, target, None, None, only_if, move=True)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        check_path(source)
        check_path(target)
        return await self._copied(source, target, content_type, metadata, only_if, move=False)

    async def _copied(
        self,
        source: str,
        target: str,
        content_type: str | None,
        metadata: Mapping[str, str] | None,
        only_if: str | None,
        *,
        move: bool,
    ) -> FileInfo:
        reading = await self.read(source)
        known = reading.info
        assert known.content_type is not None and known.metadata is not None
        upload = self._upload(
            target,
            known.content_type if content_type is None else content_type,
            known.metadata if metadata is None else metadata,
            only_if,
        )
        if move:
            upload.moves(source, known)
        try:
            while data := await reading.read():
                await upload.write(data)
            return await upload.commit()
        finally:
            await upload.abort()


class S3Reading:
    """`Reading` of an object: a request for each few pieces, all for the same version."""

    def __init__(
        self, store: Store, key: str, info: FileInfo, tail: bytes, start: int, stop: int | None
    ) -> None:
        self.info = info
        self.stop = info.size if stop is None else min(stop, info.size)
        self.start = min(start, self.stop)
        self._store = store
        self._key = key
        self._at = self.start
        # What is at hand, and where it begins.
        self._buffer = tail
        self._from = info.size - len(tail)
        self._closed = False

    async def read(self, most: int = PIECE) -> bytes:
        if self._closed:
            raise FileError(f"the reading of {self.info.path!r:.200} is closed; begin another one")
        if self._at >= self.stop:
            return b""
        if not self._from <= self._at < self._from + len(self._buffer):
            stop = min(self._at + _STEP, self.stop)
            try:
                self._buffer = await self._store.part(self._key, self.info.etag, self._at, stop)
            except Refused:
                raise FileError(
                    f"file {self.info.path!r:.200} was replaced while it was read; begin again"
                ) from None
            self._from = self._at
            if len(self._buffer) != stop - self._at:
                raise FileError(f"the store gave less of {self.info.path!r:.200} than there is; try again")
        begin = self._at - self._from
        data = self._buffer[begin : begin + min(most, PIECE, self.stop - self._at)]
        self._at += len(data)
        return data

    async def close(self) -> None:
        self._closed = True
        self._buffer = b""


def _info(path: str, meta: Any, tail: bytes) -> tuple[FileInfo, Trailer]:
    said = trailer.unpack(tail[-trailer.SIZE :], meta["size"])
    if said is None:
        raise FileError(
            f"the object of {path!r:.200} is not one of mixkit's; somebody else writes to the bucket, and must not"
        )
    return info_of(path, (meta["e_tag"] or "").strip('"'), said), said
