"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mixkit.whole_file import whole_file


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("private", [True, False])
def test_it_takes_its_place_when_the_block_ends(tmp_path: Path, private: bool, durable: bool) -> None:
    path = tmp_path / ("n" * 250)
    path.write_bytes(b"old")
    with whole_file(path, private=private, durable=durable) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
    others = stat.S_IMODE(path.stat().st_mode) & 0o077
    umask = os.umask(0)
    os.umask(umask)
    assert others == (0 if private else 0o066 & ~umask)


@pytest.mark.parametrize("replaces", [True, False])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, replaces: bool) -> None:
    path = tmp_path / "a"
    for before in (None, b"old"):
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(ZeroDivisionError), whole_file(path, replaces=replaces) as file:
            file.write(b"new")
            raise ZeroDivisionError
        assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if before is None else [before])


def test_one_that_does_not_replace_keeps_what_came_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with whole_file(path, replaces=False) as file:
        file.write(b"first")
    with pytest.raises(FileExistsError, match=r"'.*/a'$"), whole_file(path, replaces=False) as file:
        file.write(b"second")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"first"]


@pytest.mark.parametrize("replaces", [True, False])
def test_the_content_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    path = tmp_path / "a"
    flushed = []
    fsync = os.fsync

    def told(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        flushed.append((kind, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    with whole_file(path, replaces=replaces):
        pass
    assert flushed == [("file", False), ("folder", True)]
    with whole_file(path, durable=False):
        pass
    assert len(flushed) == 2


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "nowhere" / "a"):
        raise AssertionError("the block was entered")
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"), whole_file(tmp_path / "a") as file:
        file.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
