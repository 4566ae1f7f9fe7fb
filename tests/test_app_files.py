"""The files of apps by way of the kernel: which file system, and what goes with an app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.app_files import AppFiles, is_public
from mixkit.databases import Databases
from mixkit.errors import FileError, ProfileError
from mixkit.package import WorkspaceStore
from mixkit.state import State
from mixkit.storage import Place

PLACE = Place("office", "notes", Path("/nonexistent"))


class Bad:
    """A file system whose code raises."""

    name = "bad"
    durable = True
    lifetime = 1.0

    def open(self, place: Place) -> Any:
        raise SystemExit(3)

    def remove(self, place: Place) -> None:
        raise ValueError("no")


class Noting(Bad):
    """One that notes what it is to forget, unless it fails."""

    def __init__(self) -> None:
        self.removed: list[Place] = []
        self.fails = False

    def remove(self, place: Place) -> None:
        if self.fails:
            raise FileError("the store is away")
        self.removed.append(place)


def test_a_profile_without_files(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('plugins = ["files"]\nengines = []\n')
    with Kernel(profile, environ={}) as kernel, pytest.raises(FileError, match='filesystem = "async"'):
        _ = kernel.files
    with pytest.raises(FileError, match="belongs to no kernel"):
        _ = State().services.files


def test_a_file_system_that_nobody_offers(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('plugins = ["files"]\nengines = []\nfilesystem = "asink"\n')
    with pytest.raises(ProfileError, match=r"no plugin of the profile offers 'asink'.*async"):
        Kernel(profile, environ={})


def test_it_is_made_once_and_when_it_is_needed() -> None:
    made: list[Noting] = []

    def make() -> Noting:
        made.append(Noting())
        return made[-1]

    files = AppFiles(make)
    assert made == []
    assert files.filesystem is files.filesystem
    assert len(made) == 1


def test_what_a_file_system_raises_is_a_failure_of_files() -> None:
    files = AppFiles(Bad)
    with pytest.raises(FileError, match="the file system 'bad' failed: SystemExit: 3"):
        files.open(PLACE)
    with pytest.raises(FileError, match="'bad' failed to remove: ValueError: no"):
        files.remove(PLACE)


def test_files_are_forgotten_with_their_app_and_with_its_workspace(tmp_path: Path) -> None:
    from mix_db.storages import Mixquery

    noting = Noting()
    databases = Databases(Mixquery)
    store = WorkspaceStore(tmp_path / "ws", databases, AppFiles(lambda: noting))
    workspace = store.create("office")
    places = [workspace.create_app(name).place for name in ("one", "two")]
    workspace.delete_app("one")
    assert noting.removed == [places[0]]
    assert workspace.create_app("one").place != places[0]
    noting.fails = True
    # What cannot be forgotten now is by whoever changes something next; the app is gone all the same.
    with pytest.raises(FileError, match="the store is away"):
        workspace.delete_app("two")
    assert workspace.apps() == ["one"]
    noting.fails = False
    workspace.create_app("three")
    assert noting.removed == places
    store.delete("office")
    assert len(noting.removed) == 4
    databases.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/public/a", True),
        ("/public/a/b", True),
        ("/public", False),
        ("/publicity/a", False),
        ("/a/public/b", False),
        ("/Public/a", False),
    ],
)
def test_what_is_public(path: str, expected: bool) -> None:
    assert is_public(path) is expected


def test_a_profile_that_leaves_out_the_plugin_of_an_inherited_file_system_has_none(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "test"\nplugins = ["wasmtime", "db"]\n')
    with Kernel(mine, environ={}) as kernel:
        assert kernel.filesystem is None and kernel.profile.filesystem is None
        with pytest.raises(FileError, match="found none"):
            kernel.files  # noqa: B018 - it is made now
    mine.write_text('extends = "test"\nplugins = ["wasmtime", "db"]\nfilesystem = "std"\n')
    with pytest.raises(ProfileError, match=r"mine\.toml: filesystem"):
        Kernel(mine, environ={})
    mine.write_text('extends = "test"\nfilesystem = "sdt"\n')
    with pytest.raises(ProfileError, match="did you mean"):
        Kernel(mine, environ={})
