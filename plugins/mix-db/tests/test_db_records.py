"""What save and delete make of what they are given, without a database."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_db.engine.ids import is_well_formed, new_ids
from mix_db.engine.records import MAX_ID, MAX_NAME, Deleting, Saving
from mix_db.versions.version import (
    is_tombstone,
    packer,
    read_version,
    relinked,
    split,
    stamp,
    unstamped,
)

from mixkit.errors import RecordError
from mixkit.storage import SaveOptions
from mixkit.testing.strategies import identical, keys, values
from mixkit.value import Case, Ref, Token

LARGEST = 1 << 20


class Kept:
    """Newest versions in a list."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def row_of(self, id: str) -> int | None:
        found = [row for row, data in enumerate(self.rows) if read_version(data)["_rmx_id"] == Ref(id)]
        return found[-1] if found else None

    def stored(self, row: int) -> bytes:
        return self.rows[row]

    def save(self, *records: Any, largest: int = LARGEST, **options: bool) -> list[dict[str, Any]]:
        saving = Saving(records, SaveOptions(**options), lambda: self, largest, 100_000)
        number = len(self.rows) + 1
        self.rows += saving.build(self, len(self.rows), number, 1000 + number)
        return [read_version(self.rows[row]) for row in saving.answers if row is not None]

    def delete(self, *ids: Any) -> list[int | None]:
        deleting = Deleting(ids)
        self.rows += deleting.build(self, len(self.rows), len(self.rows) + 1, 2000)
        return deleting.answers


def test_ids_are_well_formed_and_never_the_same() -> None:
    ids = new_ids(5000)
    assert len(set(ids)) == 5000
    assert all(map(is_well_formed, ids))
    # Each of the 62 characters, about equally often.
    text = "".join(ids)
    counts = [text.count(character) for character in set(text)]
    assert len(counts) == 62
    assert max(counts) < 1.2 * min(counts)
    assert new_ids(0) == []


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "é" * 32, "a" * 31 + "-", "a" * 31 + " ", "١" * 32])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_well_formed(text)


@given(
    st.dictionaries(keys.filter(lambda name: not name.startswith("_rmx_")), values(undef=False), max_size=20)
)
def test_fields_are_stored_in_their_order_before_those_of_the_engine(record: dict[str, Any]) -> None:
    [stored] = Kept().save(record)
    assert list(stored) == [*record, "_rmx_id", "_rmx_rev", "_rmx_last_modified_at"]
    assert identical({name: stored[name] for name in record}, record)


@pytest.mark.parametrize("count", [0, 1, 11, 12, 13, 15, 16, 17, 65533, 65534, 65535, 65536])
def test_maps_of_any_size(count: int) -> None:
    record = {f"f{i}": i for i in range(count)}
    kept = Kept()
    [first] = kept.save(record, largest=1 << 24)
    [second] = kept.save(record | {"_rmx_id": first["_rmx_id"]}, largest=1 << 24)
    for stored, own in ((first, 3), (second, 4)):
        assert len(stored) == count + own
        assert list(stored.values())[:count] == list(range(count))
    kept.delete(first["_rmx_id"])
    assert read_version(kept.rows[2]) == {
        "_rmx_id": first["_rmx_id"],
        "_rmx_rev": "0000000000000003",
        "_rmx_last_modified_at": 2000,
        "_rmx_previous": Ref("1"),
        "_rmx_deleted": True,
    }


def test_temporary_ids_are_replaced_wherever_they_stand() -> None:
    parent, child = Kept().save(
        {"child": Ref("c"), "deep": [{"x": Case("some", [Ref("p"), Ref("c")])}], "other": Ref("z")},
        {"_rmx_id": Ref("c"), "text": "c"},
    )
    id = child["_rmx_id"]
    assert is_well_formed(id.id)
    assert parent["child"] == id
    # Nobody has the ids p and z.
    assert parent["deep"] == [{"x": Case("some", [Ref("p"), id])}]
    assert parent["other"] == Ref("z")
    assert child["text"] == "c"


def test_a_temporary_id_used_twice_is_one_record() -> None:
    first, second = Kept().save({"_rmx_id": "t", "n": 1}, {"_rmx_id": "t", "m": 2}, upsert=True)
    assert first["_rmx_id"] == second["_rmx_id"]
    assert second["_rmx_previous"] == Ref("0")
    assert (second["n"], second["m"]) == (1, 2)


@pytest.mark.parametrize("is_known", [True, False])
def test_what_is_known_when_it_is_written_decides_which_ids_are_temporary(is_known: bool) -> None:
    # What was looked up beforehand has changed: the record came, or its last version went with the history.
    kept, other = Kept(), Kept()
    kept.save({"_rmx_id": "C1", "n": 1}, original_id_always=True)
    before, now = (other, kept) if is_known else (kept, other)
    records = [{"to": Ref("C1")}, {"_rmx_id": "C1", "n": 2}]
    saving = Saving(records, SaveOptions(), lambda: before, LARGEST, 100_000)
    first, second = map(read_version, saving.build(now, len(now.rows), 2, 1000))
    assert first["to"] == second["_rmx_id"]
    assert (second["_rmx_id"] == Ref("C1")) is is_known
    assert ("_rmx_previous" in second) is is_known


def test_an_upsert_merges_within_the_call_and_with_what_is_stored_but_not_with_the_deleted() -> None:
    kept = Kept()
    options = {"original_id_always": True, "upsert": True}
    kept.save({"_rmx_id": "a", "n": 1, "_rmx_type": "t"}, **options)
    [_, second] = kept.save({"_rmx_id": "a", "m": 2}, {"_rmx_id": "a", "k": 3}, **options)
    assert [second[name] for name in ("n", "_rmx_type", "m", "k")] == [1, "t", 2, 3]
    kept.delete("a")
    [revived] = kept.save({"_rmx_id": "a", "z": 1}, **options)
    assert "n" not in revived
    assert revived["_rmx_previous"] == Ref("3")


def test_keep_original_answers_what_is_there() -> None:
    kept = Kept()
    kept.save({"_rmx_id": "a", "n": 1}, original_id_always=True)
    [same] = kept.save({"_rmx_id": "a", "n": 2}, original_id_always=True, keep_original=True)
    assert same["n"] == 1
    assert len(kept.rows) == 1


def test_dont_use_id_makes_all_new() -> None:
    kept = Kept()
    [first] = kept.save({"n": 1})
    [second] = kept.save({"_rmx_id": first["_rmx_id"], "me": first["_rmx_id"]}, dont_use_id=True)
    assert second["_rmx_id"] != first["_rmx_id"]
    assert second["me"] == second["_rmx_id"]
    assert "_rmx_previous" not in second


def test_nothing_is_deleted_twice() -> None:
    kept = Kept()
    [record] = kept.save({"n": 1})
    assert kept.delete(record["_rmx_id"], record["_rmx_id"].id, "unknown") == [1, None, None]
    assert kept.delete(record["_rmx_id"]) == [None]
    assert len(kept.rows) == 2


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("record", "path"),
    [
        ([1], "$[1]"),
        (None, "$[1]"),
        ("text", "$[1]"),
        ({"a": {"b": [1, {2}]}}, "$[1].a.b[1]"),
        ({"a": 2**63}, "$[1].a"),
        ({"a": "\ud800"}, "$[1].a"),
        ({"a": Token("secret")}, "$[1].a"),
        ({1: 2}, "$[1]"),
        ({"a": deep(10_000)}, "$[1].a"),
        ({"x" * (MAX_NAME + 1): 1}, '$[1]["xx'),
        ({"a": [{"é" * (MAX_NAME // 2 + 1): 1}]}, '$[1].a[0]["'),
        ({"a": Case("c", {"x" * (MAX_NAME + 1): 1})}, '$[1].a.c["xx'),
        ({"_rmx_id": 1}, "$[1]._rmx_id"),
        ({"_rmx_id": None}, "$[1]._rmx_id"),
        ({"_rmx_id": "\ud800"}, "$[1]._rmx_id"),
        ({"_rmx_type": 1}, "$[1]._rmx_type"),
        ({"a": "x" * LARGEST}, "$[1]"),
    ],
    ids=range(17),
)
def test_what_is_refused_is_named(record: Any, path: str) -> None:
    kept = Kept()
    with pytest.raises(RecordError) as caught:
        kept.save({"n": 1}, record)
    assert caught.value.path.startswith(path)
    assert len(str(caught.value)) < 2_000
    assert "secret" not in str(caught.value)
    assert not kept.rows


def test_the_longest_name_and_the_deepest_value_are_taken() -> None:
    record = {"x" * MAX_NAME: 1, "deep": deep(255)}
    [stored] = Kept().save(record)
    assert {name: stored[name] for name in record} == record


@pytest.mark.parametrize("id", ["", "x" * (MAX_ID + 1)])
def test_ids_that_the_index_could_not_tell_apart(id: str) -> None:
    with pytest.raises(RecordError, match=r"1 to 255 characters.*\$\[0\]\._rmx_id"):
        Kept().save({"_rmx_id": id}, original_id_always=True)
    Kept().save({"_rmx_id": id})


@pytest.mark.parametrize("ids", ["text", b"bytes", {"a": 1}, 5])
def test_ids_come_in_an_array(ids: Any) -> None:
    with pytest.raises(RecordError):
        Deleting(ids)


@pytest.mark.parametrize("id", [1, None, b"x", "\ud800", ["a"]])
def test_what_is_no_id_is_not_deleted(id: Any) -> None:
    with pytest.raises(RecordError, match=r"\$\[1\]"):
        Deleting(["a", id])


def test_what_grows_too_large_by_an_upsert_is_refused() -> None:
    kept = Kept()
    options: dict[str, Any] = {"original_id_always": True, "upsert": True, "largest": 1000}
    kept.save({"_rmx_id": "a", "one": "x" * 600}, **options)
    with pytest.raises(RecordError, match=r"at most 1000 bytes.*\$\[1\]"):
        kept.save({"_rmx_id": "b"}, {"_rmx_id": "a", "two": "x" * 600}, **options)


def test_a_record_that_somebody_changes_meanwhile_is_refused_or_stored_whole() -> None:
    class Changing(dict[str, Any]):
        """A map whose items are others each time."""

        def __iter__(self) -> Any:
            raise RecordError("not reached: a copy is made by its items")

    [stored] = Kept().save(Changing(a=1))
    assert stored["a"] == 1


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.booleans())
def test_versions_are_linked_anew(old: int, new: int, deleted: bool) -> None:
    client = {} if deleted else {"n": Case("c", Ref("x")), "_rmx_type": "t"}
    fields = unstamped(split(packer()(client), len(client)), "a")
    data = stamp(7, 1000)(fields, old, deleted)
    moved = relinked(data, {old: new}.__getitem__)
    assert read_version(data)["_rmx_previous"] == Ref(str(old))
    assert read_version(moved) == read_version(data) | {"_rmx_previous": Ref(str(new))}
    alone = relinked(data, lambda row: None)
    assert read_version(alone) == {k: v for k, v in read_version(data).items() if k != "_rmx_previous"}
    assert is_tombstone(data) is is_tombstone(moved) is is_tombstone(alone) is deleted
    assert relinked(alone, lambda row: row) == alone
