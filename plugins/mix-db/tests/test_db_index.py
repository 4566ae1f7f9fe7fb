"""The index: the terms of records, the columns they make in memory and in files, and readers beside a writer."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_db import _index, _native
from mix_db.files.errors import DamagedFile, FilesError
from mix_db.index import merge as merging
from mix_db.index import segment as segment_module
from mix_db.index import write
from mix_db.index.memory import MAX_ROWS, SHORT, Growing, MemoryPart, Node
from mix_db.index.merge import merge, pick, settle
from mix_db.index.pack import Packed, pack_python, unite_python
from mix_db.index.part import Key, Kind, Path, number_key, text_key
from mix_db.index.segment import Segment, check, escape, unescape
from mix_db.index.terms import terms
from mix_db.index.write import build, ordered, write_segment
from mix_db.versions.indexing import add_python, add_versions, index_rows
from mix_db.versions.version import ENGINE_FIELDS, packer, split, stamp, unstamped
from pyroaring import BitMap

from mixkit.errors import StorageError
from mixkit.value import INT64_MAX, INT64_MIN, MAX_DEPTH, UNDEF, Case, Ref

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
            assert list(column.lookup(key)) == postings[key]
            assert column.bitmap(index, index + 1) == BitMap(postings[key])
            assert column.counts(index, index + 1) == len(postings[key])
        for begin in range(0, len(keys) + 1, 1 + len(keys) // 5):
            for end in range(begin, len(keys) + 1, 1 + len(keys) // 7):
                union = BitMap([row for key in keys[begin:end] for row in postings[key]])
                assert column.bitmap(begin, end) == union
                assert column.counts(begin, end) >= len(union)
    for path in {path for path, _ in expected}:
        assert list(part.kinds(path)) == sorted(kind for other, kind in expected if other == path)


def opened(data: bytes) -> Segment:
    return Segment("test.index", memoryview(data))


def various(rows: int, start: int = 0) -> list[dict[str, Any]]:
    """Records that fill a segment of several blocks with all forms of columns."""
    return [
        {
            "_rmx_id": Ref(f"{row * 7_919 % 10_007:032}"),
            "n": row * 31 % 997,
            "f": row / 7,
            "few": row % 500,
            "even": row % 2 == 0,
            "tags": [f"tag{row % 11}", f"tag{row % 13}"],
            "text": "x" * (row % 60),
            "inner": {str(row % 40): None, "name": f"somebody number {row % 300}"},
        }
        | ({"_rmx_previous": Ref(str(row - 5))} if row % 9 == 8 else {})
        | ({"_rmx_deleted": True} if row % 31 == 30 else {})
        for row in range(start, start + rows)
    ]


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


@settings(max_examples=100, deadline=None)
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


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_escaped_text_sorts_like_text_and_has_no_zero(a: bytes, b: bytes) -> None:
    assert unescape(escape(a)) == a
    assert b"\0" not in escape(a)
    assert (escape(a) < escape(b)) == (a < b)


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=8), st.sampled_from([0, 5, MAX_ROWS - 10]))
def test_a_segment_answers_what_the_terms_say(records: list[dict[str, Any]], start: int) -> None:
    assert_answers(opened(build(start, records)), records, start)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(RECORDS, max_size=4), min_size=1, max_size=4), st.sampled_from([0, 5]))
def test_merged_segments_equal_one_that_was_built_at_once(
    batches: list[list[dict[str, Any]]], start: int
) -> None:
    segments, row = [], start
    for batch in batches:
        segments.append(opened(build(row, batch)))
        row += len(batch)
    merged = b"".join(merge(segments))
    assert merged == build(start, [record for batch in batches for record in batch])


def test_a_segment_of_all_forms() -> None:
    records = various(2_000)
    data = build(0, records)
    segment = opened(data)
    assert_answers(segment, records)
    memory = filled(records)
    for rows in (0, 1, 777, 2_000, 5_000):
        assert segment.links.superseded(rows) == memory.links.superseded(rows)
    for row in range(2_000):
        assert segment.links.successor(row) == memory.links.successor(row)
    assert segment.deleted() == memory.deleted()
    parts = [opened(build(at, records[at : at + 500])) for at in range(0, 2_000, 500)]
    assert b"".join(merge(parts)) == data
    assert b"".join(merge([opened(b"".join(merge(parts[:3]))), parts[3]])) == data


def test_ranges_of_keys_of_all_widths() -> None:
    rows = 9_001
    places = {
        "one": [row * 7_919 % rows for row in range(rows)],
        "several": [row * 7_919 % 2_200 for row in range(rows)],
        "many": [row * 31 % 150 for row in range(rows)],
    }
    records = [{name: values[row] for name, values in places.items()} for row in range(rows)]
    segment = opened(build(0, records))
    rng = random.Random(7)
    for name, values in places.items():
        column = segment.column((name,), Kind.INT)
        assert column is not None
        count = len(column)
        borders = [0, 1, 15, 16, 17, 255, 256, 272, 4_095, 4_096, 4_352, count - 1, count]
        for _ in range(150):
            start, stop = (
                min(count, rng.choice(borders) if rng.random() < 0.5 else rng.randrange(count))
                for _ in range(2)
            )
            found = [row for row, value in enumerate(values) if start <= value < stop]
            assert list(column.bitmap(start, stop)) == found
            assert column.counts(start, stop) >= len(found)


def test_finding_what_is_not_there() -> None:
    segment = opened(build(0, [{"t": text} for text in ["b", "bbbbbbbb", "bbbbbbbbb", "bbbbbbbbd", "c\0"]]))
    column = segment.column(("t",), Kind.STRING)
    assert column is not None
    wanted = [b"", b"a", b"b\0", b"bbbbbbbba", b"bbbbbbbbc", b"bbbbbbbbe", b"c", b"c\0\0", b"d"]
    assert [column.find(key) for key in wanted] == [0, 0, 1, 2, 3, 4, 4, 5, 5]
    assert [list(column.lookup(key)) for key in wanted] == [[]] * len(wanted)
    assert segment.column((), Kind.NULL) is None
    assert segment.column(("t", None), Kind.STRING) is None
    assert segment.column(("zz",), Kind.STRING) is None
    assert segment.column(("t",), Kind.REF) is None
    assert list(segment.kinds(("nothing", "here"))) == []


def test_sorting_in_steps() -> None:
    keys: list[Key] = [number * 7_919 % 50_021 for number in range(50_021)]
    assert ordered(keys) == sorted(keys)
    assert ordered(list(range(40_000))) == list(range(40_000))


def test_merging_needs_neighbours() -> None:
    with pytest.raises(ValueError, match="begins at row 1, found 5"):
        list(merge([opened(build(0, [{}])), opened(build(5, [{}]))]))


@pytest.mark.parametrize(("flushes", "most"), [(50, 2), (500, 5)])
def test_few_segments_and_few_bytes_written_again(flushes: int, most: int) -> None:
    sizes: list[int] = []
    written = 0
    for _ in range(flushes):
        sizes.append(1_000_000)
        while (run := pick(sizes)) is not None:
            assert len(sizes[run]) >= 2
            written += sum(sizes[run])
            sizes[run] = [sum(sizes[run])]
        assert len(sizes) <= 6
    assert written <= most * flushes * 1_000_000


@given(st.lists(st.lists(st.integers(1, 10_000), min_size=1, max_size=9), max_size=30))
def test_what_is_quiet_has_few_segments_and_few_bytes_written_again(bursts: list[list[int]]) -> None:
    sizes: list[int] = []
    written = 0
    for burst in bursts:
        sizes += burst
        while (run := settle(sizes)) is not None:
            written += sum(sizes[run])
            sizes[run] = [sum(sizes[run])]
        assert all(size >= sum(sizes[place + 1 :]) for place, size in enumerate(sizes))
    assert written <= sum(sizes) * (1 + math.log2(max(1, sum(sizes))))


@given(
    st.lists(st.sampled_from([1, 10**6, 10**9, 2**32 - 1, 2**33]), max_size=30),
    st.sampled_from([pick, settle]),
)
def test_segments_stay_below_4_gib(sizes: list[int], choose: Callable[[Sequence[int]], slice | None]) -> None:
    while (run := choose(sizes)) is not None:
        assert len(sizes[run]) >= 2
        assert sum(sizes[run]) <= 2**32
        sizes[run] = [sum(sizes[run])]


def answers(part: Any) -> list[Any]:
    """Everything that the part of `SMALL` can be asked, each answer or the file that is damaged."""
    found: list[Any] = []

    def ask(question: Any) -> None:
        try:
            found.append(question())
        except DamagedFile as exc:
            assert exc.file == "test.index"
            found.append(DamagedFile)

    ask(lambda: (part.start, part.stop))
    ask(part.deleted)
    ask(lambda: part.links.superseded(100))
    ask(lambda: part.links.successor(0))
    for path, kind in sorted(columns(SMALL), key=repr):
        ask(lambda path=path: list(part.kinds(path)))

        def everything(path: Path = path, kind: Kind = kind) -> Any:
            column = part.column(path, kind)
            keys = [column.key(place) for place in range(len(column))]
            return (
                keys,
                [column.find(key) for key in keys],
                [list(column.lookup(key)) for key in keys],
                [column.bitmap(place, place + 1) for place in range(len(keys))],
                column.counts(0, len(keys)),
                column.rows(),
            )

        ask(everything)
    return found


SMALL = [
    {"a": ["x", "something longer", row], "b": {"c": row % 2 == 0}, "_rmx_deleted": row == 3}
    for row in range(40)
] + [{"_rmx_previous": Ref("0")}]


def assert_damage_is_seen(data: bytes, expected: list[Any]) -> bool:
    """Each answer is right or says that the file is damaged; whether one says so."""
    try:
        segment = opened(data)
    except DamagedFile:
        return True
    except FilesError:
        pytest.fail("a damaged file must not look like one of a newer version")
    found = answers(segment)
    assert all(
        answer is DamagedFile or answer == right for answer, right in zip(found, expected, strict=True)
    )
    return DamagedFile in found


def test_every_byte_flipped_and_every_length() -> None:
    data = build(0, SMALL)
    expected = answers(opened(data))
    assert DamagedFile not in expected
    for place in range(len(data)):
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << place % 8
        assert assert_damage_is_seen(bytes(spoiled), expected), place
        assert list(check("test.index", memoryview(spoiled)))
        assert assert_damage_is_seen(data[:place], expected), place
        assert list(check("test.index", memoryview(data)[:place]))
    assert list(check("test.index", memoryview(data))) == []


def test_damage_in_one_block_leaves_the_others_usable() -> None:
    records = various(4_000)
    data = bytearray(build(0, records))
    assert len(data) > 8 << 14
    data[3 << 14] ^= 1
    (finding,) = check("test.index", memoryview(data))
    assert finding.offset == 3 << 14
    segment = opened(bytes(data))
    found = dict.fromkeys([("n",), ("f",), ("few",), ("text",), ("even",), ("_rmx_id",)], True)
    for path in found:
        try:
            for kind in segment.kinds(path):
                column = segment.column(path, kind)
                assert column is not None
                column.bitmap(0, len(column) - 1)
                [column.key(place) for place in range(len(column))]
        except DamagedFile as exc:
            assert exc.offset == 3 << 14
            found[path] = False
    assert set(found.values()) == {True, False}


def test_a_newer_version_is_told_apart_from_damage() -> None:
    data = bytearray(build(0, [{}]))
    data[-16:-12] = (2).to_bytes(4, "little")
    data[-4:] = crc32c(data[-32:-4]).to_bytes(4, "little")
    with pytest.raises(FilesError, match=r"has version 2 .* reads version 1") as caught:
        opened(bytes(data))
    assert not isinstance(caught.value, DamagedFile)


@pytest.fixture
def python_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twins in Python, as where the extension is missing."""
    monkeypatch.setattr("mix_db.index.write.pack", pack_python)
    monkeypatch.setattr("mix_db.index.merge.unite", unite_python)


def test_the_extension_is_built() -> None:
    assert add_versions is not add_python
    assert (write.pack, merging.unite) == (_native.pack, _native.unite)


def test_without_the_extension_the_twins_in_python_are_taken() -> None:
    program = """
import sys
sys.modules["mix_db._native"] = None
sys.modules["mix_db._index"] = None
from mix_db.index import merge, pack, segment, write
from mix_db.versions import indexing
assert indexing.add_versions is indexing.add_python
assert write.pack is pack.pack_python and merge.unite is pack.unite_python
assert segment._seek is segment.bisect_left
assert segment._find is None
print(write.build(0, [{"a": [1, "x"]}]).hex())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (build(0, [{"a": [1, "x"]}]).hex(), "")


@pytest.mark.usefixtures("python_only")
def test_the_python_twins_write_the_same_bytes() -> None:
    records = various(1_500)
    data = build(0, records)
    parts = [opened(build(at, records[at : at + 500])) for at in range(0, 1_500, 500)]
    assert b"".join(merge(parts)) == data
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "pack", _native.pack)
        patch.setattr(merging, "unite", _native.unite)
        patch.setattr(merging, "STEP", 7)
        assert build(0, records) == data
        assert b"".join(merge(parts)) == data


@settings(max_examples=50, deadline=None)
@given(st.lists(RECORDS, max_size=8), st.integers(0, 8))
def test_the_twins_agree(records: list[dict[str, Any]], cut: int) -> None:
    found = []
    for pack, unite in [(pack_python, unite_python), (_native.pack, _native.unite)]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(write, "pack", pack)
            patch.setattr(merging, "unite", unite)
            first, second = build(0, records[:cut]), build(len(records[:cut]), records[cut:])
            found.append((first, second, b"".join(merge([opened(first), opened(second)]))))
    assert found[0] == found[1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(0, 2**64 - 1))
def test_seeking_is_bisecting(keys: list[int], key: int) -> None:
    keys.sort()
    for wanted in (key, *keys[:3], *keys[-3:]):
        assert _native.seek(memoryview(array("Q", keys)), wanted) == bisect_left(keys, wanted)


ALIKE = (
    # Tails of one width, of several, none; the same beginning; what is stored escaped; several rows.
    st.lists(st.text("ab", min_size=9, max_size=9), min_size=1)
    | st.lists(st.text("ab\0\1", min_size=10, max_size=10), min_size=1)
    | st.lists(st.text("abc", max_size=3), min_size=1)
    | st.lists(st.text("ab", max_size=12), min_size=1)
    | st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1)
)


@settings(max_examples=200, deadline=None)
@given(ALIKE, st.lists(st.text("ab\0", max_size=12), max_size=4))
def test_a_text_is_found_by_both_twins(texts: list[str], others: list[str]) -> None:
    data = build(0, [{"t": text} for text in texts])
    found = []
    for find in (_native.find, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segment_module, "_find", find)
            column = opened(data).column(("t",), Kind.STRING)
            assert column is not None
            keys = [text_key(text) for text in (*texts, *others)]
            # The first time blocks have to be verified, which the twin in C leaves to the other.
            found.append([list(column.lookup(key)) for key in (*keys, *keys)])
    expected = [[row for row, each in enumerate(texts) if each == text] for text in (*texts, *others)]
    assert found[0] == found[1] == expected * 2


def test_the_twin_in_c_finds_nothing_outside_its_buffers() -> None:
    data = build(0, [{"_rmx_id": Ref(f"{row:08}" + "x" * 24)} for row in range(40)])
    column = opened(data).column(("_rmx_id",), Kind.REF)
    assert isinstance(column, segment_module.SegmentColumn)
    blocks, key, unsure = column.blocks, b"%08d" % 7 + b"x" * 24, -2
    blocks.verify(0, blocks.size)
    given = [column.keys, blocks.data, blocks.flags, column.tails, column.width, column.postings, key]
    assert _native.find(*given) == 7  # type: ignore[arg-type]
    assert _native.find(*given[:6], b"nowhere, as long as the others ..") == -1  # type: ignore[arg-type]
    for place, value in (
        *((3, value) for value in (-1, blocks.size, blocks.size - 1, 2**62)),
        *((4, value) for value in (-1, 0xFFFF, 2**62)),
        *((5, value) for value in (-1, blocks.size, blocks.size - 3, 2**62)),
        (2, bytearray(len(blocks.flags))),
        (2, bytearray()),
        (1, memoryview(b"")),
    ):
        assert _native.find(*given[:place], value, *given[place + 1 :]) == unsure, place  # type: ignore[arg-type]
    for wrong in ([*given[:6], "text"], given[:6], [None, *given[1:]], [*given[:3], "1", *given[4:]]):
        with pytest.raises(TypeError):
            _native.find(*wrong)  # type: ignore[call-arg,arg-type]


def test_what_is_no_value_is_refused() -> None:
    for value, error in [(UNDEF, KeyError), ("\ud800", UnicodeEncodeError), (int, KeyError)]:
        with pytest.raises(error):
            MemoryPart(0).add(0, {"a": [value]})


VERSIONS = st.lists(
    st.tuples(
        st.dictionaries(
            NAMES.filter(lambda name: name not in ENGINE_FIELDS) | st.just("_rmx_type"), VALUES, max_size=5
        ),
        st.sampled_from(["id", "x" * 32, "x" * 300, "ä"]) | TEXT,
        st.none() | st.integers(0, 2**31),
        st.booleans(),
    ),
    max_size=12,
)


def stored(version: tuple[dict[str, Any], str, int | None, bool], number: int = 7) -> bytes:
    record, id, previous, deleted = version
    return stamp(number, 1_000 + number)(
        unstamped(split(packer()(record), len(record)), id), previous, deleted
    )


def shown(part: MemoryPart) -> tuple[bytes, list[tuple[int, int]], BitMap, list[Any]]:
    """All that a part knows."""
    keys = []
    nodes = [part.root]
    for node in nodes:
        nodes += [node.fields[name] for name in sorted(node.fields)]
        nodes += [] if node.items is None else [node.items]
        keys.append([None if column is None else column.keys for column in node.columns])
    return b"".join(write_segment(part)), part.links.pairs(), BitMap(part.deleted()), keys


@settings(max_examples=100, deadline=None)
@given(VERSIONS, st.integers(0, 40))
def test_versions_are_indexed_alike(given: list[Any], cut: int) -> None:
    versions = tuple(map(stored, given))
    found = []
    for add in (add_python, add_versions):
        part = MemoryPart(3)
        add(part, versions[:cut])
        add(part, versions[cut:])
        assert part.stop == 3 + len(versions)
        found.append(shown(part))
        for row, (_, id, *_) in enumerate(given, 3):
            rows = [number for number, each in enumerate(given, 3) if each[1] == id]
            assert part.newest(id, row + 1) == max(number for number in rows if number <= row)
            assert part.newest(id, 3) is part.newest("of none", 99) is None
    assert found[0] == found[1]
    assert b"".join(index_rows(3, versions)) == found[0][0]


def test_very_many_rows_of_a_record() -> None:
    versions = tuple(stored(({"n": 1}, "a" if row % 3 else "b", None, False)) for row in range(200))
    found = []
    for add in (add_python, add_versions):
        part = MemoryPart(0)
        add(part, versions)
        found.append(shown(part))
        for rows in range(200):
            assert part.newest("b", rows) == ((rows - 1) // 3 * 3 if rows else None)
    assert found[0] == found[1]


@settings(max_examples=150, deadline=None)
@given(VERSIONS.filter(bool), st.data())
def test_bytes_that_are_no_version_are_refused_behind_those_before(
    given: list[Any], data: st.DataObject
) -> None:
    good = tuple(map(stored, given))
    spoiled = bytearray(good[-1])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[place] = data.draw(st.integers(0, 255))
    bad = bytes(spoiled[: data.draw(st.integers(0, len(spoiled)))])
    part = MemoryPart(0)
    try:
        add_versions(part, (*good, bad, good[0]))
    except (ValueError, TypeError):
        assert part.stop == len(good)
    else:
        assert part.stop == len(good) + 2


def test_a_commit_is_taken_up_again_where_it_could_not_be_indexed() -> None:
    good = stored(({"a": [1, {"b": "x"}]}, "id", None, False))
    for add in (add_python, add_versions):
        part = MemoryPart(0)
        for _ in range(2):
            with pytest.raises((ValueError, TypeError)):
                add(part, (good, good, b"\xc1")[part.stop :])
            assert part.stop == 2
        add(part, (good,))
        assert b"".join(write_segment(part)) == b"".join(index_rows(0, [good] * 3))


def test_more_rows_than_there_can_be_are_refused_before_any() -> None:
    part = MemoryPart(MAX_ROWS - 1)
    good = stored(({}, "id", None, False))
    with pytest.raises(StorageError, match="at most 2147483648 versions"):
        add_versions(part, (good, good))
    add_versions(part, (good,))
    assert part.stop == MAX_ROWS


ODD = (
    st.sampled_from(
        [
            None,
            0,
            -1,
            2**31,
            2**64,
            2**70,
            b"",
            b"\0" * 300,
            b"x" * 70_000,
            "text",
            [],
            [1],
            [1, 2],
            [1, -2],
            [None, None],
            {},
            object(),
        ]
    )
    | st.builds(BitMap, st.lists(st.integers(0, 99), max_size=50))
    | st.lists(st.integers(0, 99), max_size=50)
)
ORDINARY = {AttributeError, TypeError, ValueError, OverflowError, KeyError, MemoryError, BufferError}


class Anything:
    """An object with the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_object_breaks_the_extension(data: st.DataObject) -> None:
    """Errors are errors of Python, whatever comes in."""
    calls: list[tuple[Callable[..., Any], list[Any]]] = []
    version = stored(({"a": data.draw(VALUES)}, "id", None, False))
    calls.append((_index.add, [data.draw(ODD), data.draw(ODD), data.draw(ODD)]))
    for slot in ("columns", "fields", "items"):
        node = Node()
        node.fields["a"] = Node()
        setattr(node.fields["a"], slot, data.draw(ODD))
        calls.append((_index.add, [node, 0, (version, data.draw(ODD))]))
    for slot in ("keys", "postings", "rows"):
        node = Node()
        node.fields["a"] = Node()
        column = Growing()
        setattr(column, slot, data.draw(ODD))
        node.fields["a"].columns = [column] * 10
        calls.append((_index.add, [node, 5, (version, version)]))
    keys = data.draw(
        st.lists(
            st.sampled_from([0, 1, 2**63, 2**64, -1, b"a", b"\0" * 9, b"x" * 70_000, "a", None]), max_size=4
        )
    )
    packed = Packed(text=data.draw(st.booleans()))
    if data.draw(st.booleans()):
        name = data.draw(
            st.sampled_from(["keys", "lengths", "postings", "sums", "shorts", "larges", "state", "text"])
        )
        setattr(packed, name, data.draw(ODD))
    postings = {key: data.draw(ODD) for key in keys}
    calls.append((_native.pack, [packed, keys, postings, data.draw(st.integers(-5, 5)), 9]))
    source = Anything(
        keys=data.draw(st.binary(max_size=32)),
        width=data.draw(st.sampled_from([0, 3, 0xFFFF, 0x10000, 2**63])),
        lengths=data.draw(st.binary(max_size=8)),
        tails=data.draw(st.binary(max_size=9)),
        postings=data.draw(
            st.binary(max_size=16) | st.sampled_from([b"\0\0\0\x80" * 4, b"\0\0\0\xc0" * 4, b"\1\0\0\0" * 4])
        ),
        shorts=data.draw(
            st.sampled_from([b"", b"\2\0\0\x80" + bytes(8), b"\xff\xff\xff\xff", b"\0\0\0\x80"])
        ),
        ends=data.draw(st.sampled_from([b"", bytes(8), b"\xff" * 8])),
        state=data.draw(st.sampled_from([[0, 0], [1, 0], [0, 5], [2**64, 0], [], None])),
    )
    calls.append(
        (_native.unite, [packed, [source] * data.draw(st.integers(0, 3)), data.draw(st.integers(-1, 9))])
    )
    calls.append((_native.seek, [data.draw(ODD | st.binary(max_size=20)), data.draw(ODD)]))
    for call, arguments in calls:
        try:
            call(*arguments)
        except Exception as exc:
            assert type(exc) in ORDINARY


def test_threads_share_a_segment() -> None:
    records = various(3_000)
    data = build(0, records)
    expected = columns(records)
    segment = opened(data)
    problems: list[BaseException] = []

    def read(seed: int) -> None:
        try:
            questions = list(expected.items())
            for number in range(400):
                (path, kind), postings = questions[(number * 7 + seed) % len(questions)]
                key = list(postings)[(number * 31 + seed) % len(postings)]
                column = segment.column(path, kind)
                assert column is not None
                place = column.find(key)
                assert column.key(place) == key
                assert column.bitmap(place, place + 1) == BitMap(postings[key])
        except BaseException as exc:
            problems.append(exc)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
