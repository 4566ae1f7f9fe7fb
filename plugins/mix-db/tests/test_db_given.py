"""Records that come packed are stored, or refused, as the same records that come as maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mix_db import _given
from mix_db.engine import records as saving
from mix_db.engine.records import MAX_ID, MAX_NAME, Saving
from mix_db.versions.given import take, take_python
from mix_db.versions.version import read_version

from mixkit import codec, msgpack_values
from mixkit.errors import MixError
from mixkit.record import PackedRecord
from mixkit.storage import SaveOptions
from mixkit.testing.strategies import keys, values
from mixkit.value import Case, Ref

IDS = ["a", "b", "x" * 16, "0" * 32, "1" * 32, "x" * (MAX_ID + 1), "", "é"]
NAMES = keys | st.sampled_from(
    ["_rmx_type", "_rmx_rev", "_rmx_row", "_rmx_é", "_rmx", "n" * MAX_NAME, "é" * MAX_NAME]
)
FIELDS = values(undef=False) | st.sampled_from([*map(Ref, IDS), [Case("c", {"é" * MAX_NAME: 1})]])
RECORDS = st.dictionaries(NAMES, FIELDS, max_size=6)
GIVEN = st.builds(
    lambda record, own: record | own,
    RECORDS,
    st.dictionaries(
        st.just("_rmx_id"), st.sampled_from([*IDS, *map(Ref, IDS)]) | values(undef=False), max_size=1
    )
    | st.fixed_dictionaries({"_rmx_type": st.just("note"), "_rmx_id": st.sampled_from(IDS[:5])}),
)
OPTIONS = st.builds(
    SaveOptions, **dict.fromkeys(SaveOptions.__struct_fields__, st.sampled_from([False, False, True]))
)


@settings(max_examples=200, deadline=None)
@given(RECORDS, st.sampled_from(IDS[:5]) | st.text("aé", min_size=1, max_size=MAX_ID))
@example({f"f{n}": n for n in range(15)}, "a")
@example({f"f{n}": n for n in range(16)}, "a")
@example({f"f{n}": n for n in range(70_000)}, "a")
@example({"_rmx_row": 1}, "a")
@example({"a": [[], {}, [{"b": [Case("c", {"long name": [1]})]}], Case("d")]}, "a")
def test_both_twins_take_alike(record: dict[str, Any], id: str) -> None:
    assert take is _given.take
    packed = msgpack_values.pack(record)
    assert take(packed, id) == take_python(packed, id)


@settings(max_examples=200, deadline=None)
@given(RECORDS, st.data())
def test_bytes_that_are_no_record_are_refused(record: dict[str, Any], data: st.DataObject) -> None:
    packed = bytearray(msgpack_values.pack(record))
    for _ in range(data.draw(st.integers(0, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    found = bytes(packed[: data.draw(st.integers(0, len(packed)))])
    try:
        _, fields, size, *_ = take(found, "id")
    except ValueError:
        return
    assert len(fields) <= len(found) + 8
    assert size <= len(found) + 4


class Kept:
    """Newest versions in a list."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def row_of(self, id: str) -> int | None:
        found = [row for row, data in enumerate(self.rows) if read_version(data)["_rmx_id"] == Ref(id)]
        return found[-1] if found else None

    def stored(self, row: int) -> bytes:
        return self.rows[row]


def outcome(before: Sequence[Any], records: Sequence[Mapping[str, Any]], options: SaveOptions) -> Any:
    """What is stored, or why it is not."""
    kept = Kept()
    made = 0

    def ids(count: int) -> list[str]:
        nonlocal made
        made += count
        return [f"{made - count + place:032}" for place in range(count)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "new_ids", ids)
        for each, how in ((before, SaveOptions(original_id_always=True)), (records, options)):
            try:
                call = Saving(each, how, lambda: kept, 600, 12)
                kept.rows += call.build(kept, len(kept.rows), 7, 1_000)
            except MixError as exc:
                return type(exc), str(exc), getattr(exc, "path", None)
    return kept.rows, call.answers, call.size, call.written


@settings(max_examples=400, deadline=None)
@given(st.lists(GIVEN, max_size=4), OPTIONS)
def test_what_comes_packed_is_stored_and_refused_like_maps(
    records: list[dict[str, Any]], options: SaveOptions
) -> None:
    words = list(map(codec.encode, records))
    before: list[Any] = [{"_rmx_id": "b", "n": 1, "m": [2]}]
    # Words have their entries in the order of the names, and so has what is stored of them.
    maps = outcome(before, [codec.decode(each) for each in words], options)  # type: ignore[misc]
    assert outcome(before, list(map(PackedRecord, words)), options) == maps
    mixed = [codec.decode(each) if place % 2 else PackedRecord(each) for place, each in enumerate(words)]
    assert outcome(before, mixed, options) == maps  # type: ignore[arg-type]


def test_what_is_refused_is_refused_packed() -> None:
    """So that the property above is known to have met refusals of every kind."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    for record, words in (
        ({"x": "y" * 600}, "at most 600 bytes"),
        ({f"f{n}": n for n in range(13)}, "at most 12 different fields"),
        ({"deep": deep}, "at most 12 different fields"),
        ({"n" * (MAX_NAME + 1): 1}, "at most 600 bytes"),
        ({"_rmx_type": 1}, "a string as type"),
        ({"_rmx_id": 1}, "an id as a Ref or a string"),
        ({"_rmx_id": "x" * 256}, "1 to 255 characters"),
    ):
        _, message, _ = outcome(
            [], [PackedRecord(codec.encode(record))], SaveOptions(original_id_always=True)
        )
        assert words in message
    with pytest.raises(MixError, match="names of fields of at most 1024 bytes"):
        Saving(
            [PackedRecord(codec.encode({"a": [Case("c", {"n" * (MAX_NAME + 1): 1})]}))],
            SaveOptions(),
            Kept,
            10_000,
            12,
        )
