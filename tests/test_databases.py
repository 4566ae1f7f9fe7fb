"""The databases that a kernel keeps for apps, and the records that packages bring into them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mix_db.storages import Memory, Mixquery
from mix_db.testing.plain import PlainDatabase, PlainStorage

from mixkit import tagged_json
from mixkit.databases import RECORDS_PER_COMMIT, Databases, load_records
from mixkit.errors import DatabaseGone, NotFound, RecordError, StorageError
from mixkit.storage import Commit, Database, Place, SaveOptions, Storage
from mixkit.testing.descriptors import descriptors
from mixkit.value import Ref

ID = "Known000" * 4


@pytest.fixture
def databases() -> Iterator[Databases]:
    databases = Databases(Mixquery)
    yield databases
    databases.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    app = tmp_path / "app"
    app.mkdir()
    return Place("office", "notes", app / "data")


# -- keeping them open ------------------------------------------------------------------------------


def test_a_database_is_opened_once(databases: Databases, place: Place) -> None:
    found: list[Database] = []
    threads = [threading.Thread(target=lambda: found.append(databases.open(place))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert databases.open(place) is found[0]


def test_the_storage_is_made_when_first_needed(place: Place) -> None:
    made: list[PlainStorage] = []

    def make() -> PlainStorage:
        made.append(PlainStorage())
        return made[-1]

    databases = Databases(make)
    assert made == []
    databases.open(place)
    databases.open(Place("office", "tasks", place.home.parent / "other"))
    assert len(made) == 1


def test_what_cannot_be_made_can_be_later(place: Place) -> None:
    working = False

    def make() -> PlainStorage:
        if not working:
            raise StorageError("not yet")
        return PlainStorage()

    databases = Databases(make)
    with pytest.raises(StorageError, match="not yet"):
        databases.open(place)
    working = True
    assert databases.open(place).check() == []


def test_a_deleted_app_has_no_database(databases: Databases, place: Place, tmp_path: Path) -> None:
    database = databases.open(place)
    database.save([{"n": 1}])
    # Another process deletes the app, and then makes one of the same name.
    place.home.parent.rename(tmp_path / "trash")
    with pytest.raises(NotFound, match="notes"):
        databases.open(place)
    assert not place.home.parent.exists()
    place.home.parent.mkdir()
    fresh = databases.open(place)
    assert list(fresh.query("true")) == []
    with pytest.raises(StorageError):
        database.save([{"n": 2}])


def test_those_of_apps_that_others_deleted_are_closed(
    databases: Databases, place: Place, tmp_path: Path
) -> None:
    database = databases.open(place)
    kept = databases.open(Place("office", "kept", tmp_path / "kept"))
    replaced = Place("office", "replaced", tmp_path / "replaced")
    of_before = databases.open(replaced)
    replaced.home.rename(tmp_path / "before")
    replaced.home.mkdir()
    place.home.parent.rename(tmp_path / "trash")
    # Nobody asks for that place again.
    databases.open(Place("office", "other", tmp_path / "other"))
    for gone in database, of_before:
        with pytest.raises(StorageError, match="closed"):
            gone.watermark()
    assert kept.check() == []


def test_one_that_cannot_be_looked_at_is_not_taken_for_a_deleted_one(
    databases: Databases, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = databases.open(place)

    def busy(*args: Any) -> Any:
        raise OSError(errno.EIO, "the network is away")

    open_other = Mixquery.open

    def opened(*args: Any, **options: Any) -> Database:
        other = open_other(*args, **options)
        monkeypatch.setattr("mixkit.databases.os.stat", busy)
        return other

    monkeypatch.setattr(Mixquery, "open", opened)
    databases.open(Place("office", "other", tmp_path / "other"))
    monkeypatch.undo()
    assert databases.open(place) is database
    assert database.check() == []


@pytest.mark.parametrize("when", ["before", "after", "failing"])
def test_an_app_that_is_deleted_while_its_database_is_opened_is_gone(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    databases = Databases(Mixquery)
    plain, opened = Mixquery.open, list[Database]()

    def interrupted(*args: Any, **options: Any) -> Database:
        if when == "after":
            opened.append(plain(*args, **options))
        place.home.parent.rename(tmp_path / "trash")
        if when == "failing":
            raise StorageError("the disk is away")
        return opened[0] if opened else plain(*args, **options)

    monkeypatch.setattr(Mixquery, "open", interrupted)
    with pytest.raises(NotFound, match="'notes' of workspace 'office' is gone"):
        databases.open(place)
    assert databases.at_hand(place) is None
    for database in opened:
        with pytest.raises(StorageError, match="closed"):
            database.watermark()
    assert not place.home.parent.exists()
    databases.close()


@pytest.mark.parametrize("make", [Mixquery, Memory, PlainStorage])
def test_a_removed_database_is_closed_and_gone(make: Callable[[], Storage], place: Place) -> None:
    databases = Databases(make)
    database = databases.open(place)
    database.save([{"n": 1}])
    databases.remove(place)
    databases.remove(place)
    for call in (database.watermark, partial(database.save, [{"n": 2}])):
        with pytest.raises(DatabaseGone):
            call()
    assert databases.at_hand(place) is None
    assert list(databases.open(place).query("true")) == []
    databases.close()
    with pytest.raises(StorageError, match="closed"):
        databases.remove(place)


def test_one_that_was_never_opened_is_removed_too(place: Place) -> None:
    place.home.mkdir()
    with contextlib.closing(Mixquery().open(place)) as database:
        database.save([{"n": 1}])
    databases = Databases(Mixquery)
    databases.remove(place)
    assert list(place.home.iterdir()) == []
    place.home.rmdir()
    databases.remove(place)
    assert not place.home.exists()


def test_only_so_many_are_kept_open(tmp_path: Path) -> None:
    databases = Databases(Mixquery, most=2)
    places = [Place("office", f"app{number}", tmp_path / f"app{number}") for number in range(4)]
    first = databases.open(places[0])
    first.save([{"n": number} for number in range(300)])
    cursor = first.query("true")
    assert cursor.next()
    for place in places[1:]:
        databases.open(place)
    assert databases.open(places[3]) is databases.open(places[3])
    # Who still holds one that was let go of goes on with it.
    assert len(list(cursor)) == 200
    first.save([{"n": 300}])
    assert len(list(databases.open(places[0]).query("true"))) == 301
    databases.close()


@pytest.mark.parametrize("held", ["database", "past", "live", "both"])
def test_what_is_in_use_stays_open_however_many_there_are(tmp_path: Path, held: str) -> None:
    databases = Databases(Mixquery, most=1)
    places = [Place("office", f"app{number}", tmp_path / f"app{number}") for number in range(4)]
    use: dict[str, Callable[[Database], Any]] = {
        "database": lambda database: database,
        "past": lambda database: database.as_of(database.watermark()),
        "live": lambda database: database.live("true"),
        "both": lambda database: (database, database.query("true")),
    }
    used = [use[held](databases.open(place)) for place in places]
    for place in places:
        database = databases.at_hand(place)
        assert database is not None
        assert database.watermark() == "0" * 16
    del used, database
    databases.open(Place("office", "other", tmp_path / "other"))
    assert [place for place in places if databases.at_hand(place) is not None] == []
    databases.close()


def test_one_at_hand_is_open_while_others_come_and_go(tmp_path: Path) -> None:
    databases = Databases(PlainStorage, most=2)
    places = [Place("office", f"app{number}", tmp_path / f"app{number}") for number in range(6)]
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for place in places:
                databases.open(place)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        found = 0
        while found < 300:
            for place in places:
                database = databases.at_hand(place)
                if database is not None:
                    found += 1
                    database.watermark()
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        thread.join()
    databases.close()


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    databases = Databases(Mixquery, most=2)
    places = [Place("office", f"app{number}", tmp_path / f"app{number}") for number in range(12)]
    for place in places[:3]:
        databases.open(place).save([{"n": 1}])
    before = len(descriptors(str(tmp_path)))
    for place in places:
        databases.open(place).save([{"n": 1}])
    assert 0 < len(descriptors(str(tmp_path))) <= before + 6
    databases.close()


def test_closed_is_closed(databases: Databases, place: Place) -> None:
    database = databases.open(place)
    databases.close()
    databases.close()
    with pytest.raises(StorageError, match="closed"):
        databases.open(place)
    with pytest.raises(StorageError):
        database.watermark()


def test_a_child_opens_its_own(databases: Databases, place: Place) -> None:
    database = databases.open(place)
    database.save([{"n": 1}])
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            own = databases.open(place)
            own.save([{"n": 2}])
            databases.close()
            code = 0 if own is not database else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    database.save([{"n": 3}])
    assert [row["n"] for row in database.query("true")] == [1, 2, 3]


# -- records of packages ----------------------------------------------------------------------------


def lines(*records: Any) -> Iterator[bytes]:
    return (tagged_json.dumps(record).encode() for record in records)


@pytest.fixture
def database(place: Place) -> Database:
    return Memory().open(place)


def test_installing_again_stores_nothing(database: Database) -> None:
    records = [{"_rmx_id": Ref(f"{number:032d}"), "n": number, "to": Ref(ID)} for number in range(2_500)]
    assert load_records(database, lines(*records), {}) == 2_500
    watermark = database.watermark()
    assert int(watermark) == -(-2_500 // RECORDS_PER_COMMIT)
    assert load_records(database, lines(*records), {}) == 0
    assert database.watermark() == watermark
    records[7]["n"] = 7.0
    assert load_records(database, lines(*records), {}) == 1
    assert type((database.get(f"{7:032d}") or {})["n"]) is float


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [{"n": 2}]),
        ({"KeepOriginal": True}, [{"n": 1, "own": True}]),
        ({"Upsert": True}, [{"n": 2, "own": True}]),
    ],
)
def test_an_upgrade_follows_the_save_options(
    database: Database, options: dict[str, Any], expected: list[Any]
) -> None:
    database.save([{"_rmx_id": ID, "n": 1, "own": True}])
    load_records(database, lines({"_rmx_id": ID, "n": 2}), options)
    rows = [{k: v for k, v in row.items() if not k.startswith("_rmx_")} for row in database.query("true")]
    assert rows == expected
    watermark = database.watermark()
    load_records(database, lines({"_rmx_id": ID, "n": 2}), options)
    assert database.watermark() == watermark


def test_a_byte_order_mark_before_the_records_is_not_part_of_them(database: Database) -> None:
    first, second = lines({"_rmx_id": ID, "n": 1}, {"n": 2})
    assert load_records(database, [b"\xef\xbb\xbf" + first, second], {}) == 2
    assert load_records(database, [], {}) == 0


def test_records_may_have_ids_of_their_own_and_refer_to_each_other(database: Database) -> None:
    load_records(database, lines({"_rmx_id": "rome"}, {"to": Ref("rome")}), {"OriginalIdAlways": True})
    assert database.get("rome") is not None
    load_records(database, lines({"_rmx_id": "t", "n": 1}, {"to": Ref("t")}), {})
    [row] = database.query("to.n == 1")
    assert len(row["to"].id) == 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([b'{"n": 1}', b'{"n": '], "line 2"),
        ([b'{"n": 1}', b"[1]"], "line 2: expected a record"),
        ([b'{"n": 1}', b'{"n": 1, "n": 2}'], "line 2"),
        ([b"\xff"], "line 1"),
        ([b'{"n": 18446744073709551616}'], "line 1"),
        ([b"[" * 100_000], "line 1"),
        ([b"{}"] * RECORDS_PER_COMMIT + [b'{"_rmx_id": 5}'], "_rmx_id"),
    ],
)
def test_bad_lines_leave_the_records_as_they_were(
    database: Database, content: list[bytes], message: str
) -> None:
    database.save([{"_rmx_id": ID, "n": 0}])
    with pytest.raises(RecordError, match=message) as caught:
        load_records(database, iter(content), {})
    assert len(str(caught.value)) < 1_000
    assert [row["n"] for row in database.query("true")] == [0]


@pytest.mark.parametrize("options", [{"Unknown": True}, {"Upsert": 1}, {"upsert": True}])
def test_unknown_options_are_refused(database: Database, options: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="save options"):
        load_records(database, lines({"n": 1}), options)
    assert database.watermark() == "0" * 16


class Failing(PlainDatabase):
    """Its disk is full after some commits, and has room again later."""

    left = 1

    def save(self, records: Any, options: SaveOptions = SaveOptions()) -> Commit:  # noqa: B008
        self.left -= 1
        if self.left == -1:
            raise StorageError("the disk is full")
        return super().save(records, options)


def test_what_was_stored_before_a_failure_is_taken_back() -> None:
    database = Failing()
    PlainDatabase.save(database, [{"_rmx_id": ID, "n": 1, "own": True}])
    records = [{"_rmx_id": ID, "n": 2}, *({"n": number} for number in range(RECORDS_PER_COMMIT + 1))]
    with pytest.raises(StorageError, match="full"):
        load_records(database, lines(*records), {})
    [row] = database.query("true")
    assert (row["n"], row["own"]) == (1, True)
    assert load_records(database, lines(*records), {}) == len(records)
