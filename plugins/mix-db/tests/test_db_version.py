"""Stored versions: the reader in C and its twin in Python."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_db.query.weight import weigh_python
from mix_db.versions import version
from mix_db.versions.version import is_tombstone, packer, read_python, split, stamp, unstamped

from mixkit.testing.strategies import identical, values
from mixkit.value import Case, Ref

twins = pytest.importorskip("mix_db._version", reason="built where there is a C compiler")
read, weigh = twins.read, twins.weigh


@given(st.dictionaries(st.text(max_size=40), values(undef=False), max_size=20))
def test_the_twins_read_the_identical(record: dict[str, object]) -> None:
    data = packer()(record)
    assert identical(read(data), read_python(data))
    assert identical(read(data), record)


@given(values(undef=False))
def test_the_twins_weigh_the_same(value: object) -> None:
    assert weigh(value, 2**62) == weigh_python(value, 2**62) > 0


@pytest.mark.parametrize("weigher", [weigh, weigh_python])
def test_what_is_large_weighs_much_wherever_it_is(weigher: Callable[[object, int], int]) -> None:
    text = "x" * 1_000
    for value in (text, text.encode(), [text], {"a": {"b": [text]}}, {text: 1}, Ref(text), Case("a", [text])):
        assert 1_000 < weigher({"a": value}, 2**62) < 1_200
    # Nobody counts much further than asked for.
    assert 50 < weigher([text] * 100_000, 50) < 2_000
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert weigher(deep, 2**62) > 0


@pytest.mark.parametrize("reader", [read, read_python])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x90",
        b"\x80\x80",
        b"\x81\x05\x01",
        b"\x81\x90\x01",
        b"\x81\x01\xa1x",
        # A case as the id, behind a field that holds one.
        b"\x82\xa1c\xd4\x02\x90\x00\xd4\x02\x90",
    ],
)
def test_bytes_that_are_no_version_are_refused(reader: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        reader(data)


@pytest.mark.parametrize("reader", [read, read_python])
def test_a_version_without_all_fields_of_the_engine_is_read(reader: Callable[[bytes], object]) -> None:
    assert reader(b"\x81\x01\x07") == {"_rmx_rev": "0" * 15 + "7"}
    assert reader(b"\x81\x02\x07") == {"_rmx_last_modified_at": 7}


@given(
    st.dictionaries(st.text(max_size=8), values(undef=False), max_size=20),
    st.integers(0, 10**16 - 1),
    st.integers(0, 2**53),
    st.none() | st.integers(0, 2**31),
    st.booleans(),
)
def test_a_stamped_version_is_read_with_its_names(
    fields: dict[str, object], number: int, milliseconds: int, previous: int | None, deleted: bool
) -> None:
    fields = {} if deleted else fields
    body = unstamped(split(packer()(fields), len(fields)), "i" * 32)
    data = stamp(number, milliseconds)(body, previous, deleted)
    expected = fields | {
        "_rmx_id": Ref("i" * 32), "_rmx_rev": f"{number:016}", "_rmx_last_modified_at": milliseconds,
    }  # fmt: skip
    if previous is not None:
        expected["_rmx_previous"] = Ref(str(previous))
    if deleted:
        expected["_rmx_deleted"] = True
    for reader in (read, read_python):
        assert list(reader(data)) == list(expected)
        assert identical(reader(data), expected)
    assert is_tombstone(data) is deleted


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536])
def test_every_length(size: int) -> None:
    record = {
        "n" * size: "é" * size,
        "bytes": b"b" * size,
        "ref": Ref("r" * size),
        "list": [1] * size,
        "map": {str(i): i for i in range(size)},
        "case": Case("c" * size, "x" * size),
    }
    data = packer()(record)
    assert read(data) == read_python(data) == record


@pytest.mark.parametrize("exponent", [7, 8, 15, 16, 31, 32, 62, 63])
def test_every_width_of_an_integer(exponent: int) -> None:
    numbers = [sign * 2**exponent + step for sign in (1, -1) for step in (-1, 0)]
    record = {"numbers": [number for number in numbers if -(2**63) <= number < 2**63]}
    assert read(packer()(record)) == record


def test_cases_inside_each_other() -> None:
    case: object = 1
    for _ in range(250):
        case = Case("c", case)
    record = {"case": case, "none": Case("none")}
    data = packer()(record)
    assert identical(read(data), read_python(data))


@given(st.binary(max_size=64))
def test_other_bytes_are_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert type(read(data)) is dict


@given(st.dictionaries(st.text(max_size=8), values(undef=False), max_size=4), st.data())
def test_spoiled_bytes_are_refused_or_read(record: dict[str, object], data: st.DataObject) -> None:
    spoiled = bytearray(packer()(record))
    spoiled[data.draw(st.integers(0, len(spoiled) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        assert type(read(bytes(spoiled))) is dict


@pytest.mark.parametrize(
    "data", [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff\xa0", b"", b"\x80\x80"]
)
def test_what_promises_too_much_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected the MessagePack of a record"):
        read(data)


def test_nothing_is_kept() -> None:
    data = packer()({"a": [Ref("x" * 32), Case("c", {"b": "text"})] * 50, "none": Case("none")})
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        read(data)
    gc.collect()
    assert len(gc.get_objects()) <= before + 5


def test_it_is_the_one_that_is_used() -> None:
    assert version.read_version is read
