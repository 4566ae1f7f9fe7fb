"""Forms into one another: what comes out, and what is refused, is what the way by Python values gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixkit import codec, forms, msgpack_values, tagged_json
from mixkit.errors import MixError
from mixkit.testing.strategies import texts, values
from mixkit.value import MAX_DEPTH, UNDEF, Case, Ref, Token, ok

needs_c = pytest.mark.skipif(
    codec.implementation != "C", reason="the extensions were not built here, so there is one way only"
)


def outcome(function: Callable[..., bytes], *args: Any, **options: Any) -> tuple[str, Any]:
    """What a call answers, or the class and text of what it raises."""
    try:
        return "answer", function(*args, **options)
    except (MixError, ValueError) as exc:
        return type(exc).__name__, str(exc)


def by_values(read: Callable[..., Any], write: Callable[..., Any], data: bytes, plain: bool) -> bytes:
    value = read(data, plain=plain) if read is tagged_json.loads else read(data)
    written = write(value, plain=plain) if write is tagged_json.dumps else write(value)
    return written.encode() if isinstance(written, str) else bytes(written)


WAYS = {
    "json_to_words": (forms.json_to_words, tagged_json.loads, codec.encode, (False, True)),
    "words_to_json": (forms.words_to_json, codec.decode, tagged_json.dumps, (False, True)),
    "words_to_msgpack": (forms.words_to_msgpack, codec.decode, msgpack_values.pack, (False,)),
}


def agree(way: str, data: bytes) -> None:
    """Assert that both ways answer or refuse alike."""
    function, read, write, modes = WAYS[way]
    for plain in modes:
        options = {"plain": plain} if len(modes) > 1 else {}
        expected = outcome(by_values, read, write, data, plain)
        assert outcome(function, data, **options) == expected, (way, plain, data)


def agree_on_words(words: bytes) -> None:
    agree("words_to_json", words)
    agree("words_to_msgpack", words)


def agree_on_rows(*rows: bytes) -> None:
    """The same of values in MessagePack."""

    packed = b"".join(rows)

    def unpacked() -> list[Any]:
        return msgpack_values.unpack_rows(packed, len(rows))

    expected = outcome(lambda: codec.encode(unpacked()))
    assert outcome(forms.rows_to_words, packed, len(rows)) == expected, rows
    for between in (b",", b"\n"):
        expected = outcome(lambda b: b.join(tagged_json.dumps(row).encode() for row in unpacked()), between)
        assert outcome(forms.rows_to_json, packed, len(rows), between) == expected, rows


@given(values())
def test_values(value: Any) -> None:
    agree_on_words(codec.encode(value))
    agree("json_to_words", tagged_json.dumps(value).encode())
    if value is not UNDEF:
        agree_on_rows(msgpack_values.pack(value))


@given(st.lists(values(undef=False), max_size=4))
def test_rows(rows: list[Any]) -> None:
    agree_on_rows(*map(msgpack_values.pack, rows))


def test_rows_are_as_many_as_is_said() -> None:
    packed = msgpack_values.pack({"a": 1}) * 2
    for count in (0, 1, 3):
        for found in (
            outcome(forms.rows_to_words, packed, count),
            outcome(forms.rows_to_json, packed, count, b","),
        ):
            assert found[0] == "MessagePackError"
    assert forms.rows_to_json(b"", 0, b",") == b""
    assert forms.rows_to_words(b"", 0) == codec.encode([])


_numbers = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.decimals(allow_nan=False, allow_infinity=False, places=30).map(float)
)
_odd_keys = st.sampled_from(["_rmx_type", "_rmx_value", "a", "b", "ab", "", "é", '"', "\\", "\n"]) | texts
_odd_texts = (
    st.sampled_from(
        ["{tag}", "{str}", "{tag}case:", "{tag}case:ok", "{tag}case:db.ref", "{tag}bin", "{tag}nan", "{str}{tag}", "AAE="]
    )
    | texts
)  # fmt: skip
_trees = st.recursive(
    st.none() | st.booleans() | _numbers | _odd_texts,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(_odd_keys, part, max_size=5),
    max_leaves=20,
)


@given(_trees, st.booleans(), st.sampled_from([None, 1]))
def test_json_of_strangers(tree: Any, escaped: bool, indent: int | None) -> None:
    agree(
        "json_to_words",
        json.dumps(tree, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass"),
    )


_fragments = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b'"', b'"a"', b'"_rmx_type"', b'"{tag}case:x"', b'"_rmx_value"', b"1",
        b"-", b"-0", b"01", b"1.", b".5", b"1e", b"1e5", b"1E+400", b"0.0000001", b"9223372036854775807", b"9223372036854775808",
        b"-9223372036854775808", b"true", b"tru", b"null", b"NaN", b"\\u00e9", b"\\ud83d\\ude00", b"\\ud800", b"\\x", b"\xc3\xa9",
        b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"\x1f", b"\x7f", b"//",
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(_fragments, max_size=12).map(b"".join))
@example(b'{"b":1,"a":2,"b":3}')
@example(b'{"_rmx_type":"{tag}case:db.ref","_rmx_value":"id"}')
@example(b'{"_rmx_value":{"z":1,"a":[]},"_rmx_type":"{tag}case:ok"}')
@example(b'{"_rmx_type":"{tag}case:db.ref"}')
@example(b'{"_rmx_type":"{tag}case:db.ref","_rmx_value":1}')
@example(b'{"_rmx_type":"{tag}case:a","x":1}')
@example(b'{"_rmx_type":"{tag}int","_rmx_value":"5"}')
def test_json_that_is_none(text: bytes) -> None:
    agree("json_to_words", text)


@given(st.binary(max_size=40) | st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 0x1FF), max_size=10).map(
    lambda words: b"".join(word.to_bytes(4, "little") for word in words)
))  # fmt: skip
def test_words_that_are_none(words: bytes) -> None:
    agree_on_words(words)


@given(st.binary(max_size=30))
@example(msgpack.packb({"a": 1, "b": 2}) + b"\x01")
@example(b"\x82\xa1a\x01\xa1a\x02")
@example(b"\x82\xa1b\x01\xa1a\x02")
@example(b"\x81\x01\x02")
@example(b"\xca\x3f\x80\x00\x00")
@example(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff")
@example(msgpack.packb(msgpack.ExtType(2, msgpack.packb(["a", [1, {"b": 2}]]))))
@example(msgpack.packb(msgpack.ExtType(2, msgpack.packb(["db.ref", 1]))))
@example(msgpack.packb(msgpack.ExtType(3, b"")))
@example(b"\xd6\xff1234")
def test_msgpack_that_is_none(data: bytes) -> None:
    agree_on_rows(data)


@given(values(), st.data())
def test_damage(value: Any, data: st.DataObject) -> None:
    words = bytearray(codec.encode(value))
    at = data.draw(st.integers(0, len(words) - 1))
    words[at] ^= data.draw(st.integers(1, 255))
    agree_on_words(bytes(words))


@given(st.floats() | st.builds(lambda m, e: m * 10.0**e, st.integers(-(10**6), 10**6), st.integers(-30, 30)))
@example(5e-324)
@example(1.7976931348623157e308)
@example(1e16)
@example(1e15)
@example(1e-5)
@example(1e-6)
@example(-0.0)
def test_numbers_are_written_alike(number: float) -> None:
    agree_on_words(codec.encode(number))


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"k": v}, ok], ids=["array", "map", "case"])
@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_depth(wrap: Callable[[Any], Any], depth: int) -> None:
    # In JSON a case is a map, which the text of a value that is too deep can still be.
    text, end = {"array": ("[", "]"), "map": ('{"k":', "}")}.get(
        "array" if wrap([]) == [[]] else "map" if wrap(0) == {"k": 0} else "case",
        ('{"_rmx_type":"{tag}case:ok","_rmx_value":', "}"),
    )
    agree("json_to_words", (text * depth + "0" + end * depth).encode())
    if depth <= MAX_DEPTH:
        value: Any = 0
        for _ in range(depth):
            value = wrap(value)
        agree_on_words(codec.encode(value))
        agree_on_rows(msgpack_values.pack(value))


@pytest.mark.parametrize(
    "value",
    [
        [sign * 2**power + more for power in (5, 7, 8, 15, 16, 31, 32, 53, 62) for sign in (1, -1) for more in (-1, 0, 1)],
        [make(size) for size in (0, 1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 255, 256, 65_535, 65_536)
         for make in (lambda size: "x" * size, bytes, lambda size: Ref("x" * size), lambda size: Case("y" * size))],
        *([0] * size for size in (15, 16, 65_535, 65_536)),
        *({f"{key:x}": key for key in range(size)} for size in (15, 16, 65_535, 65_536)),
        [ok("x" * size) for size in (0, 1, 9, 10, 250, 251, 252, 65_530)],
        {"a": ok({"b": ok([ok(1)])}), "c": ok(ok(Case("d")))},
    ],
    ids=["integers", "octets", *["array"] * 4, *["map"] * 4, "cases", "cases in cases"],
)  # fmt: skip
def test_lengths_and_numbers_take_the_fewest_bytes(value: Any) -> None:
    agree_on_words(codec.encode(value))


@settings(deadline=None)
@given(st.dictionaries(texts, values(undef=False), max_size=6), texts)
@example({"_": 1, "_a": 2, "_a_": [3], "_aé": {"_a": 4}, "_b": 5, "a_a": 6}, "_a")
def test_entries_of_a_map(record: dict[str, Any], name: str) -> None:
    words = codec.encode(record)
    for beginning in (name, name[:1], *record, ""):
        expected = {key: value for key, value in record.items() if key.startswith(beginning)}
        assert forms.entries(words, beginning.encode()) == codec.encode(expected)
    assert forms.entries(codec.encode([record]), name.encode()) is None


@pytest.mark.parametrize("count", [23, 24, 25, 26, 1000])
def test_many_keys_are_sorted(count: int) -> None:
    record = {f"{(i * 7919) % count:x}": i for i in range(count)}
    agree("json_to_words", json.dumps(record).encode())
    agree_on_rows(msgpack.packb(record), msgpack.packb(record))


@given(
    st.lists(st.permutations(["a", "ab", "abcdefgh", "abcdefghi", "abcdefghi\0", "é", "\0", "b"]), min_size=1)
)
def test_maps_of_as_many_keys_in_other_orders(orders: list[list[str]]) -> None:
    agree_on_rows(*(msgpack.packb(dict.fromkeys(order, 1)) for order in orders))
    agree("json_to_words", json.dumps([dict.fromkeys(order, 1) for order in orders]).encode())


@pytest.mark.parametrize("count", [2, 24, 25, 40])
def test_a_key_that_stands_twice_is_refused_wherever_it_is(count: int) -> None:
    keys = [f"{(i * 7919) % 10007:05}" for i in range(count - 1)]
    for place in (0, count // 2, count - 1):
        twice = [*keys[:place], keys[-1], *keys[place:]]
        pairs = b"".join(msgpack.packb(key) + b"\x01" for key in twice)
        head = bytes([0x80 | count]) if count < 16 else b"\xde" + count.to_bytes(2)
        agree_on_rows(msgpack.packb(dict.fromkeys(map(str, range(count)))), head + pairs)


@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_an_array_is_put_together_of_words(count: int) -> None:
    assert forms.array_of([codec.encode(count)] * count).words == codec.encode([count] * count)


def test_the_count_of_a_long_array_has_a_word_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert forms._LONG == 2**24 - 1
    monkeypatch.setattr(forms, "_LONG", 3)
    assert forms.array_of([b""] * 2).words == b"\x09\x02\x00\x00"
    assert forms.array_of([b"abcd"] * 3).words == b"\x09\x03\x00\x00\x03\x00\x00\x00" + b"abcd" * 3


def test_a_token_does_not_leave() -> None:
    words = codec.encode(Token("secret"), token=lambda token: b"handle")
    agree_on_words(words)
    assert outcome(forms.words_to_json, words)[0] == "CodecError"


@needs_c
@pytest.mark.parametrize(
    "value",
    [None, True, -5, 2**40, 1.5, float("nan"), "é\n", Ref("x"), b"\x00\x01", [1, [2]], {"b": 1, "a": {"_rmx_type": "note"}},
     ok({"a": Ref("b")}), Case("red"), {"_rmx_type": "{tag}x"}],
)  # fmt: skip
def test_what_is_common_takes_one_walk(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words, packed = codec.encode(value), msgpack_values.pack(value)
    sorted_pack = msgpack_values.pack(codec.decode(words))
    text = tagged_json.dumps(codec.decode(words)).encode()
    in_its_order = tagged_json.dumps(value).encode()
    array = codec.encode([None])[:4]
    rare_in_json = b"{tag}bin" in text or b"{tag}nan" in text or b"{str}" in text

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("it went by way of the value")

    for module, name in (
        (codec, "encode"),
        (codec, "decode"),
        (tagged_json, "loads"),
        (tagged_json, "dumps"),
        (msgpack_values, "pack"),
        (msgpack_values, "unpack"),
    ):
        monkeypatch.setattr(module, name, never)
    assert forms.words_to_json(words) == text
    assert forms.words_to_msgpack(words) == sorted_pack
    assert forms.rows_to_words(packed, 1) == array + words
    assert forms.rows_to_json(packed * 2, 2, b",") == in_its_order + b"," + in_its_order
    if not rare_in_json:
        assert forms.json_to_words(text) == words
