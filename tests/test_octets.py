"""Binary that is not copied: the same words as the codec's, and the same arguments, some of them as views."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mixkit import codec
from mixkit.errors import CodecError, InternalError
from mixkit.ffi import FFIGroup, FFITable
from mixkit.octets import LEAST, Octets, arguments, joined
from mixkit.state import State
from mixkit.value import UNDEF, Case, Ref, Result, Token, ok

LONG = 0xFFFFFF
LARGE = bytes(range(256)) * (LEAST // 256)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, LEAST, LONG - 1, LONG, LONG + 2])
def test_the_words_are_those_of_the_codec(size: int) -> None:
    octets = Octets(size)
    assert len(octets) == size
    octets.room[-3:] = b"xyz"[:size]
    content = bytes(octets.room)
    assert octets.words() == codec.encode(content)
    assert octets.words(is_ok=True) == codec.encode(ok(content))


def test_large_binary_is_a_view_and_everything_else_what_it_was() -> None:
    small = LARGE[:-1]
    args: list[Any] = [
        LARGE,
        1,
        2**40,
        0.5,
        None,
        True,
        "é",
        Ref("r"),
        small,
        LARGE + b"1",
        [LARGE, {"a": Case("x", 1)}],
    ]
    words = codec.encode(args)
    found = arguments(words)
    assert found is not None
    assert [type(item) for item in found] == [
        memoryview if index in (0, 9) else type(arg) for index, arg in enumerate(args)
    ]
    assert [bytes(item) if type(item) is memoryview else item for item in found] == args


def test_tokens_are_asked_for() -> None:
    secret = Token("s")
    words = codec.encode([secret, LARGE], token=lambda token: b"h")
    assert arguments(words) is None
    found = arguments(words, {b"h": secret}.get)
    assert found is not None
    assert found[0] is secret


def test_what_the_codec_refuses_is_left_to_it() -> None:
    """Among it: what is right alone and wrong in an array."""
    deep: Any = 1
    for _ in range(255):
        deep = [deep]
    assert arguments(codec.encode([LARGE, deep])) is not None
    whole = codec.encode([LARGE, 1])
    deeper = codec.encode([LARGE, None])[:-4] + codec.encode([deep])
    undef = whole[:-4] + codec.encode(UNDEF)
    short = codec.encode([b"1"]).replace(codec.encode(b"1"), b"\x08\xff\xff\xff\x01\0\0\0" + b"1\0\0\0")
    padded = codec.encode([LARGE + b"1"])[:-1] + b"1"
    as_long = codec.encode([LARGE]).replace(
        codec.encode(LARGE)[:4], b"\x08\xff\xff\xff" + len(LARGE).to_bytes(4, "little")
    )
    for wrong in (
        b"",
        b"1",
        whole[:-4],
        whole + whole[-4:],
        deeper,
        undef,
        short,
        padded,
        as_long,
        codec.encode({"a": LARGE}),
    ):
        assert arguments(wrong) is None
    for wrong in (whole[:-4], whole + whole[-4:], deeper, undef, short, padded, as_long):
        with pytest.raises(CodecError):
            codec.decode(wrong)


def test_damaged_words_are_never_other_arguments() -> None:
    seed = random.randrange(1 << 30)
    order = random.Random(seed)
    words = codec.encode([1, "abc", LARGE[:LEAST], b"12345", 2.5, [1, {"a": b""}]])
    places = [*range(24), *range(len(words) - 64, len(words))]
    for _ in range(2000):
        damaged = bytearray(words)
        damaged[order.choice(places)] = order.randrange(256)
        try:
            expected = codec.decode(damaged)
        except CodecError:
            expected = None
        found = arguments(bytes(damaged))
        if found is not None:
            plain = [bytes(item) if type(item) is memoryview else item for item in found]
            assert codec.encode(plain) == codec.encode(expected), seed


@pytest.mark.parametrize("parts", [[], [b""], [b"a", b"", b"bc"], [LARGE] * 100 + [b"x"]])
def test_what_is_joined_is_all_of_it(parts: list[bytes]) -> None:
    assert joined(parts) == b"".join(parts)
    assert joined(iter(parts)) == b"".join(parts)


def test_only_bytes_are_joined() -> None:
    with pytest.raises(TypeError):
        joined([b"a", "b"])  # type: ignore[list-item]


# -- through FFIs ----------------------------------------------------------------------------------------


@pytest.fixture
def group() -> FFIGroup:
    return FFIGroup("test")


def call(group: FFIGroup, *args: Any) -> Any:
    return codec.decode(FFITable([group]).dispatch(State(), b"$test_it", codec.encode(list(args)))[1])


def test_an_ffi_that_takes_views_gets_them_where_it_says_so(group: FFIGroup) -> None:
    @group.register("$test_it")
    def it(
        one: bytes, two: str | bytes | memoryview, three: memoryview, four: bytes | None = None
    ) -> list[str]:
        return [type(arg).__name__ for arg in (one, two, three, four)]

    assert call(group, LARGE, LARGE, LARGE, LARGE) == ["bytes", "memoryview", "memoryview", "bytes"]
    assert call(group, LARGE, "text", LARGE) == ["bytes", "str", "memoryview", "NoneType"]
    assert call(group, b"", b"", b"") == ["bytes", "bytes", "bytes", "NoneType"]
    (ffi,) = group
    assert ffi.signature == (
        "$test_it(one: binary, two: string | binary, three: binary, four?: binary | null) -> array(string)"
    )


def test_wrong_arguments_are_told_as_before(group: FFIGroup) -> None:
    @group.register("$test_it")
    def it(one: memoryview, two: str = "") -> None:
        raise AssertionError

    for args, words in (
        ((LARGE, 5), r"argument 2 \(two\): expected string, found int"),
        ((LARGE, LARGE), r"argument 2 \(two\): expected string, found binary"),
        (("x" * LEAST,), r"argument 1 \(one\): expected binary, found string"),
        ((LARGE, "", 1), "takes 1 to 2 arguments, found 3"),
    ):
        with pytest.raises(Exception, match=words):
            call(group, *args)


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_what_an_ffi_fills_is_its_answer(group: FFIGroup, size: int) -> None:
    def made(size: int) -> Octets:
        octets = Octets(size)
        octets.room[:2] = b"ab"
        return octets

    @group.register("$test_it")
    def it(size: int) -> Octets:
        return made(size)

    @group.register("$test_ok")
    def it_is_ok(size: int) -> Result[Octets]:
        return made(size)

    content = b"ab" + bytes(size - 2)
    assert call(group, size) == content
    table = FFITable([group])
    assert codec.decode(table.dispatch(State(), b"$test_ok", codec.encode([size]))[1]) == ok(content)
    assert table["$test_it"].signature == "$test_it(size: int) -> binary"


def test_nobody_answers_it_who_has_not_said_so(group: FFIGroup) -> None:
    @group.register("$test_it")
    def it() -> str:
        return Octets(4)  # type: ignore[return-value]

    with pytest.raises(InternalError, match="answered what it does not declare"):
        call(group)
