"""Files in folders: the contract, and what others may do to the folder meanwhile."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mix_files.backends import AsyncFileSystem, StdFileSystem
from mix_files.folder import Folder, Open, Written
from mix_files.settings import FilesSettings

from mixkit.filesystem import FileSystem
from mixkit.storage import Place
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


class TestThreads:
    """The event loop and the disk."""

    async def test_the_loop_goes_on_while_the_disk_works(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = AsyncFileSystem().open(place)
        working = threading.Event()
        go_on = threading.Event()

        def slow(file: int) -> None:
            working.set()
            assert go_on.wait(30)

        monkeypatch.setattr(os, "fsync", slow)
        task = asyncio.ensure_future(files.put("/a", b"x"))
        assert await asyncio.to_thread(working.wait, 30)
        # The disk stands still, and the loop does not.
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        assert (await task).size == 1

    async def test_what_nobody_waits_for_any_more_is_freed(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = AsyncFileSystem().open(place)
        await files.put("/a", b"x" * 10)
        ended: list[str] = []
        go_on = threading.Event()
        for cls, name in ((Folder, "read"), (Folder, "begin")):
            real = getattr(cls, name)

            def late(*args: Any, real: Any = real, **options: Any) -> Any:
                assert go_on.wait(30)
                return real(*args, **options)

            monkeypatch.setattr(cls, name, late)
        for kind, name in ((Open, "close"), (Written, "abort")):
            monkeypatch.setattr(kind, name, _noting(getattr(kind, name), kind.__name__, ended))
        tasks = [asyncio.ensure_future(files.read("/a")), asyncio.ensure_future(files.begin("/b"))]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in found] == [asyncio.CancelledError] * 2
        assert ended == []
        go_on.set()
        for _ in range(1_000):
            if len(set(ended)) == 2:
                break
            await asyncio.sleep(0.01)
        assert set(ended) == {"Open", "Written"}
        assert list((place.home / "files" / "new").iterdir()) == []

    def test_each_loop_and_each_thread_may_use_it(self, place: Place) -> None:
        filesystem = AsyncFileSystem(FilesSettings(threads=2))

        async def store(number: int) -> None:
            await asyncio.gather(*(filesystem.open(place).put(f"/{number}/{n}", b"x") for n in range(5)))

        asyncio.run(store(0))
        threads = [threading.Thread(target=lambda n=n: asyncio.run(store(n))) for n in range(1, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert asyncio.run(filesystem.open(place).usage()).files == 20


def _noting(real: Callable[[Any], None], name: str, ended: list[str]) -> Callable[[Any], None]:
    def call(self: Any) -> None:
        real(self)
        ended.append(name)

    return call
