"""A record at hand by its words is the map that they stand for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit import codec, msgpack_values, tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.record import PackedRecord, read_record
from mixkit.testing.strategies import keys, values


@given(st.dictionaries(keys, values(undef=False), max_size=5), keys)
def test_it_is_the_map(record: dict[str, Any], name: str) -> None:
    words = codec.encode(record)
    found = PackedRecord(words)
    # Before all of it was asked for, and behind that.
    for _ in range(2):
        for each in (*record, name):
            assert codec.encode(found.get(each, "none")) == codec.encode(record.get(each, "none"))
            assert (each in found) == (each in record)
        assert found.msgpack() == msgpack_values.pack(codec.decode(words))
        assert len(found) == len(record)
        assert sorted(found) == sorted(record)
        assert codec.encode(dict(found)) == words
    with pytest.raises(KeyError):
        found[name + "!".join(record) + "!"]


def test_only_a_map_is_one() -> None:
    for text, kind in ((b'{"a":[1]}', PackedRecord), (b"[{}]", list), (b'"x"', str), (b"null", type(None))):
        found = read_record(text)
        assert type(found) in (kind, dict)
        assert found == tagged_json.loads(text)
    # What is rare is read by others, who say what is wrong.
    assert read_record(b'{"_rmx_type":"{str}{tag}x"}') == {"_rmx_type": "{tag}x"}
    with pytest.raises(TaggedJSONError, match="found 'a' twice"):
        read_record(b'{"a":1,"a":2}')
