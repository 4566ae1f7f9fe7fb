"""Stored versions in public form: what is copied is what would be read and packed again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mix_db.versions import public
from mix_db.versions.public import ALL, MAX_NAMES, Choice, publish_python
from mix_db.versions.version import packer, read_python, split, stamp, unstamped

from mixkit import msgpack_values
from mixkit.rows import PackedRows
from mixkit.testing.strategies import identical, values

twins = pytest.importorskip("mix_db._version", reason="built where there is a C compiler")
publish = twins.publish
BOTH = pytest.mark.parametrize("publisher", [publish, publish_python], ids=["c", "python"])

names = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "_rmx_type",
        "x" * 31,
        "x" * 32,
        "é",
        "",
        "_rmx_id",
        "_rmx_rev",
        "_rmx_row",
        "_rmx_previous",
    ]
)
fields = st.dictionaries(
    names.filter(lambda name: name == "_rmx_type" or not name.startswith("_rmx_")) | st.text(max_size=8),
    values(undef=False),
    max_size=5,
)
choices = st.builds(Choice, st.frozensets(names, max_size=3)) | st.lists(
    st.tuples(names, st.text(max_size=4) | names),
    max_size=6,
    unique_by=(lambda pick: pick[0], lambda pick: pick[1]),
).map(lambda picks: Choice(picks=tuple(picks)))


@st.composite
def versions(draw: st.DrawFn) -> bytes:
    deleted = draw(st.integers(0, 5)) == 0
    given = {} if deleted else draw(fields)
    body = unstamped(split(packer()(given), len(given)), draw(st.just("i" * 32) | st.text(max_size=9)))
    version = stamp(draw(st.integers(0, 10**16 - 1)), draw(st.integers(0, 2**53)))
    return version(body, draw(st.none() | st.integers(0, 2**40)), deleted)


def expected(data: bytes, row: int, marks: dict[int, int], choice: Choice) -> dict[str, Any]:
    record = read_python(data) | {"_rmx_row": row}
    if row in marks:
        record |= {"_rmx_superseded": True, "_rmx_superseded_at": marks[row]}
    return choice.of(record)


@given(st.lists(st.tuples(versions(), st.integers(0, 2**40)), max_size=2), choices, st.data())
@example([], ALL, None)
def test_the_twins_publish_what_is_read(
    stored: list[tuple[bytes, int]], choice: Choice, data: st.DataObject | None
) -> None:
    records, rows = [record for record, _ in stored], [row for _, row in stored]
    marked = data.draw(st.lists(st.sampled_from(rows), max_size=2)) if data and rows else []
    marks = {row: 10**12 + row for row in marked}
    made = publish(records, rows, marks, *choice.packed)
    assert made == publish_python(records, rows, marks, *choice.packed)
    found = [expected(record, row, marks, choice) for record, row in stored]
    assert made == b"".join(map(packer(), found))
    assert identical(PackedRows(len(rows), made).values(), found)


@BOTH
@pytest.mark.parametrize("count", [0, 1, 10, 11, 12, 15, 16, 300, 65_536])
def test_every_number_of_fields(publisher: Callable[..., bytes], count: int) -> None:
    given = {f"f{i}": i for i in range(count)}
    data = stamp(1, 2)(unstamped(split(packer()(given), count), "i" * 32), 3, False)
    assert publisher([data], [4], {}, *ALL.packed) == packer()(expected(data, 4, {}, ALL))
    few = Choice(frozenset(f"f{i}" for i in range(0, count, 2)) if count < 1000 else frozenset({"f9"}))
    assert publisher([data], [4], {}, *few.packed) == packer()(expected(data, 4, {}, few))


@BOTH
@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x90", b"\x80\x80", b"\x81\x05\x01", b"\x81\x90\x01", b"\x81\x01\xa1x", b"\x81\xa1a", b"\x81\xa1a\xa2b",
        b"\x81\xa1a\xc1", b"\x81\xa1a\xd4\x03\x00", b"\x81\xa1a\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff\xa0",
        b"\x81\xa1a" + b"\x91" * 100_000, b"\x81\xa1a\xc9\xff\xff\xff\xff\x01",
    ],
)  # fmt: skip
def test_bytes_that_are_no_version_are_refused(publisher: Callable[..., bytes], data: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        publisher([data], [0], {}, *ALL.packed)


@given(versions(), st.data())
def test_spoiled_bytes_are_refused_or_published(version: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(version)
    spoiled[data.draw(st.integers(0, len(spoiled) - 1))] ^= data.draw(st.integers(1, 255))
    for choice in (ALL, Choice(picks=(("a", "x"), ("_rmx_id", "id")))):
        try:
            made = publish([bytes(spoiled)], [7], {7: 8}, *choice.packed)
        except ValueError:
            continue
        assert type(made) is bytes


def test_what_would_be_written_twice_is_refused() -> None:
    with pytest.raises(TypeError, match="each another name"):
        publish([], [], {}, (), ((b"a", b"\xa1a"), (b"a", b"\xa1b")))
    most = tuple((b"%d" % i, b"\xa1a") for i in range(MAX_NAMES))
    assert publish([], [], {}, (), most) == b""
    for wrong in (((b"a",),), (("a", b""),), [], (*most, (b"a", b"\xa1a"))):
        with pytest.raises(TypeError):
            publish([], [], {}, (), wrong)
    for wrong in (("a",), [b"a"], (b"a", b"a"), tuple(b"%d" % i for i in range(MAX_NAMES + 1))):
        with pytest.raises(TypeError):
            publish([], [], {}, wrong, None)
    with pytest.raises(TypeError):
        publish([b""], [], {}, (), None)
    with pytest.raises((TypeError, OverflowError)):
        publish([b"\x80"], [-1], {}, (), None)


@BOTH
@pytest.mark.parametrize("count", [1, 8, 9, 100, 256])
def test_every_number_of_names(publisher: Callable[..., bytes], count: int) -> None:
    given = {f"f{i}": i for i in range(1000)}
    data = stamp(1, 2)(unstamped(split(packer()(given), 1000), "i" * 32), None, False)
    wanted = [f"f{(i * 7919) % 1200}" for i in range(count)]
    for choice in (
        Choice(frozenset(wanted)),
        Choice(picks=tuple((name, f"as {name}") for name in wanted)),
    ):
        assert publisher([data], [4], {}, *choice.packed) == packer()(expected(data, 4, {}, choice))


def test_it_is_the_one_that_is_used() -> None:
    assert public.publish is publish


def test_what_stands_twice_in_a_row_is_refused_by_who_reads_it() -> None:
    data = b"\x82\xa1a\x01\xa1a\x02"
    with pytest.raises(msgpack_values.MessagePackError):
        PackedRows(1, publish([data], [0], {}, *ALL.packed)).words()


@pytest.mark.parametrize("key", [b"\x01", b"\x03"])
def test_a_commit_or_row_beyond_any_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="no number"):
        publish([b"\x81" + key + b"\xcf" + b"\xff" * 8], [0], {}, *ALL.packed)
