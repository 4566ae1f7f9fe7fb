"""The file systems that the plugin offers: folders in the homes of the apps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from mix_files.folder import Folder, Open, Written
from mix_files.settings import FilesSettings
from mixkit.filesystem import PIECE, FileInfo, Page, Usage
from mixkit.storage import Place

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["AsyncFileSystem", "StdFileSystem"]

T = TypeVar("T")


class StdFileSystem:
    """Files in a folder of each app's home. Calls hold up the event loop for as long as the disk takes: for commands,
    and for processes that do nothing else meanwhile."""

    name = "std"
    durable = True

    def __init__(self, settings: FilesSettings | None = None) -> None:
        self._settings = settings or FilesSettings()
        self.lifetime = self._settings.ephemeral_lifetime

    def open(self, place: Place) -> FolderFiles:
        return FolderFiles(Folder(place, self._settings))

    def remove(self, place: Place) -> None:
        """Nothing: they go with the home."""


class AsyncFileSystem(StdFileSystem):
    """The same files, and the disk is waited for in threads: for servers."""

    name = "async"

    def __init__(self, settings: FilesSettings | None = None) -> None:
        super().__init__(settings)
        self._threads = Threads(self._settings.threads)

    def open(self, place: Place) -> FolderFiles:
        return ThreadFiles(Folder(place, self._settings), self._threads)


class Threads:
    """Threads that are made when they are first needed, in each process; they end with this object.

    Of its own, since a lock or a disk that is waited for must not hold up what else is done in threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: ThreadPoolExecutor | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def get(self) -> ThreadPoolExecutor:
        """Those of this process."""
        with self._lock:
            if self._made is None or self._pid != os.getpid():
                from concurrent.futures import ThreadPoolExecutor

                self._made = ThreadPoolExecutor(self._most, thread_name_prefix="mixkit-files")
                self._pid = os.getpid()
            return self._made


class FolderFiles:
    """`Files` of one app."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    async def call(self, work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """What `work` answers. `undo` frees that when nobody waits for it any more."""
        return work()

    async def stat(self, path: str) -> FileInfo:
        return await self.call(lambda: self._folder.stat(path))

    async def read(
        self, path: str, *, start: int = 0, stop: int | None = None, only_if: str | None = None
    ) -> FolderReading:
        found = await self.call(lambda: self._folder.read(path, start, stop, only_if), Open.close)
        return FolderReading(self, found)

    async def put(
        self,
        path: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        return await self.call(lambda: self._folder.put(path, data, content_type, metadata, only_if))

    async def begin(
        self,
        path: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FolderUpload:
        written = await self.call(
            lambda: self._folder.begin(path, content_type, metadata, only_if), Written.abort
        )
        return FolderUpload(self, written)

    async def list(self, folder: str = "/", *, after: str | None = None, most: int = 1_000) -> Page:
        return await self.call(lambda: self._folder.list(folder, after, most))

    async def delete(self, path: str, *, only_if: str | None = None) -> None:
        await self.call(lambda: self._folder.delete(path, only_if))

    async def rename(self, source: str, target: str, *, only_if: str | None = None) -> FileInfo:
        return await self.call(lambda: self._folder.rename(source, target, only_if))

    async def copy(
        self,
        source: str,
        target: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        return await self.call(lambda: self._folder.copy(source, target, content_type, metadata, only_if))

    async def usage(self) -> Usage:
        return await self.call(self._folder.usage)


class ThreadFiles(FolderFiles):
    """The same, in threads."""

    def __init__(self, folder: Folder, threads: Threads) -> None:
        super().__init__(folder)
        self._threads = threads

    async def call(self, work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        import asyncio

        done = asyncio.get_running_loop().run_in_executor(self._threads.get(), work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:

            def left(done: Future[T] | asyncio.Future[T]) -> None:
                # Also so that nobody is told of an error that nobody waits for.
                if not done.cancelled() and done.exception() is None and undo is not None:
                    undo(done.result())

            done.add_done_callback(left)
            raise


class FolderReading:
    """`Reading` of a file in a folder."""

    def __init__(self, files: FolderFiles, found: Open) -> None:
        self._files = files
        self._found = found
        self.info = found.info
        self.start = found.start
        self.stop = found.stop

    async def read(self, most: int = PIECE) -> bytes:
        data = self._found.at_hand(most)
        return await self._files.call(lambda: self._found.read(most)) if data is None else data

    async def close(self) -> None:
        # Waits for no disk.
        self._found.close()


class FolderUpload:
    """`Upload` of a file into a folder."""

    def __init__(self, files: FolderFiles, written: Written) -> None:
        self._files = files
        self._written = written

    async def write(self, data: bytes) -> None:
        await self._files.call(lambda: self._written.write(data))

    async def commit(self) -> FileInfo:
        def work() -> FileInfo:
            try:
                return self._written.commit()
            finally:
                self._written.abort()

        return await self._files.call(work)

    async def abort(self) -> None:
        await self._files.call(self._written.abort)
