"""Files that there are not: each path is checked as everywhere, nothing is there, and nothing is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from mixkit.errors import FileError, NotFound
from mixkit.file_fields import check_fields
from mixkit.filesystem import FileInfo, Page, Reading, Upload, Usage
from mixkit.paths import check_folder, check_path
from mixkit.storage import Place

__all__ = ["NoopFileSystem"]

_REFUSED: Final = (
    "this profile keeps no files: its file system is noop; choose a profile with another one, as "
    'filesystem = "async" with the plugin files'
)


class NoopFileSystem:
    """Nothing is kept."""

    name = "noop"
    durable = False
    lifetime = 1.0

    def open(self, place: Place) -> NoFiles:
        return NoFiles()

    def remove(self, place: Place) -> None:
        """Nothing: there are none."""


class NoFiles:
    """`Files` of an app that has none."""

    async def stat(self, path: str) -> FileInfo:
        self._missing(path)

    async def read(
        self, path: str, *, start: int = 0, stop: int | None = None, only_if: str | None = None
    ) -> Reading:
        self._missing(path)

    async def put(
        self,
        path: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        self._refuse(path, content_type, metadata)

    async def begin(
        self,
        path: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> Upload:
        self._refuse(path, content_type, metadata)

    async def list(self, folder: str = "/", *, after: str | None = None, most: int = 1_000) -> Page:
        check_folder(folder)
        if after is not None:
            check_path(after)
        return Page([], None)

    async def delete(self, path: str, *, only_if: str | None = None) -> None:
        self._missing(path)

    async def rename(self, source: str, target: str, *, only_if: str | None = None) -> FileInfo:
        check_path(target)
        self._missing(source)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        check_path(target)
        self._missing(source)

    async def usage(self) -> Usage:
        return Usage(0, 0, None, 0)

    @staticmethod
    def _missing(path: str) -> NoReturn:
        check_path(path)
        raise NotFound(f"no file {path!r:.200}: {_REFUSED}")

    @staticmethod
    def _refuse(path: str, content_type: str, metadata: Mapping[str, str] | None) -> NoReturn:
        check_path(path)
        check_fields(content_type, metadata or {})
        raise FileError(_REFUSED)
