"""The files of apps, in whatever file system the profile names: the one way to them for FFIs, the server and commands.

What is the same in all file systems stands here: files below `/ephemeral` are there for a time, and everybody may read
what is below `/public`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from mixkit.errors import FileConflict, FileError, FilesFull, NotFound
from mixkit.filesystem import ABSENT, FileInfo, Files, FileSystem, Page, Reading, Upload, Usage
from mixkit.outside import foreign
from mixkit.storage import Place

__all__ = ["EPHEMERAL", "PUBLIC", "AppFiles", "is_public"]

T = TypeVar("T")

EPHEMERAL: Final = "/ephemeral/"
PUBLIC: Final = "/public/"

_SWEPT_AT_ONCE: Final = 1_000
"""Files that are looked at for whether their time is over, by whoever stores another one of that kind."""
_PAUSE: Final = 60.0
"""Seconds after which they are looked at again."""
_KNOWN: Final = 1_024
"""Apps of which it is known when that was."""


def is_public(path: str) -> bool:
    """Whether everybody may read the file of that path."""
    return path.startswith(PUBLIC)


class AppFiles:
    """The files of all apps. Thread-safe.

    Args:
        make: makes the file system, when it is first needed.
    """

    def __init__(self, make: Callable[[], FileSystem]) -> None:
        self._make = make
        self._filesystem: FileSystem | None = None
        self._sweeps: OrderedDict[Place, _Sweep] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def filesystem(self) -> FileSystem:
        """The file system, made now if need be. `PluginError` if it cannot be."""
        with self._lock:
            if self._filesystem is None:
                self._filesystem = self._make()
            return self._filesystem

    def open(self, place: Place) -> Files:
        """The files of an app. Cheap; holds nothing open."""
        filesystem = self.filesystem
        with foreign(lambda reason: FileError(f"the file system {filesystem.name!r} failed: {reason}")):
            return _Passing(filesystem.open(place), filesystem.lifetime, self._sweep(place))

    def remove(self, place: Place) -> None:
        """Forget the files of an app that is about to be deleted. May block.

        Raises:
            FileError: they could not be removed.
        """
        filesystem = self.filesystem
        with foreign(
            lambda reason: FileError(f"the file system {filesystem.name!r} failed to remove: {reason}")
        ):
            filesystem.remove(place)

    def _sweep(self, place: Place) -> _Sweep:
        with self._lock:
            found = self._sweeps.setdefault(place, _Sweep())
            self._sweeps.move_to_end(place)
            if len(self._sweeps) > _KNOWN:
                self._sweeps.popitem(last=False)
            return found


class _Sweep:
    """When the files of an app that pass are looked at again, and from where on."""

    def __init__(self) -> None:
        self.due = 0.0
        self.after: str | None = None
        self.all_due = 0.0


class _Passing:
    """Files, of which those below `/ephemeral` pass: they are not there any more after a time, and go in a while.

    One whose time is over is deleted by whoever comes upon it, and by whoever stores another one, if it is still of the
    version that was looked at.
    """

    def __init__(self, files: Files, lifetime: float, sweep: _Sweep) -> None:
        self._files = files
        self._sweep = sweep
        self._lifetime = int(lifetime * 1_000)

    async def stat(self, path: str) -> FileInfo:
        return await self._there(await self._files.stat(path))

    async def read(
        self, path: str, *, start: int = 0, stop: int | None = None, only_if: str | None = None
    ) -> Reading:
        reading = await self._files.read(path, start=start, stop=stop, only_if=only_if)
        try:
            await self._there(reading.info)
        except BaseException:
            await reading.close()
            raise
        return reading

    async def put(
        self,
        path: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        await self._make_room(path, only_if)
        return await self._with_room(
            lambda: self._files.put(path, data, content_type=content_type, metadata=metadata, only_if=only_if)
        )

    async def begin(
        self,
        path: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> Upload:
        await self._make_room(path, only_if)
        return await self._with_room(
            lambda: self._files.begin(path, content_type=content_type, metadata=metadata, only_if=only_if)
        )

    async def list(self, folder: str = "/", *, after: str | None = None, most: int = 1_000) -> Page:
        page = await self._files.list(folder, after=after, most=most)
        over = [info for info in page.files if self._is_over(info)]
        if over:
            with suppress(FileError):
                for info in over:
                    await self._end(info)
            return Page([info for info in page.files if not self._is_over(info)], page.after)
        return page

    async def delete(self, path: str, *, only_if: str | None = None) -> None:
        if path.startswith(EPHEMERAL):
            await self.stat(path)
        await self._files.delete(path, only_if=only_if)

    async def rename(self, source: str, target: str, *, only_if: str | None = None) -> FileInfo:
        await self._make_room(target, only_if)
        if source.startswith(EPHEMERAL):
            await self.stat(source)
        return await self._files.rename(source, target, only_if=only_if)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        await self._make_room(target, only_if)
        if source.startswith(EPHEMERAL):
            await self.stat(source)
        return await self._with_room(
            lambda: self._files.copy(
                source, target, content_type=content_type, metadata=metadata, only_if=only_if
            )
        )

    async def usage(self) -> Usage:
        return await self._files.usage()

    def _is_over(self, info: FileInfo) -> bool:
        return (
            info.path.startswith(EPHEMERAL) and info.modified + self._lifetime <= time.time_ns() // 1_000_000
        )

    async def _there(self, info: FileInfo) -> FileInfo:
        if self._is_over(info):
            # A store that lets nobody delete is no reason to tell of another error.
            with suppress(FileError):
                await self._end(info)
            raise NotFound(f"no file {info.path!r:.200} any more: its time below {EPHEMERAL} is over")
        return info

    async def _make_room(self, path: str, only_if: str | None) -> None:
        """Delete what is over, so that what is stored finds it gone."""
        if not path.startswith(EPHEMERAL):
            return
        if only_if == ABSENT:
            with suppress(NotFound):
                await self._end(await self._files.stat(path))
        sweep, now = self._sweep, time.monotonic()
        if now < sweep.due:
            return
        sweep.due = now + _PAUSE
        page = await self._files.list(EPHEMERAL, after=sweep.after, most=_SWEPT_AT_ONCE)
        sweep.after = page.after
        for info in page.files:
            await self._end(info)

    async def _with_room(self, store: Callable[[], Awaitable[T]]) -> T:
        """Store something; if there is no room, once more when all that is over has gone."""
        try:
            return await store()
        except FilesFull:
            sweep, now = self._sweep, time.monotonic()
            if now < sweep.all_due:
                raise
            sweep.all_due = now + _PAUSE
            after, ended = None, False
            while True:
                page = await self._files.list(EPHEMERAL, after=after, most=_SWEPT_AT_ONCE)
                for info in page.files:
                    ended |= self._is_over(info)
                    await self._end(info)
                if (after := page.after) is None:
                    break
            if not ended:
                raise
            return await store()

    async def _end(self, info: FileInfo) -> None:
        if self._is_over(info):
            with suppress(NotFound, FileConflict):
                await self._files.delete(info.path, only_if=info.etag)
