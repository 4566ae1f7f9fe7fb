"""The index: the terms of records, the columns they make in memory and in files, and readers beside a writer."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_db.index.memory import MAX_ROWS, SHORT, MemoryPart
from mix_db.index.part import Key, Kind, Path, number_key
from mix_db.index.terms import terms
from pyroaring import BitMap

from mixkit.errors import StorageError
from mixkit.value import INT64_MAX, INT64_MIN, MAX_DEPTH, Case, Ref

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.sampled_from(["a", "b", "", "_rmx_x", "ä\0", "\U0010ffff"]) | TEXT
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(INT64_MIN, INT64_MAX)
    | st.sampled_from(
        [0, 1, -1, 0.0, -0.0, 1.0, math.nan, math.inf, "", "a", "a\0", "a\1", "abcdefgh", "abcdefghi"]
    )
    | st.floats()
    | TEXT
    | st.builds(str.__mul__, TEXT, st.integers(0, 300))
    | st.builds(Ref, TEXT)
    | st.binary(max_size=3)
    | st.builds(Case, TEXT, st.none())
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)
RECORDS = st.dictionaries(NAMES | st.sampled_from(["_rmx_type", "_rmx_id"]), VALUES, max_size=5)


def columns(
    records: Iterable[dict[str, Any]], start: int = 0
) -> dict[tuple[Path, Kind], dict[Key, list[int]]]:
    """The columns by the definition: the rows of each key of each path and kind."""
    found: dict[tuple[Path, Kind], dict[Key, list[int]]] = {}
    for row, record in enumerate(records, start):
        for path, kind, key in terms(record):
            rows = found.setdefault((path, kind), {}).setdefault(key, [])
            if row not in rows:
                rows.append(row)
    return found


def filled(records: Iterable[dict[str, Any]], start: int = 0) -> MemoryPart:
    part = MemoryPart(start)
    for row, record in enumerate(records, start):
        part.add(row, record)
    return part


def assert_answers(part: Any, records: list[dict[str, Any]], start: int = 0) -> None:
    """A part answers for these records as the definition says, every column and key."""
    expected = columns(records, start)
    assert (part.start, part.stop) == (start, start + len(records))
    for (path, kind), postings in expected.items():
        column = part.column(path, kind)
        keys = sorted(postings)
        assert column.kind is kind
        assert [column.key(index) for index in range(len(column))] == keys
        assert column.rows() == BitMap([row for rows in postings.values() for row in rows])
        for index, key in enumerate(keys):
            assert column.find(key) == index
            assert column.bitmap(index, index + 1) == BitMap(postings[key])
            assert column.counts(index, index + 1) == len(postings[key])
        for begin in range(0, len(keys) + 1, 1 + len(keys) // 5):
            for end in range(begin, len(keys) + 1, 1 + len(keys) // 7):
                union = BitMap([row for key in keys[begin:end] for row in postings[key]])
                assert column.bitmap(begin, end) == union
                assert column.counts(begin, end) >= len(union)
    for path in {path for path, _ in expected}:
        assert list(part.kinds(path)) == sorted(kind for other, kind in expected if other == path)


def test_terms_of_nested_values() -> None:
    record = {
        "_rmx_id": Ref("me"),
        "_rmx_type": "t",
        "_rmx_rev": "0",
        "_rmx_anything": 1,
        "m": {"_rmx_rev": None, "x": {}},
        "l": [True, [2], {"y": b""}],
        "c": Case("some", {"hidden": 1}),
    }
    assert set(terms(record)) == {
        (("_rmx_id",), Kind.REF, b"me"),
        (("_rmx_type",), Kind.STRING, b"t"),
        (("m",), Kind.MAP, 0),
        (("m", "_rmx_rev"), Kind.NULL, 0),
        (("m", "x"), Kind.MAP, 0),
        (("l",), Kind.ARRAY, 0),
        (("l", None), Kind.BOOL, 1),
        (("l", None), Kind.ARRAY, 0),
        (("l", None, None), Kind.INT, number_key(2)),
        (("l", None), Kind.MAP, 0),
        (("l", None, "y"), Kind.BINARY, 0),
        (("c",), Kind.CASE, 0),
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORDS, max_size=8), st.sampled_from([0, 5, MAX_ROWS - 10]))
def test_memory_answers_what_the_terms_say(records: list[dict[str, Any]], start: int) -> None:
    assert_answers(filled(records, start), records, start)


def test_a_key_of_many_rows() -> None:
    records = [{"even": row % 2 == 0, "n": [row % 3, row % 3, row]} for row in range(3 * SHORT)]
    assert_answers(filled(records), records)


def test_keys_that_come_between_queries() -> None:
    part = MemoryPart(0)
    for row, number in enumerate([5, 3, 9, 3, 1, *range(100, 20, -1), 4]):
        part.add(row, {"n": number})
        column = part.column(("n",), Kind.INT)
        assert column is not None
        assert (
            column.bitmap(column.find(number_key(number)), column.find(number_key(number)) + 1).max() == row
        )


def test_an_object_keeps_its_places() -> None:
    part = filled([{"n": 5}, {"n": 9}])
    column = part.column(("n",), Kind.INT)
    assert column is not None
    place = column.find(number_key(5))
    part.add(2, {"n": 1})
    assert column.bitmap(place, place + 1) == BitMap([0])


def test_nesting_and_names_cost_no_more_than_the_record_is_large() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    wide = {"n" * 100_000: {str(number): number for number in range(20_000)}}
    # Were each path kept whole, this would take 2 GB.
    part = filled([{"deep": deep}, wide])
    assert part.column(("deep", *[None] * (MAX_DEPTH - 1)), Kind.INT) is not None
    column = part.column(("n" * 100_000, "777"), Kind.INT)
    assert column is not None
    assert column.rows() == BitMap([1])


def test_links_and_tombstones() -> None:
    part = MemoryPart(10)
    part.add(10, {"_rmx_previous": Ref("3")})
    part.add(11, {})
    part.add(12, {"_rmx_previous": Ref("11"), "_rmx_deleted": True})
    assert part.deleted() == BitMap([12])
    answers = {rows: list(part.links.superseded(rows)) for rows in (13, 10, 12, 11, 13)}
    assert answers == {13: [3, 11], 12: [3], 11: [3], 10: []}
    assert [part.links.successor(row) for row in (3, 11, 12)] == [10, 12, None]


def test_rows_come_in_order_and_end() -> None:
    part = MemoryPart(MAX_ROWS - 1)
    with pytest.raises(ValueError, match="expected row"):
        part.add(5, {})
    part.add(MAX_ROWS - 1, {})
    with pytest.raises(StorageError, match="at most 2147483648 versions"):
        part.add(MAX_ROWS, {})


def test_readers_beside_a_writer() -> None:
    part = MemoryPart(0)
    rows, problems, done = 6_000, [], threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                seen = part.stop
                numbers, colours = part.column(("n",), Kind.INT), part.column(("c", None), Kind.STRING)
                if numbers is None or colours is None:
                    continue
                middle = numbers.find(number_key(500))
                union = numbers.bitmap(0, middle) | numbers.bitmap(middle, len(numbers))
                assert BitMap(range(seen)) <= union
                red = colours.bitmap(colours.find(b"red"), colours.find(b"red") + 1)
                assert len(red & BitMap(range(seen))) == (seen + 2) // 3
                assert len(part.links.superseded(seen)) == seen // 2
                assert part.kinds(("n",)) == [Kind.INT]
        except BaseException as exc:
            problems.append(exc)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=read) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for row in range(rows):
            record: dict[str, Any] = {
                "n": row * 7_919 % 1_000,
                "c": ["red"] if row % 3 == 0 else ["blue", "green"],
            }
            if row % 2:
                record["_rmx_previous"] = Ref(str(row - 1))
            part.add(row, record)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not problems
