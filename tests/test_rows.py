"""Rows of an answer: what is packed and what is values is the same in every form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit import codec, msgpack_values, tagged_json
from mixkit.errors import CodecError, MixError
from mixkit.rows import PackedRows, Rows, ValueRows
from mixkit.testing.strategies import identical, values
from mixkit.value import MAX_DEPTH, Case


def packed(rows: list[Any]) -> PackedRows:
    return PackedRows(len(rows), b"".join(map(msgpack_values.pack, rows)))


def outcome(call: Callable[[], bytes]) -> Any:
    try:
        return call()
    except MixError as exc:
        return type(exc), str(exc)


@given(st.lists(values(undef=False), max_size=4))
def test_both_kinds_of_rows_are_the_same_in_every_form(rows: list[Any]) -> None:
    one, other = packed(rows), ValueRows(rows)
    assert len(one) == len(other) == len(rows)
    assert identical(one.values(), rows) and identical(other.values(), rows)
    assert one.words() == other.words() == codec.encode(rows)
    assert one.msgpack() == other.msgpack()
    assert outcome(one.json) == outcome(other.json)
    assert outcome(lambda: one.json(b"\n")) == outcome(lambda: other.json(b"\n"))


@pytest.mark.parametrize("make", [packed, ValueRows])
def test_what_a_form_cannot_hold_is_refused_with_its_place(make: Callable[[list[Any]], Rows]) -> None:
    rows = make([{"a": 1}, {"b": [Case("db.ref")]}])
    with pytest.raises(MixError, match=r"db.ref.*\$\.b\[0\]|\$\.b\[0\].*db.ref"):
        rows.json()
    assert codec.decode(rows.words()) == rows.values()


@pytest.mark.parametrize("make", [packed, ValueRows])
def test_an_array_of_rows_is_a_level_deeper_than_they_are(make: Callable[[list[Any]], Rows]) -> None:
    value: Any = 0
    for _ in range(MAX_DEPTH):
        value = {"k": value}
    rows = make([value])
    assert rows.json() == tagged_json.dumps(value).encode()
    with pytest.raises((CodecError, MixError), match="nesting"):
        rows.words()


@pytest.mark.parametrize("make", [packed, ValueRows])
def test_no_rows(make: Callable[[list[Any]], Rows]) -> None:
    rows = make([])
    assert not rows
    assert (rows.values(), rows.json(), rows.msgpack(), rows.words()) == ([], b"", b"", codec.encode([]))
