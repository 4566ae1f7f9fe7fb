"""The files that a package brings: stored all or none, and only where they are others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from mix_files.backends import StdFileSystem
from mix_files.settings import FilesSettings

from mixkit.errors import FilesFull, PackageError
from mixkit.filesystem import Files
from mixkit.package_files import load_files
from mixkit.storage import Place
from mixkit.testing.filesystem_suite import content


@pytest.fixture
def files(place: Place) -> Files:
    return StdFileSystem(FilesSettings(max_bytes=10_000)).open(place)


def _held(files: Files) -> dict[str, bytes]:
    async def read() -> dict[str, bytes]:
        return {info.path: await content(files, info.path) for info in (await files.list()).files}

    return asyncio.run(read())


def _items(**contents: bytes) -> Iterator[tuple[str, Iterator[bytes]]]:
    for name, data in contents.items():
        yield name.replace("_", "/") + ".html", iter([data[:2], data[2:]])


def test_they_are_stored(files: Files) -> None:
    assert load_files(files, _items(a=b"one", b_c=b"")) == 2
    assert _held(files) == {"/a.html": b"one", "/b/c.html": b""}
    info = asyncio.run(files.stat("/a.html"))
    assert info.content_type == "text/html"
    assert load_files(files, _items(a=b"one", b_c=b"new")) == 1
    assert _held(files) == {"/a.html": b"one", "/b/c.html": b"new"}
    assert asyncio.run(files.stat("/a.html")) == info


def test_what_fails_is_taken_back(files: Files) -> None:
    load_files(files, _items(a=b"one", b=b"two"))
    before = _held(files)
    with pytest.raises(FilesFull):
        load_files(files, _items(a=b"x", c=b"y", b=b"x" * 20_000))
    assert _held(files) == before
    with pytest.raises(PackageError, match="is not followed"):
        load_files(files, [("a.html", iter([b"x"])), ("c", iter([b""])), ("../d", iter([]))])
    assert _held(files) == before


def test_content_that_cannot_be_read(files: Files) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        load_files(files, [("a", iter([b"1"])), ("b", broken())])
    assert _held(files) == {}
