"""What every storage must do for those who read, change and save a record beside each other: no update is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mixkit.errors import Conflict, RecordError
from mixkit.storage import Database, Record
from mixkit.testing.storage_suite import UNKNOWN, StorageFixtures, client, save
from mixkit.value import Ref

__all__ = ["StorageConflictSuite"]

NEVER = "9" * 16
"""A watermark that is never reached."""

MIB = 1 << 20


def _refused(database: Database, change: Callable[[], Any]) -> Conflict:
    """The conflict in which the change ends; nothing of it is stored."""
    before = database.watermark()
    with pytest.raises(Conflict) as caught:
        change()
    assert database.watermark() == before
    assert caught.value.path in str(caught.value)
    assert len(str(caught.value)) < 500
    return caught.value


def _told(conflict: Conflict) -> tuple[str, str | None, str | None, str]:
    return conflict.id, conflict.expected, conflict.found, conflict.path


class StorageConflictSuite(StorageFixtures):
    """See the module's text."""

    # -- saving -------------------------------------------------------------------------------

    @pytest.mark.parametrize("flushed", [False, True])
    @pytest.mark.parametrize("upsert", [False, True])
    def test_what_was_read_and_not_changed_is_saved(
        self, database: Database, upsert: bool, flushed: bool
    ) -> None:
        [first] = save(database, {"n": 1, "m": 1})
        if flushed:
            database.flush()
        [second] = save(database, first | {"n": 2}, unchanged=True, upsert=upsert)
        assert client(second) == {"n": 2, "m": 1}
        assert second["_rmx_previous"] == Ref("0")
        [third] = save(database, second | {"n": 3}, unchanged=True, upsert=upsert)
        assert client(database.get(first["_rmx_id"])) == {"n": 3, "m": 1}
        assert third["_rmx_rev"] > second["_rmx_rev"] > first["_rmx_rev"]

    @pytest.mark.parametrize("flushed", [False, True])
    @pytest.mark.parametrize("options", [{}, {"upsert": True}, {"keep_original": True}])
    def test_what_somebody_changed_is_a_conflict_and_nothing_is_stored(
        self, database: Database, options: dict[str, bool], flushed: bool
    ) -> None:
        stale, other = save(database, {"n": 1}, {"n": 2})
        [newest] = save(database, {"_rmx_id": stale["_rmx_id"], "n": 10})
        if flushed:
            database.flush()
        conflict = _refused(
            database,
            lambda: save(
                database, other | {"n": 20}, {"n": 30}, stale | {"n": 11}, unchanged=True, **options
            ),
        )
        assert _told(conflict) == (stale["_rmx_id"].id, stale["_rmx_rev"], newest["_rmx_rev"], "$[2]")
        assert [row["n"] for row in database.query("true")] == [2, 10]
        [again] = save(database, newest | {"n": 11}, unchanged=True)
        assert client(again) == {"n": 11}

    def test_without_the_option_the_version_read_does_not_matter(self, database: Database) -> None:
        [stale] = save(database, {"n": 1})
        save(database, stale | {"n": 2})
        [newest] = save(database, stale | {"n": 3})
        assert database.get(stale["_rmx_id"]) == newest

    def test_none_stands_for_no_record(self, database: Database) -> None:
        wanted = {"_rmx_id": UNKNOWN, "_rmx_rev": None, "n": 1}
        [made] = save(database, wanted, unchanged=True)
        assert made["_rmx_id"] == Ref(UNKNOWN)
        conflict = _refused(database, lambda: save(database, wanted, unchanged=True))
        assert _told(conflict) == (UNKNOWN, None, made["_rmx_rev"], "$[0]")
        database.delete([UNKNOWN])
        # As `get` answers None again.
        [again] = save(database, wanted, unchanged=True)
        assert again["_rmx_previous"] == Ref("1")

    def test_a_tombstone_is_a_version(self, database: Database) -> None:
        [record] = save(database, {"n": 1})
        [tombstone] = database.delete([record["_rmx_id"]]).records
        conflict = _refused(database, lambda: save(database, record, unchanged=True))
        assert (conflict.expected, conflict.found) == (record["_rmx_rev"], tombstone["_rmx_rev"])
        [again] = save(
            database, {"_rmx_id": record["_rmx_id"], "_rmx_rev": tombstone["_rmx_rev"]}, unchanged=True
        )
        conflict = _refused(database, lambda: save(database, tombstone, unchanged=True))
        assert conflict.found == again["_rmx_rev"]

    @pytest.mark.parametrize("rev", ["0" * 16, "0" * 15 + "1", NEVER])
    def test_a_version_of_an_unknown_record_is_a_conflict(self, database: Database, rev: str) -> None:
        save(database, {"n": 1})
        conflict = _refused(
            database, lambda: save(database, {"_rmx_id": UNKNOWN, "_rmx_rev": rev}, unchanged=True)
        )
        assert _told(conflict) == (UNKNOWN, rev, None, "$[0]")

    def test_new_records_need_no_version(self, database: Database) -> None:
        [known] = save(database, {"n": 1})
        one, two, three = save(
            database,
            known | {"to": Ref("t")},
            {"_rmx_id": "t", "_rmx_rev": None, "n": 2},
            {"n": 3},
            unchanged=True,
        )
        assert one["to"] == two["_rmx_id"] != Ref("t")
        assert one["_rmx_rev"] == two["_rmx_rev"] == three["_rmx_rev"]

    def test_one_record_given_twice_is_compared_with_what_was_before(self, database: Database) -> None:
        [old] = save(database, {"n": 1})
        first, second = save(database, old | {"n": 2}, old | {"n": 3}, unchanged=True)
        assert second["_rmx_previous"] == Ref(str(first["_rmx_row"]))
        assert client(database.get(old["_rmx_id"])) == {"n": 3}
        third, fourth = save(
            database,
            {"_rmx_id": UNKNOWN, "_rmx_rev": None, "n": 4},
            {"_rmx_id": UNKNOWN, "_rmx_rev": None, "n": 5},
            unchanged=True,
        )
        assert fourth["_rmx_previous"] == Ref(str(third["_rmx_row"]))

    def test_other_ids_are_compared_too(self, database: Database) -> None:
        [rome] = save(database, {"_rmx_id": "rome", "n": 1}, original_id_always=True)
        save(database, rome | {"n": 2}, original_id_always=True, unchanged=True)
        conflict = _refused(database, lambda: save(database, rome, original_id_always=True, unchanged=True))
        assert conflict.id == "rome"

    @pytest.mark.parametrize(
        ("record", "path"),
        [
            ({"_rmx_id": UNKNOWN}, "$[1]"),
            ({"_rmx_id": UNKNOWN, "_rmx_rev": 5}, "$[1]._rmx_rev"),
            ({"_rmx_id": UNKNOWN, "_rmx_rev": ""}, "$[1]._rmx_rev"),
            ({"_rmx_id": UNKNOWN, "_rmx_rev": "9" * MIB}, "$[1]._rmx_rev"),
            ({"_rmx_id": UNKNOWN, "_rmx_rev": ["0" * 16]}, "$[1]._rmx_rev"),
            ({"_rmx_id": UNKNOWN, "_rmx_rev": Ref("0" * 16)}, "$[1]._rmx_rev"),
            ({"_rmx_rev": "0" * 16}, "$[1]._rmx_id"),
            ({"_rmx_id": "temporary", "_rmx_rev": "0" * 16}, "$[1]._rmx_id"),
        ],
    )
    def test_a_condition_that_is_none_is_refused(self, database: Database, record: Record, path: str) -> None:
        before = database.watermark()
        with pytest.raises(RecordError) as caught:
            save(database, {"n": 1}, record, unchanged=True)
        assert caught.value.path == path
        assert len(str(caught.value)) < 500
        assert database.watermark() == before

    def test_compaction_changes_no_record(self, database: Database) -> None:
        first, second = save(database, {"n": 1}, {"n": 2})
        [first] = save(database, first | {"n": 10}, unchanged=True)
        [tombstone] = database.delete([second]).records
        database.compact(drop_history=True)
        [again] = save(database, first | {"n": 100}, unchanged=True)
        assert client(again) == {"n": 100}
        # Nothing is left of the other one.
        conflict = _refused(database, lambda: save(database, tombstone, unchanged=True))
        assert conflict.found is None
        save(database, {"_rmx_id": second["_rmx_id"], "_rmx_rev": None}, unchanged=True)

    # -- deleting -----------------------------------------------------------------------------

    def test_a_record_that_was_read_is_deleted_if_it_is_unchanged(self, database: Database) -> None:
        one, two, three = save(database, {"n": 1}, {"n": 2}, {"n": 3})
        found = database.delete(
            [one, two["_rmx_id"], {"_rmx_id": three["_rmx_id"].id, "_rmx_rev": three["_rmx_rev"]}]
        )
        assert [row["_rmx_deleted"] for row in found.records] == [True] * 3
        again = database.delete([found.records[0], {"_rmx_id": UNKNOWN, "_rmx_rev": None}])
        assert list(again.records) == [{}, {}]
        assert again.watermark == found.watermark

    def test_nothing_is_deleted_if_one_was_changed(self, database: Database) -> None:
        kept, stale = save(database, {"n": 1}, {"n": 2})
        [newest] = save(database, stale | {"n": 3})
        conflict = _refused(database, lambda: database.delete([kept["_rmx_id"], stale]))
        assert _told(conflict) == (stale["_rmx_id"].id, stale["_rmx_rev"], newest["_rmx_rev"], "$[1]")
        assert [row["n"] for row in database.query("true")] == [1, 3]
        database.delete([newest["_rmx_id"]])
        assert _refused(database, lambda: database.delete([newest])).expected == newest["_rmx_rev"]
        assert (
            _refused(database, lambda: database.delete([{"_rmx_id": UNKNOWN, "_rmx_rev": NEVER}])).found
            is None
        )

    def test_a_record_is_deleted_once_by_one_call(self, database: Database) -> None:
        [record] = save(database, {"n": 1})
        first, second = database.delete([record, record]).records
        assert (first["_rmx_deleted"], second) == (True, {})

    @pytest.mark.parametrize(
        ("target", "path"),
        [
            ({}, "$[1]._rmx_id"),
            ({"_rmx_rev": None}, "$[1]._rmx_id"),
            ({"_rmx_id": 5, "_rmx_rev": None}, "$[1]._rmx_id"),
            ({"_rmx_id": UNKNOWN}, "$[1]"),
            ({"_rmx_id": UNKNOWN, "_rmx_rev": 5}, "$[1]._rmx_rev"),
            ({"_rmx_id": UNKNOWN, "_rmx_rev": "now"}, "$[1]._rmx_rev"),
        ],
    )
    def test_a_map_that_says_not_what_was_read_deletes_nothing(
        self, database: Database, target: Record, path: str
    ) -> None:
        [record] = save(database, {"n": 1})
        with pytest.raises(RecordError) as caught:
            database.delete([record["_rmx_id"], target])
        assert caught.value.path == path
        assert database.get(record["_rmx_id"]) == record

    # -- beside each other --------------------------------------------------------------------

    def test_threads_that_count_together_lose_nothing(self, database: Database) -> None:
        [counter] = save(database, {"n": 0})
        threads, rounds = 4, 50
        barrier = threading.Barrier(threads)

        def count() -> None:
            barrier.wait()
            for _ in range(rounds):
                while True:
                    record = database.get(counter["_rmx_id"])
                    assert record is not None
                    try:
                        save(database, record | {"n": record["n"] + 1}, unchanged=True)
                        break
                    except Conflict as conflict:
                        # Whoever reads again sees what was in the way.
                        assert conflict.found is not None
                        assert conflict.found <= database.watermark()

        with ThreadPoolExecutor(threads) as pool:
            for each in [pool.submit(count) for _ in range(threads)]:
                each.result()
        history = database.history(counter["_rmx_id"])
        assert [version["n"] for version in history] == list(range(threads * rounds + 1))

    def test_of_several_who_make_one_record_one_does(self, database: Database) -> None:
        threads = 4
        barrier = threading.Barrier(threads)

        def make(thread: int) -> bool:
            barrier.wait()
            try:
                save(database, {"_rmx_id": UNKNOWN, "_rmx_rev": None, "by": thread}, unchanged=True)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(make, range(threads)))
        assert sum(made) == 1
        [only] = database.history(UNKNOWN)
        assert only["by"] == made.index(True)
