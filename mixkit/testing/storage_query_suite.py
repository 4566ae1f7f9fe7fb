"""What every storage must do: queries, cursors, and the database as it was."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mixkit import codec, msgpack_values, tagged_json
from mixkit.errors import QueryCancelled, QueryError, QueryTimeout
from mixkit.storage import BATCH, BATCH_BYTES, Database
from mixkit.testing.storage_suite import UNKNOWN, StorageFixtures, client, save
from mixkit.value import Case, Ref

__all__ = ["StorageQuerySuite"]

SLOW = "items.(a == 1 and .items.(b == 2 and .items.(a == 1 and b == 1)))"
"""True of no record of `_slow`, though no index of one field can tell: three elements are looked at in turn."""


def _slow(database: Database) -> None:
    items = [{"a": 1, "b": 2}] * 23 + [{"a": 2, "b": 1}]
    database.save([{"items": items, "n": number} for number in range(400)])


def _ms_later(database: Database) -> None:
    """Wait until the clock shows another millisecond than the last commit's."""
    last = max((row["_rmx_last_modified_at"] for row in database.query("true", deleted=True)), default=0)
    while time.time_ns() // 1_000_000 <= last:
        time.sleep(0.001)


def _people(database: Database) -> dict[str, Ref]:
    records = save(
        database,
        {"_rmx_id": "rome", "kind": "city", "name": "Rome", "size": 2.8},
        {"kind": "person", "name": "Ann", "age": 40, "home": Ref("rome"), "tags": ["a", "b"]},
        {"kind": "person", "name": "Bea", "age": 17, "pets": [{"kind": "cat", "age": 3}]},
        {"kind": "person", "name": "Cid", "age": 29.5, "pets": [{"kind": "dog", "age": 3}, {"kind": "cat"}]},
        {"kind": "person", "name": None, "age": True, "address": {"city": "Oslo"}},
    )
    return {row["name"] or "none": row["_rmx_id"] for row in records}


class StorageQuerySuite(StorageFixtures):
    """See the module's text."""

    @pytest.fixture(params=["in the log", "flushed"])
    def people(self, database: Database, request: pytest.FixtureRequest) -> Iterator[Database]:
        _people(database)
        if request.param == "flushed":
            database.flush()
        yield database

    # -- answers ------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("query", "params", "names"),
        [
            ("true", {}, ["Rome", "Ann", "Bea", "Cid", None]),
            ('"kind" == "person" and .age >= 18', {}, ["Ann", "Cid"]),
            ("age >= $least", {"least": 29.5}, ["Ann", "Cid"]),
            ("age == 40.0", {}, ["Ann"]),
            ("name == null", {}, [None]),
            ("not exists age", {}, ["Rome"]),
            ("age != 17", {}, ["Ann", "Cid", None]),
            ('name like "%n%"', {}, ["Ann"]),
            ('name contains "i" or tags contains "a"', {}, ["Ann", "Cid"]),
            ("name in $names", {"names": ["Bea", "Rome", 17]}, ["Rome", "Bea"]),
            ('tags all in ["a", "b", "c"]', {}, ["Ann"]),
            ('home.name == "Rome"', {}, ["Ann"]),
            ('address.city == "Oslo"', {}, [None]),
            ('pets.(kind == "cat" and age == 3)', {}, ["Bea"]),
            ('pets.(kind == "cat")', {}, ["Bea", "Cid"]),
            ("after $w", {"w": "0" * 16}, ["Rome", "Ann", "Bea", "Cid", None]),
            ("$field == 17", {"field": "age"}, ["Bea"]),
            ('name like:ci "B%" or name contains:ci "NN"', {}, ["Ann", "Bea"]),
            ("age * 2 > home.size * 20 or pets.(age * 10 > .age)", {}, ["Ann", "Bea", "Cid"]),
            ("exists tags | orderAsc(name:ci)", {}, ["Ann"]),
            ("exists name | orderDesc(name) | limit(2)", {}, ["Rome", "Cid"]),
            ('kind == "person" | orderAsc(age) | skip(1) | limit($n)', {"n": 2}, ["Bea", "Cid"]),
            ("true | reverse() | limit(1)", {}, [None]),
        ],
    )
    def test_a_query_finds(
        self, people: Database, query: str, params: dict[str, Any], names: list[str | None]
    ) -> None:
        assert [row["name"] for row in people.query(query, params)] == names

    @pytest.mark.parametrize(
        ("query", "rows"),
        [
            ("true | count()", [{"count": 5}]),
            (
                "true | group(kind) | count() | max(age)",
                [{"key": "city", "count": 1, "max": None}, {"key": "person", "count": 4, "max": 40}],
            ),
            ('kind == "person" | avg(age) | sum(age)', [{"avg": 86.5 / 3, "sum": 86.5}]),
            ("true | sum(pets.age) | distinct(pets.kind)", [{"sum": 6, "distinct": ["cat", "dog"]}]),
            (
                "true | unnest(pets) | group(pets.kind) | count() | where(count > 1)",
                [{"key": "cat", "count": 2}],
            ),
            ("age > 100 | count() | min(age)", [{"count": 0, "min": None}]),
            ("exists home | { name, city: .home.name }", [{"name": "Ann", "city": "Rome"}]),
            (
                'name == "Ann" | { *, -tags, -home, -kind, older: age + 1, x: none ?? "?" }'
                " | { name, age, older, x }",
                [{"name": "Ann", "age": 40, "older": 41, "x": "?"}],
            ),
            ("age < 0 | { name }", []),
        ],
    )
    def test_stages_make_rows(self, people: Database, query: str, rows: list[Any]) -> None:
        assert list(people.query(query)) == rows

    def test_refs_are_followed_when_asked(self, database: Database) -> None:
        ids = _people(database)
        [row] = database.query('name == "Ann" | { home, city: .home, +home }')
        assert row == {"home": database.get(ids["Rome"]), "city": ids["Rome"]}
        [row] = database.query('name == "Ann" | { ** }')
        assert row["home"] == database.get(ids["Rome"])
        database.delete([ids["Rome"]])
        assert list(database.query('home.name == "Rome"')) == []
        [row] = database.query("exists home | { +home }")
        assert row == {"home": ids["Rome"]}

    def test_the_json_form_is_the_same_query(self, people: Database) -> None:
        tree = [
            "query",
            ["comparison", ">=", ["token", "age"], ["param", "n"]],
            [["orderAsc", ["token", "age"]]],
        ]
        assert [row["name"] for row in people.query(tree, {"n": 18})] == ["Cid", "Ann"]

    def test_new_versions_and_deletions_are_seen_at_once(self, database: Database) -> None:
        ids = _people(database)
        save(database, {"_rmx_id": ids["Ann"], "age": 41}, upsert=True)
        assert [row["age"] for row in database.query('name == "Ann"')] == [41]
        assert list(database.query("age == 40")) == []
        database.delete([ids["Bea"]])
        assert [row["name"] for row in database.query("age < 30")] == ["Cid"]
        assert list(database.query("true | count()")) == [{"count": 4}]

    # -- tombstones and old versions ----------------------------------------------------------

    def test_flags_show_what_is_hidden(self, database: Database) -> None:
        kept, changed, deleted = save(database, {"n": 1}, {"n": 2}, {"n": 3})
        save(database, {"_rmx_id": changed["_rmx_id"], "n": 20})
        database.delete([deleted["_rmx_id"]])

        def rows(*, deleted: bool = False, superseded: bool = False) -> list[int]:
            found = database.query("true", deleted=deleted, superseded=superseded)
            return [row["_rmx_row"] for row in found]

        assert rows() == [0, 3]
        assert rows(superseded=True) == [0, 1, 2, 3]
        assert rows(deleted=True) == [0, 3, 4]
        assert rows(deleted=True, superseded=True) == [0, 1, 2, 3, 4]
        [old] = database.query("n == 2", superseded=True)
        assert old["_rmx_superseded"] is True
        assert [row["_rmx_deleted"] for row in database.query("not exists n", deleted=True)] == [True]
        [counted] = database.query("true | count()", superseded=True)
        assert counted == {"count": 4}
        assert database.get(kept["_rmx_id"]) == kept

    def test_after_selects_what_came_later(self, database: Database) -> None:
        [first] = save(database, {"n": 1})
        watermark = database.watermark()
        [second] = save(database, {"n": 2})
        database.delete([first["_rmx_id"]])
        assert list(database.query("after $w", {"w": watermark})) == [second]
        assert len(list(database.query("after $w", {"w": watermark}, deleted=True))) == 2
        assert list(database.query("after $w", {"w": database.watermark()}, deleted=True)) == []

    # -- cursors ------------------------------------------------------------------------------

    def test_rows_come_in_batches(self, database: Database) -> None:
        database.save([{"n": number} for number in range(2 * BATCH + 50)])
        with database.query("true") as cursor:
            batches = []
            while batch := cursor.next():
                assert len(batch) <= BATCH
                batches.append(batch)
            assert cursor.next() == []
            assert all(type(text) is str for text in cursor.warnings())
        assert [row["n"] for batch in batches for row in batch] == list(range(2 * BATCH + 50))

    @pytest.mark.parametrize(
        "query",
        [
            "true",
            "n >= 3",
            'n >= 0 and text contains "b"',
            "true | orderDesc(n)",
            "true | { n }",
            "true | { *, -n }",
            "true | { text, id: ._rmx_id, n } | skip(2) | limit(3)",
            "n >= 0 | limit(4) | { b: .text }",
            "true | { m: .n + 1 }",
            "true | { n } | orderDesc(n)",
            "true | group(text) | count()",
            "true | {}",
        ],
    )
    def test_rows_are_the_same_in_whatever_form(self, database: Database, query: str) -> None:
        records = [
            {"n": n, "text": "ab"[n % 2], "more": [n, {"x": Case("c", n)}, b"\x00", None]} for n in range(12)
        ]
        first, second, *_ = save(database, *records)
        database.flush()
        save(database, {"_rmx_id": first["_rmx_id"], "n": 40})
        database.delete([second["_rmx_id"]])
        for flags in (False, False), (True, True):
            for skip, limit in ((0, None), (3, 4), (5, 0), (0, 2**62), (2**62, None)):
                options: dict[str, Any] = {
                    "deleted": flags[0],
                    "superseded": flags[1],
                    "skip": skip,
                    "limit": limit,
                }
                rows = list(database.query(query, **options))
                everything = list(database.query(query, deleted=flags[0], superseded=flags[1]))
                assert rows == everything[skip : None if limit is None else skip + limit]
                with database.query(query, **options) as cursor:
                    found = cursor.next_rows()
                    assert not cursor.next_rows()
                assert found.values() == rows
                assert [list(row) for row in found.values()] == [list(row) for row in rows]
                assert found.words() == codec.encode(rows)
                assert found.json(b"\n") == b"\n".join(tagged_json.dumps(row).encode() for row in rows)
                assert found.msgpack() == b"".join(map(msgpack_values.pack, rows))

    def test_records_are_got_in_whatever_form(self, database: Database) -> None:
        kept, changed, deleted = save(database, {"n": 1, "m": {"a": [Ref("x"), b"b"]}}, {"n": 2}, {"n": 3})
        database.flush()
        save(database, {"_rmx_id": changed["_rmx_id"], "n": 20})
        database.delete([deleted["_rmx_id"]])
        ids = [kept["_rmx_id"], "unknown", deleted["_rmx_id"], changed["_rmx_id"].id, kept["_rmx_id"]]
        for reader in (database, database.as_of(database.watermark())):
            expected = [reader.get(id) for id in ids]
            found = reader.get_rows(ids)
            assert found.values() == expected
            assert found.words() == codec.encode(expected)
            assert found.json() == b",".join(tagged_json.dumps(row).encode() for row in expected)
        assert len(database.get_rows([])) == 0

    def test_more_rows_at_once_are_the_same_rows(self, database: Database) -> None:
        database.save([{"n": number} for number in range(3 * BATCH + 50)])
        for query in ("true", "n >= 0 | orderAsc(n)", "true | { n: .n + 0 }"):
            found: list[Any] = []
            with database.query(query) as cursor:
                while rows := cursor.next_rows(3 * BATCH):
                    assert len(rows) <= 3 * BATCH
                    found += rows.values()
            assert [row["n"] for row in found] == list(range(3 * BATCH + 50))

    def test_a_cursor_goes_on_in_another_form(self, database: Database) -> None:
        database.save([{"n": number} for number in range(3 * BATCH)])
        with database.query("true") as cursor:
            one, two, three = cursor.next_rows().values(), cursor.next(), cursor.next_rows().values()
        assert [row["n"] for row in [*one, *two, *three]] == list(range(3 * BATCH))

    def test_a_cursor_reads_one_state_while_others_write(self, database: Database) -> None:
        commit = database.save([{"n": number} for number in range(3 * BATCH)])
        cursor = database.query("n >= 0")
        ordered = database.query("n >= 0 | orderDesc(n)")
        assert cursor.watermark == commit.watermark
        seen = cursor.next()
        database.delete([row["_rmx_id"] for row in commit.records[: 2 * BATCH]])
        save(database, *({"_rmx_id": row["_rmx_id"], "n": -1} for row in commit.records[2 * BATCH :]))
        database.flush()
        assert cursor.watermark == commit.watermark
        assert [row["n"] for row in [*seen, *cursor]] == list(range(3 * BATCH))
        assert [row["n"] for row in ordered] == list(range(3 * BATCH - 1, -1, -1))
        assert list(database.query("n >= 0")) == []

    @pytest.mark.parametrize(
        "query",
        ["true", "n >= 0 | orderAsc(n)", "true | { n, a: [text] }", "true | { n, inner: { text } }"],
    )
    @pytest.mark.parametrize("as_rows", [False, True])
    def test_batches_of_large_rows_are_small(self, database: Database, query: str, as_rows: bool) -> None:
        size = BATCH_BYTES // 4
        database.save([{"n": number, "text": "x" * size} for number in range(10)])
        database.save(
            [{"n": 10, "text": "x" * (BATCH_BYTES + 1)}, {"n": 11, "text": ""}, {"n": 12, "text": ""}]
        )
        batches = []
        with database.query(query) as cursor:
            while batch := cursor.next_rows().values() if as_rows else cursor.next():
                batches.append([row["n"] for row in batch])
        assert [number for batch in batches for number in batch] == list(range(13))
        assert max(map(len, batches)) <= 4
        # One is answered however large it is, and nothing behind it.
        assert batches[-1] == [11, 12]

    @pytest.mark.parametrize("how", ["close", "cancel"])
    def test_a_closed_cursor_answers_no_more(self, database: Database, how: str) -> None:
        database.save([{"n": number} for number in range(2 * BATCH)])
        cursor = database.query("true")
        assert cursor.next()
        getattr(cursor, how)()
        getattr(cursor, how)()
        with pytest.raises(QueryCancelled):
            cursor.next()
        with database.query("true") as other:
            pass
        with pytest.raises(QueryCancelled):
            other.next()

    def test_a_query_is_cancelled_from_another_thread(self, database: Database) -> None:
        _slow(database)
        cursor = database.query(SLOW)
        timer = threading.Timer(0.05, cursor.cancel)
        timer.start()
        with pytest.raises(QueryCancelled):
            cursor.next()
        timer.join()

    def test_a_query_has_its_time_and_no_more(self, database: Database) -> None:
        _slow(database)
        with pytest.raises(QueryTimeout) as caught:
            database.query(SLOW, timeout=0.02).next()
        assert caught.value.seconds == 0.02
        assert len(list(database.query("n < 3", timeout=60))) == 3

    # -- moments ------------------------------------------------------------------------------

    def test_the_database_as_it_was(self, database: Database) -> None:
        empty = database.watermark()
        first, second = save(database, {"n": 1}, {"n": 2})
        before = database.as_of(database.watermark())
        watermark = database.watermark()
        _ms_later(database)
        save(database, {"_rmx_id": first["_rmx_id"], "n": 10}, {"n": 3})
        database.delete([second["_rmx_id"]])
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=first["_rmx_last_modified_at"])
        elsewhere = instant.astimezone(tz=None)
        moments = [watermark, first["_rmx_last_modified_at"], instant, elsewhere]
        database.flush()
        for reader in [before, *map(database.as_of, moments)]:
            assert reader.watermark() == watermark
            assert list(reader.query("true")) == [first, second]
            assert list(reader.query("true", superseded=True, deleted=True)) == [first, second]
            assert reader.get(first["_rmx_id"]) == first
            assert reader.get(second["_rmx_id"]) == second
            assert reader.history(first["_rmx_id"]) == [first]
            assert list(reader.query("n == 10 | count()")) == [{"count": 0}]
            assert list(reader.query("n < 3 | sum(n)")) == [{"sum": 3}]
            with reader.query("true") as cursor:
                assert cursor.watermark == watermark
        for moment in (empty, first["_rmx_last_modified_at"] - 1, 0):
            assert list(database.as_of(moment).query("true", deleted=True, superseded=True)) == []
            assert database.as_of(moment).get(first["_rmx_id"]) is None
        now = database.as_of(database.watermark())
        assert [row["n"] for row in now.query("true")] == [10, 3]
        assert now.get(second["_rmx_id"]) is None

    def test_a_deleted_record_as_it_was(self, database: Database) -> None:
        [record] = save(database, {"n": 1})
        database.delete([record["_rmx_id"]])
        deleted = database.watermark()
        save(database, {"_rmx_id": record["_rmx_id"], "n": 2})
        reader = database.as_of(deleted)
        assert reader.get(record["_rmx_id"]) is None
        assert [client(row) for row in reader.history(record["_rmx_id"])] == [{"n": 1}, {}]
        assert "_rmx_superseded" not in reader.history(record["_rmx_id"])[-1]
        [tombstone] = reader.query("true", deleted=True)
        assert tombstone["_rmx_deleted"] is True

    @pytest.mark.parametrize("when", ["yesterday", "", "1", None, 1.5, True, [], datetime(2020, 1, 1)])
    def test_what_is_no_moment_is_refused(self, database: Database, when: Any) -> None:
        save(database, {"n": 1})
        with pytest.raises(QueryError):
            database.as_of(when)

    # -- spellings ----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "query",
        [
            "true",
            'kind == "person" and age > $n | orderAsc(name) | { name }',
            'pets.(kind == "cat" and age >= 3) | count()',
            'home.name == "Rome" or not age > 3',
            ["comparison", "==", ["token", "age"], ["param", "n"]],
            ["comparison", "==", ["token", "home"], {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "rome"}],
        ],
        ids=range(6),
    )
    def test_a_query_has_two_spellings(self, people: Database, query: Any) -> None:
        first = people.parse(query)
        assert json.loads(json.dumps(first.ast)) == first.ast
        assert people.parse(first.text) == first
        assert people.parse(first.ast) == first
        params = {"n": 18} if "$n" in first.text else {}
        assert list(people.query(first.text, params)) == list(people.query(query, params))

    # -- plans --------------------------------------------------------------------------------

    @pytest.mark.parametrize("run", [False, True])
    def test_a_plan_can_be_shown(self, people: Database, run: bool) -> None:
        plan = people.explain('kind == "person" and age > $n | orderAsc(name)', {"n": 18}, run=run)
        json.dumps(plan)
        rest: list[Any] = [plan]
        while rest:
            step = rest.pop()
            assert step.keys() >= {"step", "rows", "estimate", "parts"}
            assert isinstance(step["step"], str)
            rest += step["parts"]
        if run:
            assert plan["rows"] == 2
        with pytest.raises(QueryError):
            people.explain("age > $n", run=run)

    # -- injection ----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "text",
        ['" or true', "' or 1 == 1 --", "$other", '"', "\\", "| count()", '["nullFilter"]', "%", UNKNOWN],
    )
    def test_a_parameter_is_never_read_as_a_query(self, database: Database, text: str) -> None:
        save(database, {"name": "Ann"}, {"name": text})
        assert [row["name"] for row in database.query("name == $n", {"n": text})] == [text]
        assert [row["name"] for row in database.query("name in $n", {"n": [text]})] == [text]
        assert list(database.query("$n == 1", {"n": text})) == []
        assert list(database.query("name == $n", {"n": ["nullFilter"]})) == []
