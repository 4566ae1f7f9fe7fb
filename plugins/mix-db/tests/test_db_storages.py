"""mixquery and the database in memory against the contract of a storage."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_db.engine.engine import Engine
from mix_db.engine.file_rows import FileRows
from mix_db.engine.handle import Handle
from mix_db.settings import Settings
from mix_db.storages import Memory, Mixquery
from mix_db.versions.rows import MemoryRows

from mixkit.errors import DatabaseGone, NotFound, StorageError
from mixkit.storage import Place, Storage
from mixkit.testing.storage_change_suite import StorageChangeSuite
from mixkit.testing.storage_conflict_suite import StorageConflictSuite
from mixkit.testing.storage_query_suite import StorageQuerySuite
from mixkit.testing.storage_refusal_suite import StorageRefusalSuite
from mixkit.testing.storage_suite import StorageFixtures, StorageReopenSuite, StorageSuite


class InFiles(StorageFixtures):
    @pytest.fixture
    def make_storage(self) -> Callable[[], Storage]:
        return Mixquery


class InMemory(StorageFixtures):
    @pytest.fixture
    def make_storage(self) -> Callable[[], Storage]:
        return Memory


class TestMixquery(InFiles, StorageSuite):
    pass


class TestMixqueryQueries(InFiles, StorageQuerySuite):
    pass


class TestMixqueryChanges(InFiles, StorageChangeSuite):
    pass


class TestMixqueryConflicts(InFiles, StorageConflictSuite):
    pass


class TestMixqueryRefusals(InFiles, StorageRefusalSuite):
    pass


class TestMixqueryReopened(InFiles, StorageReopenSuite):
    pass


class TestMemory(InMemory, StorageSuite):
    pass


class TestMemoryQueries(InMemory, StorageQuerySuite):
    pass


class TestMemoryChanges(InMemory, StorageChangeSuite):
    pass


class TestMemoryConflicts(InMemory, StorageConflictSuite):
    pass


class TestMemoryRefusals(InMemory, StorageRefusalSuite):
    pass


def test_the_folder_of_an_app_says_whose_it_is(tmp_path: Path) -> None:
    place = Place("office", "notes", tmp_path / "home")
    for _ in range(2):
        database = Mixquery().open(place)
        database.close()
    assert (place.home / "v2" / "name.txt").read_text() == "notes\n"
    assert {path.stat().st_mode & 0o077 for path in (place.home / "v2").iterdir()} == {0}


def test_a_home_and_a_folder_name_one_database(tmp_path: Path) -> None:
    """Whichever way the database was made, and whichever folder is named."""
    for maker in ("run", "desk"):
        place = Place("desk", "code", tmp_path / maker)
        if maker == "run":
            with closing(Mixquery().open(place)) as database:
                database.save([{"by": maker}])
        else:
            with Database(place.home) as desk:
                desk.save({"by": maker})
        with Database(place.home) as desk:
            assert [row["by"] for row in desk.query("true")] == [maker]
            desk.save({"by": "again"})
        with closing(Mixquery().open(place, mode="read")) as database:
            assert [row["by"] for row in database.query("true").next()] == [maker, "again"]
        held = [path.name for path in (place.home, place.home / "v2") if (path / "writelog").exists()]
        assert held == (["v2"] if maker == "run" else ["desk"])


def test_a_folder_with_a_database_of_its_own_is_not_left_for_the_one_further_down(tmp_path: Path) -> None:
    place = Place("desk", "code", tmp_path / "home")
    with Database(place.home / "v2") as inner:
        inner.save({"by": "inner"})
    rows = FileRows(place.home, create=True, read_only=False, timeout=5.0)
    rows.close()
    with Database(place.home) as outer:
        assert outer.query("true").count() == 0
    with closing(Mixquery().open(place)) as database:
        assert database.query("true").next() == []
    Mixquery().remove(place)
    assert not place.home.exists()


def test_nothing_is_made_where_nothing_is_to_be_made(tmp_path: Path) -> None:
    place = Place("office", "notes", tmp_path / "home")
    for storage in (Mixquery(), Memory()):
        for mode in ("read", "write"):
            with pytest.raises(NotFound):
                storage.open(place, mode=mode)
    assert not place.home.exists()


def test_other_processes_find_a_removed_database_gone(tmp_path: Path) -> None:
    place = Place("office", "notes", tmp_path / "home")
    # One that has the files open by itself is as another process.
    rows = functools.partial(FileRows, place.home / "v2", create=True, read_only=False, timeout=5.0)
    place.home.mkdir()
    other = Engine(rows, Settings(background=False), shared=True)
    foreign = Handle(other, read_only=False, release=other.close)
    foreign.save([{"n": 1}])
    cursor = foreign.query("")
    Mixquery().remove(place)
    assert list(place.home.iterdir()) == []
    for call in (foreign.watermark, foreign.flush, lambda: foreign.save([{"n": 2}]), foreign.check):
        with pytest.raises(StorageError):
            call()
    assert len(cursor.next()) == 1
    foreign.close()
    assert list(place.home.iterdir()) == []


def test_what_was_left_by_one_that_was_killed_is_removed(tmp_path: Path) -> None:
    place = Place("office", "notes", tmp_path / "home")
    Mixquery().open(place).close()
    (place.home / "v2").rename(place.home / "v2.removed")
    Mixquery().open(place).close()
    Mixquery().remove(place)
    assert list(place.home.iterdir()) == []


def test_a_link_is_not_followed_when_a_database_is_removed(tmp_path: Path) -> None:
    place = Place("office", "notes", tmp_path / "home")
    Mixquery().open(Place("office", "other", tmp_path / "other")).close()
    place.home.mkdir()
    (place.home / "v2").symlink_to(tmp_path / "other" / "v2")
    Mixquery().remove(place)
    assert list(place.home.iterdir()) == []
    assert (tmp_path / "other" / "v2" / "writelog").exists()


@pytest.mark.parametrize("how", ["another folder", "none", "another link"])
def test_a_save_is_refused_when_the_folder_is_no_longer_the_one_that_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place, first = Path("place"), Path("first")
    first.mkdir()
    if how == "another link":
        place.symlink_to(first)
    with Database(place) as database:
        database.save({"n": 1})
        database.backup("copy")
        if how == "another link":
            place.unlink()
            place.symlink_to("copy")
        else:
            place.rename("old")
            if how == "another folder":
                Path("copy").rename(place)
        monkeypatch.chdir(first)
        for change in (
            lambda: database.save({"n": 2}),
            lambda: database.delete(database.query("n == 1").first()),
        ):
            with pytest.raises(StorageError, match="open it again"):
                change()
        assert database.query("true").count() == 1
        monkeypatch.chdir(tmp_path)
        if how == "none":
            Path("old").rename(place)
            database.save({"n": 2})
        with Database(place) as again:
            assert again.query("true").count() == (2 if how == "none" else 1)
            again.save({"n": 3})


def test_a_database_whose_app_another_process_deleted_is_gone(tmp_path: Path) -> None:
    place = Place("office", "notes", tmp_path / "notes")
    place.home.mkdir()
    with closing(Mixquery().open(place)) as database, closing(database.again(read_only=False)) as other:
        database.save([{"n": 1}])
        (place.home / "v2").rename(tmp_path / "moved")
        with pytest.raises(StorageError, match="open it again"):
            database.save([{"n": 2}])
        (tmp_path / "moved").rename(place.home / "v2")
        database.save([{"n": 2}])
        shutil.rmtree(place.home)
        for handle in database, other:
            with pytest.raises(DatabaseGone):
                handle.save([{"n": 3}])
            with pytest.raises(DatabaseGone):
                handle.watermark()
        database.close()
        with pytest.raises(DatabaseGone):
            database.watermark()


def test_a_database_in_which_others_still_make_files_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("office", "notes", tmp_path / "notes")
    place.home.mkdir()
    Mixquery().open(place).close()
    remove, left = os.rmdir, 3

    def late(path: Any, *args: Any, **options: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            # As another process does by way of the folder that it holds open.
            (place.home / "v2.removed" / "late").touch()
        remove(path, *args, **options)

    monkeypatch.setattr(os, "rmdir", late)
    Mixquery().remove(place)
    assert left == 0
    assert list(place.home.iterdir()) == []


def test_a_folder_that_is_replaced_while_a_commit_is_written_leaves_it_in_doubt() -> None:
    looks = iter([True, False])
    engine = Engine(MemoryRows, Settings(), shared=False)
    handle = Handle(engine, read_only=False, release=engine.close, is_in_place=lambda: next(looks))
    with closing(handle), pytest.raises(StorageError, match="in doubt"):
        handle.save([{"n": 1}])


def test_each_handle_looks_at_the_path_that_it_was_opened_by(tmp_path: Path) -> None:
    links = [tmp_path / "one", tmp_path / "two"]
    (tmp_path / "data").mkdir()
    for link in links:
        link.symlink_to(tmp_path / "data")
    with Database(links[0]) as one, Database(links[1]) as two:
        links[0].unlink()
        two.save({"n": 1})
        with pytest.raises(StorageError, match="open it again"):
            one.save({"n": 2})
        assert one.query("true").count() == two.query("true").count() == 1
