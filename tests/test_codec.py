"""The u32 codec: both implementations against the shared vectors, each other, and hostile words."""

from __future__ import annotations

import array
import contextlib
import gc
import json
import math
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixkit import _codec as fast
from mixkit import _codec_py as reference
from mixkit import codec, tagged_json
from mixkit.errors import CodecError, ValueKindError
from mixkit.testing.strategies import identical, values
from mixkit.value import MAX_DEPTH, UNDEF, Case, Ref, Token, ok

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "vectors" / "codec.json").read_text())

both = pytest.mark.parametrize("impl", [reference, fast], ids=["Python", "C"])


def outcome(call: Callable[[], Any]) -> Any:
    """The answer, or what there is to say about the error."""
    try:
        return call()
    except (CodecError, ValueKindError) as exc:
        return type(exc), str(exc), vars(exc)


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    return value


def parts(value: Any) -> int:
    """How many values a value is, keys and names of cases included."""
    if isinstance(value, list):
        return 1 + sum(map(parts, value))
    if isinstance(value, dict):
        return 1 + sum(1 + parts(part) for part in value.values())
    if isinstance(value, Case):
        return 2 + (0 if value.arg is UNDEF else parts(value.arg))
    return 1


# ---------------------------------------------------------------------------------------------------- vectors


@both
@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_valid_vector(impl: ModuleType, vector: dict[str, Any]) -> None:
    value, octets = tagged_json.from_json(vector["value"]), bytes.fromhex(vector["hex"])
    assert impl.encode(value) == octets
    assert identical(impl.decode(octets), value)


@both
@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_invalid_vector(impl: ModuleType, vector: dict[str, Any]) -> None:
    with pytest.raises(CodecError) as caught:
        impl.decode(bytes.fromhex(vector["hex"]))
    assert caught.value.offset == vector["offset"]
    assert str(caught.value).endswith(f" at word {vector['offset']}")


def test_vectors_are_what_the_reference_writes() -> None:
    script = HERE / "vectors" / "make_codec.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


# -------------------------------------------------------------------------------------- the two agree, always


@given(values())
def test_round_trip_through_every_pair(value: Any) -> None:
    octets = reference.encode(value)
    assert fast.encode(value) == octets
    assert identical(fast.decode(octets), value)
    assert identical(reference.decode(octets), value)


@given(values(), st.data())
def test_both_say_the_same_of_damaged_words(value: Any, data: st.DataObject) -> None:
    octets = bytearray(reference.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at] = data.draw(st.sampled_from([0, 1, 9, 10, 11, 12, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    cut = data.draw(st.integers(0, len(octets)) | st.just(len(octets)))
    same_outcome(bytes(octets[:cut]))


@given(st.lists(st.integers(0, 13) | st.sampled_from([0x109, 0x10A, 0x106, 0x20B, 0xFFFFFF09, 0xFFFFFFFF])))
@example([0xFFFFFF06, 0xFFFFFF])
def test_both_say_the_same_of_any_words(numbers: list[int]) -> None:
    same_outcome(words(*numbers))


def same_outcome(octets: bytes) -> None:
    ours = outcome(lambda: fast.decode(octets))
    theirs = outcome(lambda: reference.decode(octets))
    if isinstance(ours, tuple):
        assert ours == theirs
    else:
        assert identical(ours, theirs)
        assert fast.encode(ours) == octets, "accepted, but not canonical"


@given(
    values(tokens=True) | st.recursive(st.none() | st.just(UNDEF) | st.just(2**63), st.lists, max_leaves=9)
)
def test_both_say_the_same_of_what_cannot_be_encoded(value: Any) -> None:
    assert outcome(lambda: fast.encode(value)) == outcome(lambda: reference.encode(value))


@given(
    values(tokens=True) | st.dictionaries(st.text(st.characters(), max_size=2), st.floats() | st.just(UNDEF))
)
def test_both_scan_the_same(value: Any) -> None:
    assert fast.scan(value) == reference.scan(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": [1, 1.5, "x", None, True]}, 0),
        ([{"_rmx_type": 1}], reference.MARKED),
        ([Ref("a"), ok(b"")], reference.LINKED | reference.SPECIAL),
        (Case("db.ref"), reference.SPECIAL),
        ([math.inf], reference.SPECIAL),
        ([Token("x")], reference.GUARDED),
        (UNDEF, reference.GUARDED),
        ([b"", UNDEF], reference.INVALID),
        ({1: b""}, reference.INVALID),
        (["\ud800\uffff"], reference.INVALID),
        (Ref("\U00010000\udfff"), reference.INVALID),
        (nested(MAX_DEPTH + 1, lambda part: {"a": part}), reference.INVALID),
    ],
)
@both
def test_scan(impl: ModuleType, value: Any, found: int) -> None:
    assert impl.scan(value) == found


# ----------------------------------------------------------------------------------------------------- encode

REFUSED: list[tuple[Any, str]] = [
    (object(), "$"),
    ({"b": [1, (2,)], "a": 1}, "$.b[1]"),
    ([True, 2**63], "$[1]"),
    ([-(2**63) - 1], "$[0]"),
    ({"k": "\udc00"}, "$.k"),
    ({"\ud800": 1}, "$"),
    ([Ref("\ud800")], "$[0]"),
    (Case("\ud800", 1), "$"),
    ([UNDEF], "$[0]"),
    ({"items": [0, 1, 2, {"when": UNDEF}]}, "$.items[3].when"),
    (ok([None, UNDEF]), "$.ok[1]"),
    ({"a": {1: 2}}, "$.a"),
    ([Token("x")], "$[0]"),
    (bytearray(b"x"), "$"),
    (type("Sub", (str,), {})(), "$"),
]


@both
@pytest.mark.parametrize(("value", "path"), REFUSED)
def test_encode_refuses_with_the_path(impl: ModuleType, value: Any, path: str) -> None:
    with pytest.raises(ValueKindError) as caught:
        impl.encode(value)
    assert caught.value.path == path


@both
@pytest.mark.parametrize(
    "wrap", [lambda part: [part], lambda part: {"a": part}, ok], ids=["array", "map", "case"]
)
def test_depth_limit_is_exact(impl: ModuleType, wrap: Callable[[Any], Any]) -> None:
    deepest = nested(MAX_DEPTH, wrap)
    assert identical(impl.decode(impl.encode(deepest)), deepest)
    with pytest.raises(ValueKindError, match="nesting above 256"):
        impl.encode(wrap(deepest))


@both
def test_the_deepest_value_passes_from_a_deep_stack(impl: ModuleType) -> None:
    deepest = nested(MAX_DEPTH, lambda part: [part])
    seen: list[bool] = []

    def work(frames: int) -> None:
        if frames:
            work(frames - 1)
        else:
            seen.append(identical(impl.decode(impl.encode(deepest)), deepest) and impl.scan(deepest) == 0)

    # A server's own frames, on a thread of its own because pytest's would come on top.
    thread = threading.Thread(target=work, args=(200,))
    thread.start()
    thread.join()
    assert seen == [True]


@both
def test_a_cycle_is_refused(impl: ModuleType) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = [loop]
    with pytest.raises(ValueKindError, match="nesting above 256"):
        impl.encode(loop)


@both
def test_every_nan_becomes_the_canonical_one(impl: ModuleType) -> None:
    for bits in (0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001):
        (nan,) = struct.unpack("<d", struct.pack("<Q", bits))
        assert impl.encode(nan) == words(5, 0, 0x7FF80000)


@both
@pytest.mark.parametrize("length", [2**24 - 2, 2**24 - 1, 2**24])
def test_lengths_around_the_long_form(impl: ModuleType, length: int) -> None:
    octets = impl.encode(b"x" * length)
    head = words(8 | length << 8) if length < 2**24 - 1 else words(0xFFFFFF08, length)
    assert octets.startswith(head + b"x")
    assert impl.decode(octets) == b"x" * length


def test_many_keys_are_sorted_by_their_bytes() -> None:
    entries = {chr(code): code for code in range(0x10FFFF, 0, -977) if not 0xD800 <= code < 0xE000}
    entries |= {f"{number:x}" * (number % 5 + 1): number for number in range(500)}
    octets = fast.encode(entries)
    assert octets == reference.encode(entries)
    assert list(fast.decode(octets)) == sorted(entries, key=str.encode)


@both
def test_arguments_are_checked(impl: ModuleType) -> None:
    for call in (impl.encode, impl.decode):
        for args, kwargs in (((), {}), ((b"", b""), {}), ((b"",), {"tokens": None}), ((), {"token": None})):
            with pytest.raises(TypeError):
                call(*args, **kwargs)
    with pytest.raises(TypeError):
        impl.decode("text")


# ----------------------------------------------------------------------------------------------------- decode


@both
def test_decode_reads_any_contiguous_buffer_in_place(impl: ModuleType) -> None:
    octets = impl.encode({"a": [1, "x"]})
    shifted = memoryview(b"?" + octets)[1:]
    for buffer in (octets, bytearray(octets), memoryview(octets), shifted, array.array("I", octets)):
        assert impl.decode(buffer) == {"a": [1, "x"]}
    with pytest.raises(BufferError):
        impl.decode(memoryview(octets + octets)[::2])


@both
def test_decoded_values_do_not_keep_the_buffer(impl: ModuleType) -> None:
    buffer = bytearray(impl.encode([b"abcd", "efgh"]))
    value = impl.decode(buffer)
    buffer[:] = bytes(len(buffer))
    buffer.append(0)  # a view still open would make this a BufferError
    assert value == [b"abcd", "efgh"]


@both
@pytest.mark.parametrize(
    "fault", [(0xFF,), (0x106, 0xFF), (0x106, 0x6161), (0x10A, 0x106, 0xFF, 0), (4, 0, 0)]
)
def test_a_refused_buffer_is_let_go(impl: ModuleType, fault: tuple[int, ...]) -> None:
    buffer = bytearray(words(0x109, *fault))
    with pytest.raises(CodecError) as caught:
        impl.decode(buffer)
    buffer.append(0)  # while `caught` holds the traceback and its frames
    assert caught.value.offset >= 1


@both
def test_nested_counts_cannot_multiply_memory(impl: ModuleType) -> None:
    size = 50_000
    # Each of 200 nested arrays promises nearly all the words there are: prepaid, it would be 80 MB.
    bomb = b"".join(words(9 | (size - 300) << 8) for _ in range(200)) + words(1) * (size - 200)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError) as caught:
            impl.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(bomb)
    finally:
        tracemalloc.stop()
    assert caught.value.offset == 1


@both
def test_cached_keys_are_not_mixed_up(impl: ModuleType) -> None:
    for number in range(5_000):
        for key in (f"k{number}", f"é{number}", "k" * (number % 40), f"{number:\x00>9}"):
            assert impl.decode(impl.encode({key: number})) == {key: number}


# ----------------------------------------------------------------------------------------------------- tokens


@both
def test_tokens_cross_as_handles(impl: ModuleType) -> None:
    secret = Token("hunter2")
    octets = impl.encode({"t": [secret]}, token=lambda token: b"h1" if token is secret else b"?")
    assert octets == words(0x10A, 0x106, 0x74, 0x109, 0x20C, 0x3168)
    assert b"hunter2" not in octets
    back = impl.decode(octets, token=lambda handle: secret if handle == b"h1" else None)
    assert back["t"][0] is secret


@both
def test_tokens_need_a_hook_that_knows_them(impl: ModuleType) -> None:
    octets = words(0x109, 0x10C, 0x31)
    for hook, message in ((None, "may not cross here"), (lambda handle: None, "does not exist")):
        with pytest.raises(CodecError, match=message) as caught:
            impl.decode(octets, token=hook)
        assert caught.value.offset == 1
    with pytest.raises(TypeError, match="answers a Token or None, not bytes"):
        impl.decode(octets, token=lambda handle: handle)
    with pytest.raises(TypeError, match="answers bytes, not str"):
        impl.encode(Token("x"), token=lambda token: "x")


@both
def test_errors_of_hooks_pass(impl: ModuleType) -> None:
    def fail(_: object) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        impl.encode({"a": [1, Token("x")]}, token=fail)
    with pytest.raises(ZeroDivisionError):
        impl.decode(words(0x109, 0xC), token=fail)


def test_a_hook_that_changes_the_value_does_no_harm() -> None:
    def clear(part: Any) -> Callable[[Token], bytes]:
        def hook(_: Token) -> bytes:
            part.clear()
            gc.collect()
            return b""

        return hook

    items: list[Any] = [[Token("x")], *(str(number) * 50 for number in range(99))]
    with pytest.raises(ValueKindError, match="changed while it was being encoded"):
        fast.encode(items, token=clear(items))
    entries: dict[str, Any] = {f"k{number}": [Token("x"), "y" * 50] for number in range(99)}
    assert len(fast.decode(fast.encode(entries, token=clear(entries)), token=Token)) == 99


# ------------------------------------------------------------------------------------------------ house rules


def test_the_fast_one_is_used() -> None:
    assert codec.implementation == "C"
    assert codec.encode is fast.encode


def test_the_reference_steps_in_without_the_extension() -> None:
    program = (
        "import sys; sys.modules['mixkit._codec'] = None\n"
        "from mixkit import codec, _codec_py\n"
        "assert codec.implementation == 'Python' and codec.decode is _codec_py.decode\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_nothing_leaks() -> None:
    # Long and non-ASCII keys are not kept in the cache, so a lost reference to one is lost memory.
    value = {
        "k" * 40: [{"é": "x" * 50}],
        "a": [1, 2**40, 1.5, "é", b"x", Ref("r"), Case("c", {"k": UNDEF is None}), ok(None)],
    }
    octets = fast.encode(value)
    damaged = [
        octets[:-4],
        octets + octets,
        bytes([13, 0, 0, 0]),
        words(0x20A, 6, 1, 6, 1),
        words(0x10B, 6, 0),
    ]

    def work() -> None:
        fast.decode(octets)
        fast.encode(value)
        outcome(lambda: fast.encode([value, object()]))
        outcome(lambda: fast.encode([value, Token("x")]))
        for buffer in damaged:
            outcome(lambda buffer=buffer: fast.decode(buffer))  # type: ignore[misc]

    for _ in range(20):
        work()
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            work()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------- count


@both
@given(values())
def test_values_are_counted_without_being_made(impl: ModuleType, value: Any) -> None:
    assert impl.count(fast.encode(value)) == parts(value)


@given(st.binary(max_size=400))
def test_any_bytes_can_be_counted(octets: bytes) -> None:
    assert reference.count(octets) == fast.count(octets) <= len(octets) // 4


@both
def test_lengths_in_words_of_their_own_are_counted(impl: ModuleType) -> None:
    long = 2**24 - 1
    assert impl.count(fast.encode(["x" * long, 1, "y"])) == 4
    assert impl.count(words(0xFFFFFF00 | 9, long)) == 1, "cut off behind the count"


@pytest.mark.skipif(codec.implementation != "C", reason="the interpreter switches threads by itself")
@pytest.mark.parametrize("shape", ["lists", "maps"])
def test_other_threads_run_while_much_is_coded(shape: str) -> None:
    """A server's event loop is one of them."""
    value = [[] for _ in range(300_000)] if shape == "lists" else {f"{n:07}": {} for n in range(150_000)}
    turns, done = 0, threading.Event()

    def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            done.wait(0.0001)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    thread = threading.Thread(target=count)
    thread.start()

    def turns_during(call: Callable[[], Any]) -> int:
        before = turns
        call()
        return turns - before

    words = fast.encode(value)
    try:
        # One turn may come of the call's end; and a busy machine gives the other thread none for a while.
        for call in (lambda: fast.encode(value), lambda: fast.decode(words)):
            assert any(turns_during(call) > 1 for _ in range(200))
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_a_list_that_changes_while_it_is_encoded_harms_nothing() -> None:
    value: list[Any] = [[1] for _ in range(50_000)]
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            del value[100:]
            value.extend([{"a": [2]}] for _ in range(40_000))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            with contextlib.suppress(ValueKindError, CodecError):
                codec.decode(fast.encode(value))
    finally:
        done.set()
        thread.join()
