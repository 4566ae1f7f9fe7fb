"""Nothing is kept, and everybody is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mix_noopfs.filesystem import NoopFileSystem

from mixkit import Kernel, codec
from mixkit.errors import FileError, NotFound, PathError
from mixkit.filesystem import Files, FileSystem, Page
from mixkit.state import State
from mixkit.storage import Place
from mixkit.testing.filesystem_suite import BAD_PATHS, ODD_PATHS
from mixkit.value import Case, ok


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return NoopFileSystem().open(Place("office", "notes", tmp_path))


def test_it_is_a_file_system() -> None:
    assert isinstance(NoopFileSystem(), FileSystem)


def test_the_contained_profile_has_it() -> None:
    with Kernel("wasi", environ={}) as kernel:
        assert type(kernel.files.filesystem) is NoopFileSystem
        checks = [check for found in kernel.manager.hook.mix_doctor(kernel=kernel) for check in found]
        assert "the profile keeps none: what is stored is refused, and nothing is there" in [
            c.message for c in checks
        ]


async def test_agents_are_told(tmp_path: Path) -> None:
    with Kernel("wasi", environ={}) as kernel:
        state = State(services=kernel, place=Place("office", "notes", tmp_path))

        async def call(name: bytes, *args: object) -> object:
            _, pending = kernel.ffis.dispatch(state, name, codec.encode(list(args)))
            return codec.decode(await pending)

        for name, args in (
            (b"$file_create", ("/a", "x")),
            (b"$file_read", ("/a",)),
            (b"$file_delete", ("/a",)),
        ):
            answer = await call(name, *args)
            assert isinstance(answer, Case)
            assert answer.name == "error"
            assert "this profile keeps no files" in str(answer.arg)
        assert await call(b"$file_list") == ok({"files": [], "after": None})


async def test_nothing_is_taken(files: Files, tmp_path: Path) -> None:
    for path in ODD_PATHS:
        for call in (files.put(path, b"x"), files.begin(path)):
            with pytest.raises(FileError, match=r"keeps no files.*filesystem = \"async\""):
                await call
    with pytest.raises(FileError, match="content type"):
        await files.put("/a", b"x", content_type="no")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - no loop waits for it


async def test_nothing_is_there(files: Files) -> None:
    for call in (
        files.stat("/a"),
        files.read("/a"),
        files.delete("/a"),
        files.rename("/a", "/b"),
        files.copy("/a", "/b"),
    ):
        with pytest.raises(NotFound, match="keeps no files"):
            await call
    assert await files.list("/") == Page([], None)
    assert await files.list("/a", after="/a/b") == Page([], None)
    assert (await files.usage()).max_bytes == 0


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_paths_are_refused_as_everywhere(files: Files, path: str) -> None:
    for call in (
        files.stat(path), files.read(path), files.put(path, b""), files.begin(path), files.delete(path),
        files.rename(path, "/y"), files.rename("/x", path), files.copy(path, "/y"), files.copy("/x", path),
    ):  # fmt: skip
        with pytest.raises(PathError):
            await call
