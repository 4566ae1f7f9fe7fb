"""What every storage must do: records, ids, commits, history, reopening.

Derive a test class from each suite and override one fixture. `storage_query_suite` has the tests of queries and
moments, `storage_change_suite` those of waiting, live queries and threads, `storage_conflict_suite` those of saving
under a condition, `storage_refusal_suite` bad input.
`StorageReopenSuite` is for storages that outlive their objects:

    class TestMyStorage(StorageSuite):
        @pytest.fixture
        def make_storage(self):
            return MyStorage
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixkit import codec
from mixkit.errors import Conflict, DatabaseGone, MixError, NotFound, StorageError
from mixkit.record import PackedRecord
from mixkit.storage import Commit, Database, Place, Record, SaveOptions, Storage
from mixkit.testing.strategies import identical, keys, values
from mixkit.value import Case, Ref

__all__ = ["UNKNOWN", "StorageFixtures", "StorageReopenSuite", "StorageSuite", "client", "fill", "save"]

# One database holds what all examples save, and several classes of a run inherit the test.
_INHERITED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]

UNKNOWN = "Unknown0" * 4
"""A well-formed id."""


def save(database: Database, *records: Mapping[str, Any], **options: bool) -> list[Record]:
    """Save in one commit; answers the records stored."""
    return list(database.save(records, SaveOptions(**options)).records)


def client(record: Mapping[str, Any] | None) -> Record | None:
    """The client's fields."""
    return None if record is None else {k: v for k, v in record.items() if not k.startswith("_rmx_")}


def fill(database: Database) -> tuple[Ref, Ref, str]:
    """A record with two versions, a deleted one, and one untouched.

    Returns:
        The ids of the first two, and the watermark before the last changes.
    """
    first, second, _ = save(database, {"n": 1}, {"n": 2}, {"n": 3})
    before = database.watermark()
    save(database, {"_rmx_id": first["_rmx_id"], "n": 10})
    database.delete([second["_rmx_id"]])
    return first["_rmx_id"], second["_rmx_id"], before


class StorageFixtures:
    """Fixtures of all suites."""

    @pytest.fixture
    def make_storage(self) -> Callable[[], Storage]:
        """Makes the storage under test, which keeps its databases below `Place.home` or at random places."""
        raise NotImplementedError("override the fixture `make_storage`")

    @pytest.fixture
    def storage(self, make_storage: Callable[[], Storage]) -> Storage:
        return make_storage()

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        home = tmp_path / "home"
        home.mkdir()
        return Place("office", "notes", home)

    @pytest.fixture
    def database(self, storage: Storage, place: Place) -> Iterator[Database]:
        database = storage.open(place)
        yield database
        database.close()


class StorageSuite(StorageFixtures):
    """See the module's text."""

    def test_it_says_what_it_is(self, storage: Storage) -> None:
        assert isinstance(storage, Storage)
        assert type(storage.name) is str
        assert type(storage.durable) is bool

    # -- records ------------------------------------------------------------------------------

    def test_records_may_come_packed(self, database: Database) -> None:
        given = [{"a": Ref("t"), "b": [1, {"c": None}]}, {"_rmx_id": "t", "_rmx_type": "note", "_rmx_row": 7}]
        first, second = database.save([PackedRecord(codec.encode(record)) for record in given]).records
        assert client(first) == {"a": second["_rmx_id"], "b": [1, {"c": None}]}
        assert second["_rmx_type"] == "note"
        packed = PackedRecord(codec.encode({"_rmx_id": first["_rmx_id"], "a": 2}))
        save(database, packed, upsert=True)
        assert client(database.get(first["_rmx_id"])) == {"a": 2, "b": [1, {"c": None}]}

    def test_a_record_comes_back_with_the_engines_fields(self, database: Database) -> None:
        before = time.time_ns() // 1_000_000
        commit = database.save([{"_rmx_type": "person", "name": "Ann", "age": 40}])
        [record] = commit.records
        id = record["_rmx_id"]
        assert isinstance(id, Ref)
        assert len(id.id) == 32
        assert id.id.isascii()
        assert id.id.isalnum()
        when = record["_rmx_last_modified_at"]
        assert before <= when <= time.time_ns() // 1_000_000
        assert record == {
            "_rmx_type": "person",
            "name": "Ann",
            "age": 40,
            "_rmx_id": id,
            "_rmx_row": 0,
            "_rmx_rev": commit.watermark,
            "_rmx_last_modified_at": when,
        }
        assert database.get(id) == record
        assert database.get(id.id) == record
        assert database.history(id) == [record]
        assert list(database.query("true")) == [record]

    def test_fields_keep_their_order(self, database: Database) -> None:
        [record] = save(database, {"z": 1, "a": 2, "m": {"y": 1, "b": 2}})
        found = database.get(record["_rmx_id"])
        assert found is not None
        assert [name for name in found if not name.startswith("_rmx_")] == ["z", "a", "m"]
        assert list(found["m"]) == ["y", "b"]

    def test_an_empty_record_is_one(self, database: Database) -> None:
        [record] = save(database, {})
        assert client(database.get(record["_rmx_id"])) == {}

    @settings(max_examples=25, suppress_health_check=_INHERITED, deadline=None)
    @given(
        st.dictionaries(
            keys.filter(lambda name: not name.startswith("_rmx_")), values(undef=False), max_size=6
        )
    )
    def test_every_value_comes_back_as_it_was(self, database: Database, fields: Record) -> None:
        [record] = save(database, fields, dont_use_id=True)
        assert identical(client(record), fields)
        assert identical(client(database.get(record["_rmx_id"])), fields)
        database.flush()
        assert identical(client(database.get(record["_rmx_id"])), fields)

    def test_what_is_given_and_what_is_answered_may_be_changed(self, database: Database) -> None:
        given = {"tags": ["a"], "inner": {"n": 1}}
        commit = database.save([given])
        id = commit.records[0]["_rmx_id"]
        assert given == {"tags": ["a"], "inner": {"n": 1}}
        given["tags"].append("b")  # type: ignore[attr-defined]
        for found in (database.get(id), database.history(id)[0]):
            assert found is not None
            assert client(found) == {"tags": ["a"], "inner": {"n": 1}}
            found["inner"]["n"] = 2
        assert client(database.get(id)) == {"tags": ["a"], "inner": {"n": 1}}

    def test_fields_of_the_engine_are_not_taken_from_clients(self, database: Database) -> None:
        forged = {
            "_rmx_row": 99,
            "_rmx_rev": "9" * 16,
            "_rmx_previous": Ref("0"),
            "_rmx_last_modified_at": 0,
            "_rmx_deleted": True,
            "_rmx_superseded": True,
            "_rmx_superseded_at": 1,
            "_rmx_invented": 1,
        }
        [first] = save(database, {"n": 1})
        [record] = save(database, {"n": 2} | forged)
        assert record["_rmx_row"] == 1
        assert first["_rmx_rev"] < record["_rmx_rev"] < "9" * 16
        assert record["_rmx_last_modified_at"] >= first["_rmx_last_modified_at"]
        missing = {"_rmx_previous", "_rmx_deleted", "_rmx_superseded", "_rmx_superseded_at", "_rmx_invented"}
        assert not record.keys() & missing
        assert database.get(record["_rmx_id"]) == record
        assert "_rmx_superseded" not in database.history(first["_rmx_id"])[0]

    def test_unknown_ids_are_no_error(self, database: Database) -> None:
        assert database.get(UNKNOWN) is None
        assert database.get(Ref("no id at all")) is None
        assert database.history(UNKNOWN) == []

    # -- ids ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("id", [Ref(UNKNOWN), UNKNOWN])
    def test_a_well_formed_unknown_id_is_kept(self, database: Database, id: Ref | str) -> None:
        [record] = save(database, {"_rmx_id": id, "n": 1})
        assert record["_rmx_id"] == Ref(UNKNOWN)
        assert "_rmx_previous" not in record
        assert database.get(UNKNOWN) == record

    def test_a_known_id_gives_a_new_version(self, database: Database) -> None:
        [old] = save(database, {"n": 1, "only": "old"})
        [new] = save(database, {"_rmx_id": old["_rmx_id"], "n": 2})
        assert client(new) == {"n": 2}
        assert new["_rmx_previous"] == Ref("0")
        assert new["_rmx_row"] == 1
        assert database.get(old["_rmx_id"]) == new
        assert list(database.query("true")) == [new]

    def test_temporary_ids_become_new_ones_wherever_they_stand(self, database: Database) -> None:
        first, second = save(
            database,
            {"_rmx_id": "a", "to": Ref("b"), "list": [Ref("a"), [Ref("b")]], "text": "b"},
            {"_rmx_id": Ref("b"), "map": {"to": Ref("a")}, "case": Case("some", Ref("a")), "other": Ref("c")},
        )
        a, b = first["_rmx_id"], second["_rmx_id"]
        assert a != b
        assert {len(a.id), len(b.id)} == {32}
        assert client(first) == {"to": b, "list": [a, [b]], "text": "b"}
        assert client(second) == {"map": {"to": a}, "case": Case("some", a), "other": Ref("c")}
        [later] = save(database, {"_rmx_id": "a", "to": Ref("b")})
        assert later["_rmx_id"] not in (a, b)
        assert client(later) == {"to": Ref("b")}

    def test_a_temporary_id_given_twice_is_one_record(self, database: Database) -> None:
        first, second = save(database, {"_rmx_id": "a", "n": 1}, {"_rmx_id": "a", "n": 2})
        assert first["_rmx_id"] == second["_rmx_id"]
        assert second["_rmx_previous"] == Ref("0")
        assert client(database.get(first["_rmx_id"])) == {"n": 2}
        assert len(database.history(first["_rmx_id"])) == 2

    @pytest.mark.parametrize("upsert", [False, True])
    def test_a_known_id_is_never_temporary(self, database: Database, upsert: bool) -> None:
        [old] = save(database, {"_rmx_id": "C1", "n": 1}, original_id_always=True)
        [new, other] = save(
            database,
            dict(database.get("C1") or {}) | {"n": 2},
            {"_rmx_id": "C2", "to": [Ref("C1"), Ref("C2")]},
            upsert=upsert,
        )
        assert new["_rmx_id"] == Ref("C1")
        assert new["_rmx_previous"] == Ref(str(old["_rmx_row"]))
        assert client(other) == {"to": [Ref("C1"), other["_rmx_id"]]}
        assert other["_rmx_id"] != Ref("C2")
        assert len(list(database.query("true"))) == 2

    def test_the_id_of_a_deleted_record_is_known(self, database: Database) -> None:
        [old] = save(database, {"_rmx_id": "C1", "n": 1}, original_id_always=True)
        database.delete(["C1"])
        with pytest.raises(Conflict):
            database.save([old], SaveOptions(unchanged=True))
        [back] = save(database, old)
        assert back["_rmx_id"] == Ref("C1")
        assert len(database.history("C1")) == 3

    def test_a_record_with_an_own_id_is_saved_if_unchanged(self, database: Database) -> None:
        [read] = save(database, {"_rmx_id": "C1", "n": 1}, original_id_always=True)
        [new] = save(database, read | {"n": 2}, unchanged=True)
        assert (new["_rmx_id"], client(new)) == (Ref("C1"), {"n": 2})
        with pytest.raises(Conflict):
            database.save([read], SaveOptions(unchanged=True))

    def test_a_known_id_is_no_id_for_records_that_are_all_new(self, database: Database) -> None:
        [old] = save(database, {"_rmx_id": "C1", "n": 1}, original_id_always=True)
        [new, ref] = save(database, {"_rmx_id": "C1", "n": 2}, {"to": Ref("C1")}, dont_use_id=True)
        assert new["_rmx_id"] != Ref("C1")
        assert ref["to"] == new["_rmx_id"]
        assert database.get("C1") == old

    def test_a_ref_in_a_stored_record_is_not_renamed_later(self, database: Database) -> None:
        [record] = save(database, {"to": Ref("a")})
        save(database, {"_rmx_id": record["_rmx_id"], "n": 1}, {"_rmx_id": "a"}, upsert=True)
        assert client(database.get(record["_rmx_id"])) == {"to": Ref("a"), "n": 1}

    @pytest.mark.parametrize("flushed", [False, True])
    def test_nan_is_one_value(self, database: Database, flushed: bool) -> None:
        nans = [math.nan, -math.nan, float("nan")]
        save(database, *({"v": nan, "list": [nan]} for nan in nans), {"v": 1}, {"v": -math.inf}, {"v": None})
        if flushed:
            database.flush()

        def count(text: str, given: Any = math.nan) -> int:
            return len(list(database.query(text, {"x": given} if "$x" in text else {})))

        for text, asked in (("v == $x", math.nan), ("v in $x", [math.nan, 7]), ("list == $x", [math.nan])):
            assert count(text, asked) == 3, text
        assert count("list contains $x") == count("list all in [$x]") == 3
        assert count("v != $x") == count("not (v == $x)") == 3
        # It is equal to itself, and neither more nor less than any number.
        assert count("v != null and v < $x") == count("v > $x") == 0
        assert count("exists v | group(v)") == 4
        assert count("exists v | group(list)") == 2
        [row] = database.query("exists v | distinct(v)")
        assert len(row["distinct"]) == 4
        ordered = [row["v"] for row in database.query("v != null | orderAsc(v)")]
        assert [value != value for value in ordered] == [True] * 3 + [False] * 2
        assert ordered[3:] == [-math.inf, 1]

    # -- options ------------------------------------------------------------------------------

    def test_upsert_lays_fields_over_the_old_ones(self, database: Database) -> None:
        [old] = save(database, {"_rmx_type": "note", "a": 1, "b": {"x": 1}, "c": 3})
        [new] = save(database, {"_rmx_id": old["_rmx_id"], "b": {"y": 2}, "d": None}, upsert=True)
        assert client(new) == {"a": 1, "b": {"y": 2}, "c": 3, "d": None}
        assert new["_rmx_type"] == "note"
        assert new["_rmx_previous"] == Ref("0")
        [made] = save(database, {"_rmx_id": UNKNOWN, "a": 1}, upsert=True)
        assert client(made) == {"a": 1}
        first, second = save(database, {"_rmx_id": "t", "a": 1}, {"_rmx_id": "t", "b": 2}, upsert=True)
        assert client(first) == {"a": 1}
        assert client(second) == {"a": 1, "b": 2}

    def test_keep_original_leaves_known_records_alone(self, database: Database) -> None:
        [old] = save(database, {"n": 1})
        before = database.watermark()
        commit = database.save([{"_rmx_id": old["_rmx_id"], "n": 2}], SaveOptions(keep_original=True))
        assert commit.watermark == before == database.watermark()
        assert list(commit.records) == [old]
        kept, made = save(
            database, {"_rmx_id": old["_rmx_id"], "n": 2}, {"_rmx_id": UNKNOWN, "n": 3}, keep_original=True
        )
        assert kept == old
        assert client(made) == {"n": 3}
        assert database.history(old["_rmx_id"]) == [old]

    def test_original_id_always_takes_any_text(self, database: Database) -> None:
        first, second = save(
            database, {"_rmx_id": "rome", "n": 1}, {"to": Ref("rome")}, original_id_always=True
        )
        assert first["_rmx_id"] == Ref("rome")
        assert second["to"] == Ref("rome")
        [again] = save(database, {"_rmx_id": Ref("rome"), "n": 2}, original_id_always=True)
        assert again["_rmx_previous"] == Ref("0")
        assert client(database.get("rome")) == {"n": 2}
        assert [client(row) for row in database.history("rome")] == [{"n": 1}, {"n": 2}]

    def test_dont_use_id_makes_every_record_new(self, database: Database) -> None:
        [old] = save(database, {"n": 1})
        copied, beside = save(
            database, {"_rmx_id": old["_rmx_id"], "n": 2}, {"to": old["_rmx_id"]}, dont_use_id=True
        )
        assert copied["_rmx_id"] != old["_rmx_id"]
        assert "_rmx_previous" not in copied
        assert beside["to"] == copied["_rmx_id"]
        assert database.get(old["_rmx_id"]) == old

    # -- deleting -----------------------------------------------------------------------------

    def test_delete_leaves_a_tombstone(self, database: Database) -> None:
        [record, other] = save(database, {"_rmx_type": "note", "n": 1}, {"n": 2})
        commit = database.delete([record["_rmx_id"]])
        [tombstone] = commit.records
        assert tombstone["_rmx_deleted"] is True
        assert tombstone["_rmx_id"] == record["_rmx_id"]
        assert tombstone["_rmx_rev"] == commit.watermark
        assert tombstone["_rmx_previous"] == Ref("0")
        assert client(tombstone) == {}
        assert database.get(record["_rmx_id"]) is None
        assert list(database.query("true")) == [other]
        old, last = database.history(record["_rmx_id"])
        assert client(old) == {"n": 1}
        assert old["_rmx_superseded"] is True
        assert last == tombstone

    def test_deleting_what_is_not_there_stores_nothing(self, database: Database) -> None:
        [record] = save(database, {"n": 1})
        database.delete([record["_rmx_id"]])
        before = database.watermark()
        commit = database.delete([UNKNOWN, record["_rmx_id"].id, "no id"])
        assert list(commit.records) == [{}, {}, {}]
        assert commit.watermark == before == database.watermark()
        assert len(database.history(record["_rmx_id"])) == 2

    def test_one_delete_is_one_commit(self, database: Database) -> None:
        a, b = save(database, {"n": 1}, {"n": 2})
        commit = database.delete([a["_rmx_id"], UNKNOWN, b["_rmx_id"].id, a["_rmx_id"]])
        first, unknown, second, again = commit.records
        assert first["_rmx_rev"] == second["_rmx_rev"] == commit.watermark
        assert unknown == again == {}

    @pytest.mark.parametrize("upsert", [False, True])
    def test_a_deleted_record_can_live_again(self, database: Database, upsert: bool) -> None:
        [record] = save(database, {"a": 1})
        id = record["_rmx_id"]
        database.delete([id])
        [again] = save(database, {"_rmx_id": id, "b": 2}, upsert=upsert)
        assert client(again) == {"b": 2}
        assert "_rmx_deleted" not in again
        assert again["_rmx_previous"] == Ref("1")
        assert database.get(id) == again
        assert [client(row) for row in database.history(id)] == [{"a": 1}, {}, {"b": 2}]

    # -- commits and history ------------------------------------------------------------------

    def test_watermarks_have_one_length_and_grow(self, database: Database) -> None:
        seen = [database.watermark()]
        for number in range(12):
            commit = database.save([{"n": number}, {"n": -number}])
            assert {row["_rmx_rev"] for row in commit.records} == {commit.watermark} == {database.watermark()}
            seen.append(commit.watermark)
        assert seen == sorted(set(seen))
        assert len({len(watermark) for watermark in seen}) == 1

    def test_rows_are_numbered_in_commit_order_and_time_never_decreases(self, database: Database) -> None:
        for number in range(10):
            save(database, {"n": number}, {"n": number})
        rows = list(database.query("true"))
        assert [row["_rmx_row"] for row in rows] == list(range(20))
        times = [row["_rmx_last_modified_at"] for row in rows]
        assert times == sorted(times)

    def test_a_commit_says_how_much_it_stored(self, database: Database) -> None:
        text = "x" * 10_000
        first = database.save([{"text": text, "n": n} for n in range(3)])
        assert 30_000 < first.size < 40_000
        ids = [record["_rmx_id"] for record in first.records]
        upserted = database.save([{"_rmx_id": ids[0], "more": 1}], SaveOptions(upsert=True))
        assert 10_000 < upserted.size < 12_000, "a version is stored whole"
        assert 0 < database.delete(ids[:1]).size < 1_000
        assert database.save([{"_rmx_id": ids[1], "n": 5}], SaveOptions(keep_original=True)).size == 0
        assert database.delete(ids[:1]).size == 0

    def test_nothing_to_store_is_no_commit(self, database: Database) -> None:
        save(database, {"n": 1})
        before = database.watermark()
        assert database.save([]) == Commit(before, [])
        assert database.delete([]) == Commit(before, [])
        assert database.watermark() == before

    def test_history_says_what_is_superseded_and_since_when(self, database: Database) -> None:
        [first] = save(database, {"n": 1})
        id = first["_rmx_id"]
        [second] = save(database, {"_rmx_id": id, "n": 2})
        [third] = save(database, {"_rmx_id": id, "n": 3})
        old, middle, newest = database.history(id)
        assert old == first | {
            "_rmx_superseded": True,
            "_rmx_superseded_at": second["_rmx_last_modified_at"],
        }
        assert middle["_rmx_superseded_at"] == third["_rmx_last_modified_at"]
        assert newest == third
        assert "_rmx_superseded" not in newest

    # -- flush, compaction, checks ------------------------------------------------------------

    def test_flush_and_compaction_change_nothing_that_can_be_read(self, database: Database) -> None:
        changed, deleted, before = fill(database)

        def read() -> Any:
            return (
                database.watermark(),
                list(database.query("true")),
                list(database.query("true", deleted=True, superseded=True)),
                database.history(changed),
                database.history(deleted),
                list(database.as_of(before).query("true")),
            )

        expected = read()
        database.flush()
        assert read() == expected
        database.compact()
        assert read() == expected
        save(database, {"n": 4})
        assert [row["n"] for row in database.query("true")] == [3, 10, 4]
        database.flush()
        assert [row["n"] for row in database.query("true")] == [3, 10, 4]

    @pytest.mark.parametrize("flushed", [False, True])
    def test_history_is_dropped_when_asked(self, database: Database, flushed: bool) -> None:
        changed, deleted, before = fill(database)
        if flushed:
            database.flush()
        watermark = database.watermark()
        with database.query("true") as cursor:
            database.compact(drop_history=True)
            assert [row["n"] for row in cursor] == [3, 10]
        assert database.watermark() == watermark
        assert [row["n"] for row in database.query("true")] == [3, 10]
        assert [row["n"] for row in database.query("true", deleted=True, superseded=True)] == [3, 10]
        [only] = database.history(changed)
        assert only["n"] == 10
        assert "_rmx_previous" not in only
        assert database.history(deleted) == []
        assert database.get(deleted) is None
        assert [row["n"] for row in database.as_of(watermark).query("true")] == [3, 10]
        with pytest.raises(MixError):
            database.as_of(before)
        [again] = save(database, {"_rmx_id": changed, "n": 11})
        assert again["_rmx_rev"] > watermark
        assert [row["n"] for row in database.history(changed)] == [10, 11]
        assert [row["n"] for row in database.query("n >= 10")] == [11]

    def test_a_whole_database_checks_out(self, database: Database) -> None:
        assert database.check() == []
        fill(database)
        assert database.check() == []
        database.flush()
        assert database.check() == []
        database.compact(drop_history=True)
        assert database.check() == []

    def test_stats_count(self, database: Database) -> None:
        fill(database)
        stats = database.stats()
        assert stats["records"] == 2
        assert stats["versions"] == 5
        assert stats["commits"] == 3
        assert stats["size"] > 0

    # -- opening ------------------------------------------------------------------------------

    @pytest.mark.parametrize("mode", ["read", "write"])
    def test_only_create_makes_a_database(self, storage: Storage, place: Place, mode: Any) -> None:
        with pytest.raises(NotFound):
            storage.open(place, mode=mode)
        storage.open(place).close()

    def test_two_handles_are_one_database(self, storage: Storage, place: Place, database: Database) -> None:
        other = storage.open(place, mode="write")
        [record] = save(database, {"n": 1})
        assert other.get(record["_rmx_id"]) == record
        [new] = save(other, {"_rmx_id": record["_rmx_id"], "n": 2})
        assert database.get(record["_rmx_id"]) == new
        other.close()
        assert database.get(record["_rmx_id"]) == new

    def test_a_reader_sees_commits_and_makes_none(
        self, storage: Storage, place: Place, database: Database
    ) -> None:
        reader = storage.open(place, mode="read")
        [record] = save(database, {"n": 1})
        assert reader.get(record["_rmx_id"]) == record
        for write in (
            lambda: reader.save([{"n": 2}]),
            lambda: reader.delete([record["_rmx_id"]]),
            lambda: reader.compact(drop_history=True),
        ):
            with pytest.raises(StorageError):
                write()
        assert list(reader.query("true")) == [record]
        reader.close()

    def test_apps_have_databases_of_their_own(
        self, storage: Storage, place: Place, database: Database, tmp_path: Path
    ) -> None:
        [record] = save(database, {"n": 1})
        for name, (workspace, app) in enumerate([("office", "tasks"), ("home", "notes")]):
            home = tmp_path / f"other{name}"
            home.mkdir()
            other = storage.open(Place(workspace, app, home))
            assert other.get(record["_rmx_id"]) is None
            assert list(other.query("true")) == []
            save(other, {"_rmx_id": record["_rmx_id"], "n": 2})
            other.close()
        assert list(database.query("true")) == [record]

    def test_a_removed_database_is_forgotten(self, storage: Storage, place: Place, tmp_path: Path) -> None:
        (place.home / "other").write_text("stays")
        beside = Place("office", "tasks", tmp_path / "tasks")
        beside.home.mkdir()
        kept = storage.open(beside)
        save(kept, {"n": 1})
        handles = [storage.open(place), storage.open(place), storage.open(place, mode="read")]
        live = handles[0].live("true")
        [record] = save(handles[0], {"n": 1})
        for _ in range(2):
            storage.remove(place)
            for database in handles:
                with pytest.raises(DatabaseGone):
                    database.get(record["_rmx_id"])
                with pytest.raises(DatabaseGone):
                    database.save([{"n": 2}])
            with pytest.raises(MixError):
                live.next(0)
            with pytest.raises(NotFound):
                storage.open(place, mode="write")
        again = storage.open(place)
        assert again.history(record["_rmx_id"]) == []
        assert list(again.query("true", deleted=True, superseded=True)) == []
        assert save(again, {"n": 3})[0]["_rmx_row"] == 0
        again.close()
        assert (place.home / "other").read_text() == "stays"
        assert [client(row) for row in kept.query("true")] == [{"n": 1}]
        kept.close()

    def test_close_is_idempotent_and_final(self, storage: Storage, place: Place) -> None:
        database = storage.open(place)
        database.close()
        database.close()
        with pytest.raises(StorageError):
            database.save([{"n": 1}])
        with pytest.raises(StorageError):
            database.get(UNKNOWN)


class StorageReopenSuite(StorageFixtures):
    """What a storage must do whose databases outlive the object and the process."""

    def test_it_says_so(self, storage: Storage) -> None:
        assert storage.durable is True

    @pytest.mark.parametrize("how", ["closed", "flushed", "left open"])
    def test_what_was_committed_is_there_again(
        self, make_storage: Callable[[], Storage], place: Place, how: str
    ) -> None:
        database = make_storage().open(place)
        changed, deleted, before = fill(database)
        if how == "flushed":
            database.flush()
        expected = (
            database.watermark(),
            list(database.query("true")),
            database.history(changed),
            database.history(deleted),
        )
        if how != "left open":
            database.close()
        again = make_storage().open(place, mode="write")
        found = (again.watermark(), list(again.query("true")), again.history(changed), again.history(deleted))
        assert found == expected
        assert [row["n"] for row in again.as_of(before).query("true")] == [1, 2, 3]
        save(again, {"n": 4})
        assert [row["n"] for row in again.query("n > 2")] == [3, 10, 4]
        again.close()
        database.close()
