"""What every file system must do. Derive a test class and override one fixture:

class TestMyFileSystem(FileSystemSuite):
    @pytest.fixture
    def make_filesystem(self):
        return MyFileSystem

The file system under test lets an app have at least 2,000 files and 32 MiB. `FileSystemQuotaSuite` is for those that
bound what an app may have: it makes one with other bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixkit.errors import FileConflict, FileError, FilesFull, NotFound, PathError
from mixkit.filesystem import (
    ABSENT,
    MAX_METADATA,
    MAX_NAMES,
    PIECE,
    FileInfo,
    Files,
    FileSystem,
    Reading,
    pieces,
)
from mixkit.paths import MAX_DEPTH, MAX_NAME, MAX_PATH
from mixkit.storage import Place

__all__ = [
    "BAD_PATHS",
    "ODD_PATHS",
    "FileSystemFixtures",
    "FileSystemQuotaSuite",
    "FileSystemSuite",
    "content",
]

BAD_PATHS = [
    "", "a", "a/b", "./a", "../a", "/", "//", "/a/", "/a//b", "//a", "/.", "/..", "/../a", "/a/..", "/a/../b", "/a/./b",
    "/a\x00", "/\x00", "/a\x00/b", "/a\n", "/a\x7f", "/a\x85", "/a\\b", "\\a", "/..\\a", "/a.", "/a./b", "/a..", "/...",
    "/a ", "/ a", "/a /b", "/a\u00a0", "/a\u2028b", "/\ud800", "/\ufffe", "/\ufdd0", "/" + "a" * (MAX_NAME + 1),
    "/" + "å" * (MAX_NAME // 2 + 1), "/a" * (MAX_DEPTH + 1), ("/" + "a" * 200) * 4, "C:\\a", "/a\r", "/\t",
]  # fmt: skip
"""Paths that no file can have."""

ODD_PATHS = [
    "/A", "/a", "/.a", "/..a", "/a.b.c", "/a..b", "/%2e%2e", "/%2F", "/a%00", "/~", "/-rf", "/a b", "/å", "/a\u030a",
    "/☂/å", "/con", "/NUL.txt", "/a:b", "/a?b", "/a*", "/a#b", "/a&b=c",
    "/a+b", "/'\"`$(x)", "/x.f", "/x.d", "/x.d/y.f",
    "/files", "/state", "/new/a", "/names", "/a" * MAX_DEPTH, "/" + "a" * MAX_NAME, "/<b>", "/{x}", "/[x]",
    "/😀", "/a=b;c",
    ("/" + "b" * 190) * 4,
]  # fmt: skip
"""Paths that files can have, each another file."""

assert len(ODD_PATHS[-1]) <= MAX_PATH


async def content(files: Files, path: str, **options: Any) -> bytes:
    """The bytes of a file, or of a part of it."""
    return await _all(await files.read(path, **options))


async def _all(reading: Reading) -> bytes:
    return b"".join([piece async for piece in pieces(reading)])


async def _paths(files: Files, folder: str = "/", most: int = 1_000) -> list[str]:
    found: list[FileInfo] = []
    after = None
    while True:
        page = await files.list(folder, after=after, most=most)
        assert len(page.files) <= most
        found += page.files
        if (after := page.after) is None:
            return [info.path for info in found]


class FileSystemFixtures:
    """Fixtures of all suites."""

    @pytest.fixture
    def make_filesystem(self) -> Callable[[], FileSystem]:
        """Makes the file system under test, which keeps files below `Place.home` or at random places."""
        raise NotImplementedError("override the fixture `make_filesystem`")

    @pytest.fixture
    def filesystem(self, make_filesystem: Callable[[], FileSystem]) -> FileSystem:
        return make_filesystem()

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        home = tmp_path / "notes.0123abcd" / "data"
        home.mkdir(parents=True)
        return Place("office", "notes", home)

    @pytest.fixture
    def files(self, filesystem: FileSystem, place: Place) -> Files:
        return filesystem.open(place)


class FileSystemSuite(FileSystemFixtures):
    """See the module's text."""

    def test_it_says_what_it_is(self, filesystem: FileSystem) -> None:
        assert isinstance(filesystem, FileSystem)
        assert type(filesystem.name) is str
        assert type(filesystem.durable) is bool
        assert filesystem.lifetime > 0

    # -- files --------------------------------------------------------------------------------

    async def test_a_file_comes_back_as_it_was(self, files: Files) -> None:
        before = time.time_ns() // 1_000_000
        info = await files.put(
            "/a/b.txt", b"hello", content_type="text/plain; charset=utf-8", metadata={"who": "Ann"}
        )
        assert (info.path, info.size, info.content_type) == ("/a/b.txt", 5, "text/plain; charset=utf-8")
        assert info.sha256 == hashlib.sha256(b"hello").hexdigest()
        assert info.metadata == {"who": "Ann"}
        # Stores have clocks of their own, and some count in seconds.
        assert before - 2_000 <= info.modified <= time.time_ns() // 1_000_000 + 2_000
        assert info.etag.isascii()
        assert info.etag.isprintable()
        assert '"' not in info.etag
        assert await files.stat("/a/b.txt") == info
        reading = await files.read("/a/b.txt")
        assert (reading.info, reading.start, reading.stop) == (info, 0, 5)
        assert await _all(reading) == b"hello"

    @pytest.mark.parametrize("size", [0, 1, 4_095, 4_096, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
    async def test_sizes(self, files: Files, size: int) -> None:
        data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        info = await files.put("/a", data)
        assert info.size == size
        assert info.sha256 == hashlib.sha256(data).hexdigest()
        assert await content(files, "/a") == data
        assert await files.stat("/a") == info

    async def test_what_is_not_there(self, files: Files) -> None:
        for path in ("/a", "/a/b", "/b/a"):
            with pytest.raises(NotFound):
                await files.stat(path)
            with pytest.raises(NotFound):
                await files.read(path)
            with pytest.raises(NotFound):
                await files.delete(path)
            with pytest.raises(NotFound):
                await files.rename(path, "/x")
            with pytest.raises(NotFound):
                await files.copy(path, "/x")
        assert await _paths(files) == []
        assert await _paths(files, "/none") == []
        usage = await files.usage()
        assert (usage.files, usage.bytes) == (0, 0)

    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [
            (0, None, b"0123456789"), (3, None, b"3456789"), (3, 5, b"34"), (0, 0, b""), (9, 10, b"9"), (9, 99, b"9"),
            (10, None, b""), (11, 20, b""), (0, 2**62, b"0123456789"), (2**62, 2**62, b""),
        ],
    )  # fmt: skip
    async def test_parts(self, files: Files, start: int, stop: int | None, expected: bytes) -> None:
        await files.put("/a", b"0123456789")
        reading = await files.read("/a", start=start, stop=stop)
        assert reading.stop - reading.start == len(expected)
        assert reading.info.size == 10
        assert await _all(reading) == expected

    @pytest.mark.parametrize(("start", "stop"), [(-1, None), (5, 4), (-5, -3)])
    async def test_parts_that_there_are_not(self, files: Files, start: int, stop: int | None) -> None:
        await files.put("/a", b"0123456789")
        with pytest.raises(FileError, match="expected"):
            await files.read("/a", start=start, stop=stop)

    async def test_pieces_are_as_small_as_one_likes(self, files: Files) -> None:
        await files.put("/a", bytes(range(100)))
        reading = await files.read("/a", start=10, stop=50)
        try:
            found = b""
            while data := await reading.read(7):
                assert len(data) <= 7
                found += data
            assert found == bytes(range(10, 50))
            assert await reading.read() == b""
        finally:
            await reading.close()
            await reading.close()

    async def test_a_reading_is_of_one_version(self, files: Files) -> None:
        data = b"old" * PIECE
        old = await files.put("/a", data)
        reading = await files.read("/a")
        found = await reading.read()
        await files.put("/a", b"new" * PIECE)
        try:
            while piece := await reading.read():
                found += piece
        except FileError:
            # A store may not have the old version any more; what it must not do is to mix them.
            assert data.startswith(found)
        else:
            assert found == data
        finally:
            await reading.close()
        assert (await files.stat("/a")).etag != old.etag

    async def test_versions_have_tags_of_their_own(self, files: Files) -> None:
        tags = [(await files.put("/a", b"%d" % (number % 2))).etag for number in range(20)]
        assert len(set(tags)) == len(tags)

    # -- uploads ------------------------------------------------------------------------------

    async def test_an_upload_is_seen_when_it_is_committed(self, files: Files) -> None:
        upload = await files.begin("/a/b", content_type="text/css", metadata={"n": "1"})
        await upload.write(b"hello ")
        await upload.write(b"")
        await upload.write(b"world")
        with pytest.raises(NotFound):
            await files.stat("/a/b")
        assert await _paths(files) == []
        info = await upload.commit()
        assert (info.size, info.content_type, info.metadata) == (11, "text/css", {"n": "1"})
        assert info.sha256 == hashlib.sha256(b"hello world").hexdigest()
        assert await files.stat("/a/b") == info
        assert await content(files, "/a/b") == b"hello world"
        await upload.abort()
        for call in (upload.commit(), upload.write(b"x")):
            with pytest.raises(FileError, match="ended"):
                await call
        assert await content(files, "/a/b") == b"hello world"

    async def test_an_upload_of_nothing_is_an_empty_file(self, files: Files) -> None:
        info = await (await files.begin("/a")).commit()
        assert info.size == 0
        assert await content(files, "/a") == b""

    async def test_an_upload_of_many_pieces(self, files: Files) -> None:
        upload = await files.begin("/a")
        digest = hashlib.sha256()
        for number in range(12):
            piece = bytes([number]) * (700_001 if number % 3 else 17)
            digest.update(piece)
            await upload.write(piece)
        info = await upload.commit()
        assert info.sha256 == digest.hexdigest()
        assert hashlib.sha256(await content(files, "/a")).hexdigest() == info.sha256

    async def test_an_upload_that_is_aborted_leaves_nothing(self, files: Files) -> None:
        await files.put("/a", b"old")
        upload = await files.begin("/a")
        await upload.write(b"new" * 1_000)
        await upload.abort()
        await upload.abort()
        with pytest.raises(FileError, match="ended"):
            await upload.commit()
        assert await content(files, "/a") == b"old"
        usage = await files.usage()
        assert (usage.files, usage.bytes) == (1, 3)

    async def test_uploads_side_by_side(self, files: Files) -> None:
        uploads = [await files.begin("/a") for _ in range(3)]
        for number, upload in enumerate(uploads):
            await upload.write(b"%d" % number)
        for upload in reversed(uploads):
            await upload.commit()
        assert await content(files, "/a") == b"0"

    # -- conditions ---------------------------------------------------------------------------

    async def test_only_if_it_is_absent(self, files: Files) -> None:
        await files.put("/a", b"1", only_if=ABSENT)
        with pytest.raises(FileConflict) as caught:
            await files.put("/a", b"2", only_if=ABSENT)
        assert caught.value.path == "/a"
        await files.put("/b", b"3")
        for change in (files.copy("/b", "/a", only_if=ABSENT), files.rename("/b", "/a", only_if=ABSENT)):
            with pytest.raises(FileConflict):
                await change
        assert await content(files, "/a") == b"1"
        assert await content(files, "/b") == b"3"
        await files.copy("/b", "/c", only_if=ABSENT)
        await files.rename("/b", "/d", only_if=ABSENT)
        assert await _paths(files) == ["/a", "/c", "/d"]

    async def test_only_if_it_is_that_version(self, files: Files) -> None:
        old = await files.put("/a", b"1")
        new = await files.put("/a", b"2", only_if=old.etag)
        await files.put("/b", b"3")
        for change in (
            files.put("/a", b"x", only_if=old.etag),
            files.delete("/a", only_if=old.etag),
            files.copy("/b", "/a", only_if=old.etag),
            files.rename("/b", "/a", only_if=old.etag),
            files.read("/a", only_if=old.etag),
            files.put("/none", b"x", only_if=old.etag),
            files.copy("/b", "/none/x", only_if=old.etag),
            files.rename("/b", "/none/x", only_if=old.etag),
        ):
            with pytest.raises(FileConflict):
                await change
        assert await _paths(files) == ["/a", "/b"]
        assert await content(files, "/a", only_if=new.etag) == b"2"
        newer = await files.copy("/b", "/a", only_if=new.etag)
        newest = await files.rename("/b", "/a", only_if=newer.etag)
        await files.delete("/a", only_if=(await files.stat("/a")).etag)
        assert newest.path == "/a"
        assert await _paths(files) == []

    async def test_the_condition_of_an_upload_is_judged_at_its_end(self, files: Files) -> None:
        first = await files.begin("/a", only_if=ABSENT)
        second = await files.begin("/a", only_if=ABSENT)
        await first.write(b"1")
        await second.write(b"2")
        await second.commit()
        with pytest.raises(FileConflict):
            await first.commit()
        assert await content(files, "/a") == b"2"
        usage = await files.usage()
        assert (usage.files, usage.bytes) == (1, 1)

    async def test_of_many_at_once_one_wins(self, files: Files) -> None:
        async def attempt(only_if: str, number: int) -> int | None:
            try:
                await files.put("/a", b"%d" % number, only_if=only_if)
            except FileConflict:
                return None
            return number

        for _ in range(3):
            found = await asyncio.gather(*(attempt(ABSENT, number) for number in range(8)))
            [winner] = [number for number in found if number is not None]
            assert await content(files, "/a") == b"%d" % winner
            etag = (await files.stat("/a")).etag
            found = await asyncio.gather(*(attempt(etag, number) for number in range(8)))
            [winner] = [number for number in found if number is not None]
            assert await content(files, "/a") == b"%d" % winner
            await files.delete("/a")

    # -- lists --------------------------------------------------------------------------------

    async def test_lists_are_in_order_and_page_by_page(self, files: Files) -> None:
        names = [
            "/a",
            "/a/b",
            "/a-b",
            "/a.txt",
            "/a/b/c",
            "/a/b.c",
            "/a0",
            "/B",
            "/b/1",
            "/b/2/3",
            "/å",
            "/😀",
            "/z/z",
        ]
        infos = {name: await files.put(name, name.encode()) for name in names}
        for most in (1, 2, 3, 5, 100):
            assert await _paths(files, most=most) == sorted(names)
        for folder in ("/a", "/a/"):
            assert await _paths(files, folder) == ["/a/b", "/a/b.c", "/a/b/c"]
        assert await _paths(files, "/b", most=1) == ["/b/1", "/b/2/3"]
        page = await files.list("/", after="/a/b", most=2)
        assert [info.path for info in page.files] == ["/a/b.c", "/a/b/c"]
        assert [info.path for info in (await files.list("/b", after="/a")).files] == ["/b/1", "/b/2/3"]
        assert [info.path for info in (await files.list("/b", after="/c")).files] == []
        assert (await files.list("/", after="/a/zzz", most=1)).files[0].path == "/a0"
        for info in (await files.list("/")).files:
            known = infos[info.path]
            assert (info.size, info.etag) == (known.size, known.etag)

    async def test_a_list_while_files_come_and_go(self, files: Files) -> None:
        stay = [f"/s/{number:03}" for number in range(40)]
        for path in stay:
            await files.put(path, b"")

        async def disturb() -> None:
            for number in range(40):
                await files.put(f"/s/{number:03}x", b"")
                await files.delete(f"/s/{number:03}x")

        task = asyncio.ensure_future(disturb())
        while not task.done():
            found = await _paths(files, "/s", most=7)
            assert [path for path in found if not path.endswith("x")] == stay
            await asyncio.sleep(0)
        await task

    async def test_lists_that_cannot_be(self, files: Files) -> None:
        for folder in ("", "a", "/a//", "//", "/..", "/a\\b"):
            with pytest.raises(PathError):
                await files.list(folder)
        with pytest.raises(PathError):
            await files.list("/", after="a")
        with pytest.raises(FileError, match="at least 1"):
            await files.list("/", most=0)

    # -- changes ------------------------------------------------------------------------------

    async def test_delete(self, files: Files) -> None:
        await files.put("/a/b/c", b"1")
        await files.put("/a/b", b"2")
        await files.delete("/a/b/c")
        assert await _paths(files) == ["/a/b"]
        with pytest.raises(NotFound):
            await files.delete("/a/b/c")
        await files.put("/a/b/c", b"3")
        assert await content(files, "/a/b/c") == b"3"
        usage = await files.usage()
        assert (usage.files, usage.bytes) == (2, 2)

    async def test_rename(self, files: Files) -> None:
        await files.put("/a", b"1", content_type="text/css", metadata={"n": "1"})
        await files.put("/x/y", b"22")
        info = await files.rename("/a", "/x/y")
        assert (info.path, info.size, info.content_type, info.metadata) == ("/x/y", 1, "text/css", {"n": "1"})
        assert await files.stat("/x/y") == info
        assert await _paths(files) == ["/x/y"]
        assert await content(files, "/x/y") == b"1"
        await files.rename("/x/y", "/x/y/z/w")
        assert await _paths(files) == ["/x/y/z/w"]
        with pytest.raises(FileError, match="two paths"):
            await files.rename("/x/y/z/w", "/x/y/z/w")
        usage = await files.usage()
        assert (usage.files, usage.bytes) == (1, 1)

    async def test_copy(self, files: Files) -> None:
        data = b"0123456789" * 150_000
        old = await files.put("/a", data, content_type="text/css", metadata={"n": "1"})
        info = await files.copy("/a", "/b/c")
        assert (info.path, info.size, info.content_type, info.metadata) == (
            "/b/c",
            old.size,
            "text/css",
            {"n": "1"},
        )
        assert info.sha256 == old.sha256
        assert await content(files, "/b/c") == data
        other = await files.copy("/a", "/b/c", content_type="text/html", metadata={}, only_if=info.etag)
        assert (other.content_type, other.metadata) == ("text/html", {})
        assert other.etag != info.etag
        assert await files.stat("/a") == old

    async def test_what_is_said_of_a_file_can_be_changed(self, files: Files) -> None:
        old = await files.put("/a", b"hello", content_type="text/css", metadata={"n": "1"})
        new = await files.copy("/a", "/a", metadata={"n": "2"}, only_if=old.etag)
        assert (new.content_type, new.metadata, new.sha256) == ("text/css", {"n": "2"}, old.sha256)
        assert new.etag != old.etag
        assert await files.stat("/a") == new
        assert await content(files, "/a") == b"hello"

    # -- paths and fields ---------------------------------------------------------------------

    @pytest.mark.parametrize("path", BAD_PATHS)
    async def test_paths_that_no_file_has(self, files: Files, path: str) -> None:
        await files.put("/x", b"")
        for call in (
            files.stat(path),
            files.read(path),
            files.put(path, b""),
            files.begin(path),
            files.delete(path),
            files.rename(path, "/y"),
            files.rename("/x", path),
            files.copy(path, "/y"),
            files.copy("/x", path),
        ):
            with pytest.raises(PathError):
                await call
        assert await _paths(files) == ["/x"]

    async def test_other_paths_are_files_of_their_own(self, files: Files) -> None:
        for number, path in enumerate(ODD_PATHS):
            await files.put(path, b"%d" % number, only_if=ABSENT)
        assert await _paths(files) == sorted(ODD_PATHS)
        for number, path in enumerate(ODD_PATHS):
            assert await content(files, path) == b"%d" % number
            assert (await files.stat(path)).path == path

    @pytest.mark.parametrize(
        ("content_type", "metadata"),
        [
            ("", {}), ("text", {}), ("text/plain\r\nx: y", {}), ("text/plain; é=1", {}), ("text/" + "x" * 300, {}),
            ("text/plain", {"A": "1"}), ("text/plain", {"": "1"}), ("text/plain", {"a b": "1"}),
            ("text/plain", {"a": "1\n"}),
            ("text/plain", {"a": "1" * MAX_METADATA}), ("text/plain", {"a" * 65: ""}),
            ("text/plain", {f"n{n}": "" for n in range(MAX_NAMES + 1)}), ("text/plain", {"a": "\ud800"}),
        ],
    )  # fmt: skip
    async def test_fields_that_no_file_has(
        self, files: Files, content_type: str, metadata: dict[str, str]
    ) -> None:
        await files.put("/x", b"")
        for call in (
            files.put("/a", b"", content_type=content_type, metadata=metadata),
            files.begin("/a", content_type=content_type, metadata=metadata),
            files.copy("/x", "/a", content_type=content_type, metadata=metadata),
        ):
            with pytest.raises(FileError, match="expected"):
                await call
        assert await _paths(files) == ["/x"]

    @pytest.mark.parametrize(
        "metadata",
        [
            {"a": "å ☂ 😀"}, {"a": ""}, {"a": "x" * (MAX_METADATA - 1)}, {"a": '"' * (MAX_METADATA - 1)},
            {"a": "a=b; c,d%20"},
            {f"n-{n}_x": '"' * 20 for n in range(MAX_NAMES)},
        ],
    )  # fmt: skip
    async def test_metadata_comes_back(self, files: Files, metadata: dict[str, str]) -> None:
        info = await files.put("/a", b"", content_type='text/plain; charset="utf-8"', metadata=metadata)
        assert info.metadata == metadata
        assert await files.stat("/a") == info

    # -- apps ---------------------------------------------------------------------------------

    async def test_apps_have_files_of_their_own(self, filesystem: FileSystem, place: Place) -> None:
        again = place.home.parent.parent / "notes.4567cdef" / "data"
        again.mkdir(parents=True)
        places = [place, Place("office", "notes", again)]
        for number, other in enumerate(places):
            await filesystem.open(other).put("/a", b"%d" % number)
        for number, other in enumerate(places):
            assert await content(filesystem.open(other), "/a") == b"%d" % number

    async def test_what_is_removed_is_gone(self, filesystem: FileSystem, place: Place) -> None:
        files = filesystem.open(place)
        await files.put("/a/b", b"1")
        await files.put("/c", b"1")
        await asyncio.to_thread(filesystem.remove, place)
        await asyncio.to_thread(filesystem.remove, place)
        await asyncio.to_thread(_delete, place.home.parent)
        with pytest.raises(NotFound):
            await filesystem.open(place).put("/a", b"")
        with pytest.raises(NotFound):
            await files.stat("/c")
        place.home.mkdir(parents=True)
        assert await _paths(filesystem.open(place)) == []

    async def test_another_object_sees_the_same(
        self, make_filesystem: Callable[[], FileSystem], place: Place
    ) -> None:
        one, other = make_filesystem(), make_filesystem()
        if not one.durable:
            pytest.skip("files of this file system end with its object")
        info = await one.open(place).put("/a", b"1", metadata={"n": "1"})
        assert await other.open(place).stat("/a") == info
        await other.open(place).put("/a", b"22")
        assert await content(one.open(place), "/a") == b"22"
        assert (await one.open(place).usage()).bytes == 2

    async def test_what_is_cancelled_is_done_or_not(self, files: Files) -> None:
        old, new = b"old" * 100_000, b"new" * 100_000
        await files.put("/a", old)
        for delay in (0, 0, 0.0005, 0.002):
            task = asyncio.ensure_future(files.put("/a", new))
            await asyncio.sleep(delay)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert await _one_version(files, "/a") in (old, new)
        # What was still under way has ended by the time that this has.
        await files.put("/a", old)
        upload = await files.begin("/b")
        writing = asyncio.ensure_future(upload.write(new))
        await asyncio.sleep(0)
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        await upload.abort()
        assert await _paths(files) == ["/a"]


async def _one_version(files: Files, path: str) -> bytes:
    """The bytes of a file that is being replaced, maybe."""
    while True:
        try:
            return await content(files, path)
        except FileError as exc:
            if isinstance(exc, FileConflict):
                raise
            # The store does not have the version any more whose reading was begun.


def _delete(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


class FileSystemQuotaSuite(FileSystemFixtures):
    """Override the fixture `make_bounded`: it makes a file system of at most so many files and bytes an app."""

    @pytest.fixture
    def make_bounded(self) -> Callable[[int, int], FileSystem]:
        raise NotImplementedError("override the fixture `make_bounded`")

    async def test_bytes_are_bounded(
        self, make_bounded: Callable[[int, int], FileSystem], place: Place
    ) -> None:
        files = make_bounded(100, 1_000).open(place)
        await files.put("/a", bytes(600))
        with pytest.raises(FilesFull, match=r"1000 bytes.*found 600, and 401") as caught:
            await files.put("/b", bytes(401))
        assert (caught.value.used, caught.value.allowed, caught.value.unit) == (600, 1_000, "bytes")
        with pytest.raises(FilesFull):
            await files.copy("/a", "/b")
        # What is replaced does not count beside what replaces it.
        await files.put("/a", bytes(1_000))
        with pytest.raises(FilesFull):
            await files.put("/a", bytes(1_001))
        await files.delete("/a")
        await files.put("/b", bytes(400))
        await files.put("/c", bytes(600))
        await files.put("/d", b"")
        usage = await files.usage()
        assert (usage.files, usage.bytes, usage.max_files, usage.max_bytes) == (3, 1_000, 100, 1_000)

    async def test_uploads_are_bounded_while_they_come(
        self, make_bounded: Callable[[int, int], FileSystem], place: Place
    ) -> None:
        files = make_bounded(100, 1 << 20).open(place)
        await files.put("/a", bytes(1 << 19))
        upload = await files.begin("/b")
        with pytest.raises(FilesFull):
            for _ in range(200):
                await upload.write(bytes(1 << 19))
        await upload.abort()
        usage = await files.usage()
        assert (usage.files, usage.bytes) == (1, 1 << 19)
        await files.put("/b", bytes(1 << 19))

    async def test_files_are_bounded(
        self, make_bounded: Callable[[int, int], FileSystem], place: Place
    ) -> None:
        files = make_bounded(3, 1_000).open(place)
        for number in range(3):
            await files.put(f"/{number}", b"")
        with pytest.raises(FilesFull, match="3 files"):
            await files.put("/3", b"")
        await files.put("/2", b"x")
        await files.rename("/2", "/3")
        await files.rename("/3", "/1")
        await files.put("/2", b"")

    async def test_many_at_once_do_not_get_more(
        self, make_bounded: Callable[[int, int], FileSystem], place: Place
    ) -> None:
        files = make_bounded(1_000, 1_000).open(place)

        async def attempt(number: int) -> bool:
            try:
                await files.put(f"/{number}", bytes(30))
            except FilesFull:
                return False
            return True

        found = await asyncio.gather(*(attempt(number) for number in range(60)))
        usage = await files.usage()
        assert usage.bytes <= 1_000
        assert usage.files == sum(found) == len(await _paths(files))
        # What others were about to store may have been counted, but it is not any more.
        for number in range(60, 60 + 33 - usage.files):
            await files.put(f"/{number}", bytes(30))
        assert (await files.usage()).bytes == 990
