"""Files in folders: the contract, and what others may do to the folder meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mix_files.backends import AsyncFileSystem, StdFileSystem
from mix_files.settings import FilesSettings

from mixkit.filesystem import FileSystem
from mixkit.testing.filesystem_suite import FileSystemQuotaSuite, FileSystemSuite


class TestStd(FileSystemSuite, FileSystemQuotaSuite):
    @pytest.fixture
    def make_filesystem(self) -> Callable[[], FileSystem]:
        return StdFileSystem

    @pytest.fixture
    def make_bounded(self) -> Callable[[int, int], FileSystem]:
        return lambda files, bytes: StdFileSystem(FilesSettings(max_files=files, max_bytes=bytes))


class TestAsync(FileSystemSuite, FileSystemQuotaSuite):
    @pytest.fixture
    def make_filesystem(self) -> Callable[[], FileSystem]:
        return AsyncFileSystem

    @pytest.fixture
    def make_bounded(self) -> Callable[[int, int], FileSystem]:
        return lambda files, bytes: AsyncFileSystem(FilesSettings(max_files=files, max_bytes=bytes))
