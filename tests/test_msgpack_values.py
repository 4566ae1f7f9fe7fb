"""Values as MessagePack."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit.errors import MessagePackError, ValueKindError
from mixkit.msgpack_values import pack, unpack, unpack_rows
from mixkit.testing.strategies import identical, values
from mixkit.value import MAX_DEPTH, UNDEF, Case, Ref, Token, check, ok


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    return value


@given(values(undef=False))
def test_round_trip(value: Any) -> None:
    assert identical(unpack(pack(value)), value)


@given(values(undef=False), st.data())
def test_damaged_bytes_give_a_value_or_our_error(value: Any, data: st.DataObject) -> None:
    octets = bytearray(pack(value))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] = data.draw(st.sampled_from([0xC1, 0xC7, 0xD4, 0xD5, 0xD6, 0xDF, 0xDD]) | st.integers(0, 255))
    with contextlib.suppress(MessagePackError):
        check(unpack(octets), tokens=False)


def test_the_bytes() -> None:
    value = {"b": [None, True, 7, 1.5, b"\x00"], "a": Ref("r"), "c": Case("x"), "d": ok("y")}
    assert pack(value).hex(" ") == (
        "84 a1 62 95 c0 c3 07 cb 3f f8 00 00 00 00 00 00 c4 01 00 a1 61 d4 01 72 "
        "a1 63 c7 03 02 91 a1 78 a1 64 c7 06 02 92 a2 6f 6b a1 79"
    )
    assert list(unpack(pack(value))) == ["b", "a", "c", "d"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (UNDEF, "$"),
        ([1, UNDEF], "$[1]"),
        ({"a": [Token("x")]}, "$.a[0]"),
        ([2**63], "$[0]"),
        ({"a": {1: 2}}, "$.a"),
        ([(1,)], "$[0]"),
        ([Ref("\ud800")], "$[0]"),
        ({"a": ok("\ud800")}, "$.a.ok"),
        (nested(MAX_DEPTH + 1, lambda part: [part]), "$" + "[0]" * (MAX_DEPTH + 1)),
    ],
)
def test_pack_refuses_with_the_path(value: Any, path: str) -> None:
    with pytest.raises(ValueKindError) as caught:
        pack(value)
    assert caught.value.path == path


def ext(code: int, content: bytes) -> msgpack.ExtType:
    return msgpack.ExtType(code, content)


CASE_WITHOUT_NAME = ext(2, msgpack.packb([]))

REFUSED: list[tuple[Any, str, str]] = [
    ([1, 2**63], "$[1]", "beyond 64 bits"),
    ({"a": {1: 2}}, "$.a", "a map key is a str"),
    ({"a": {b"k": 2}}, "$.a", "a map key is a str"),
    ({"a": [ext(1, b"\xff")]}, "$.a[0]", "utf-8"),
    ([ext(3, b"")], "$[0]", "expected ext type 1 or 2, found 3"),
    ([msgpack.Timestamp(1)], "$[0]", "not a Value"),
    ([CASE_WITHOUT_NAME], "$[0]", "expected .name. or .name, arg."),
    ([ext(2, msgpack.packb([1]))], "$[0]", "expected .name."),
    ([ext(2, msgpack.packb(["n", 1, 2]))], "$[0]", "expected .name."),
    ([ext(2, b"\x91")], "$[0]", "incomplete"),
    ({"a": ext(2, msgpack.packb(["n", [2**64 - 1]]))}, "$.a.n[0]", "beyond 64 bits"),
    (nested(MAX_DEPTH + 1, lambda part: [part]), "$" + "[0]" * (MAX_DEPTH + 1), "nesting above 256"),
]


@pytest.mark.parametrize(("tree", "path", "message"), REFUSED)
def test_unpack_refuses_with_the_path(tree: Any, path: str, message: str) -> None:
    with pytest.raises(MessagePackError, match=message) as caught:
        unpack(msgpack.packb(tree))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "incomplete"),
        (b"\xc1", "MessagePack"),
        (b"\x01\x01", "extra data"),
        (b"\xdd\xff\xff\xff\xff", "exceeds"),
        (b"\xa2\xc3\x28", "utf-8"),
        (b"\x82\xa1a\x01\xa1a\x01", "found 'a' twice"),
        (b"\x81\x90\x01", "a map key is a str"),
        (b"\x91" * 100_000, "expected MessagePack"),
    ],
)
def test_unpack_refuses_bytes(data: bytes, message: str) -> None:
    with pytest.raises(MessagePackError, match=message):
        unpack(data)


def test_depth_limit_of_cases_is_exact() -> None:
    deepest = nested(MAX_DEPTH, ok)
    assert identical(unpack(pack(deepest)), deepest)
    content = pack(deepest)
    deeper = msgpack.packb(ext(2, msgpack.packb(["ok", msgpack.unpackb(content)])))
    with pytest.raises(MessagePackError, match="nesting above 256"):
        unpack(deeper)


def test_cases_inside_each_other_neither_crash_nor_take_long() -> None:
    content = msgpack.packb(["x"])
    for _ in range(5_000):
        content = msgpack.packb(["x", ext(2, content)])
    with pytest.raises(MessagePackError, match="nesting above 256"):
        unpack(content)


def test_noise_is_refused_or_read() -> None:
    noise = random.Random(7)
    for _ in range(2_000):
        with contextlib.suppress(MessagePackError):
            check(unpack(noise.randbytes(noise.randrange(1, 40))), tokens=False)


def test_every_buffer_is_read() -> None:
    for data in (bytearray(b"\x01"), memoryview(b"\x01")):
        assert unpack(data) == 1


@given(st.lists(values(undef=False), max_size=4))
def test_rows_stand_one_behind_the_other(rows: list[Any]) -> None:
    packed = b"".join(map(pack, rows))
    assert identical(unpack_rows(packed, len(rows)), rows)
    with pytest.raises(MessagePackError):
        unpack_rows(packed, len(rows) + 1)
    with pytest.raises(MessagePackError, match="bytes more"):
        unpack_rows(packed + b"\xc0", len(rows))
