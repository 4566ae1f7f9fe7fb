"""The codec of the C library gives the reference's answer for every buffer, inside the engine."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixkit import _codec_py as reference
from mixkit.errors import CodecError
from mixkit.testing.strategies import values
from mixkit.value import UNDEF, Case, Ref, Token

VECTORS = json.loads((Path(__file__).parents[3] / "tests" / "vectors" / "codec.json").read_text())


@pytest.fixture(scope="module")
def echo(make_guest: Callable[[str], Any]) -> Any:
    return make_guest("echo")


def expected(words: bytes) -> bytes | int:
    """What the guest's entry `words` must answer: the same words, or the offset of the fault.

    A guest may hold tokens, so the reference reads them too.
    """
    try:
        reference.decode(words, token=Token)
    except CodecError as exc:
        return exc.offset
    return words


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: str(vector["name"]))
def test_valid_vector(echo: Any, vector: dict[str, Any]) -> None:
    words = bytes.fromhex(vector["hex"])
    assert echo.call("words", words) == words


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: str(vector["name"]))
def test_invalid_vector(echo: Any, vector: dict[str, Any]) -> None:
    words = bytes.fromhex(vector["hex"])
    # What is refused only because no Token may cross at the reference's place is a value for a guest.
    assert echo.call("words", words) == (vector["offset"] if expected(words) != words else words)


@settings(max_examples=300, deadline=None)
@given(values())
def test_any_value_comes_back(echo: Any, value: Any) -> None:
    words = reference.encode(value)
    assert echo.call_words("echo", words) == words


@settings(max_examples=300, deadline=None)
@given(values(), st.randoms(use_true_random=False))
def test_damaged_words_are_refused_at_the_same_word(echo: Any, value: Any, rng: random.Random) -> None:
    words = bytearray(reference.encode(value))
    for _ in range(rng.randint(1, 3)):
        match rng.randrange(4):
            case 0:
                words[rng.randrange(len(words))] = rng.randrange(256)
            case 1:
                at = rng.randrange(0, len(words), 4)
                words[at : at + 4] = struct.pack(
                    "<I", rng.randrange(13) | rng.choice([0, 1, 2, 0xFFFFFF]) << 8
                )
            case 2 if len(words) > 4:
                del words[-4:]
            case _:
                words += rng.choice([b"\1\0\0\0", b"\0", bytes(words[:4])])
    assert echo.call("words", bytes(words)) == expected(bytes(words))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 0xFFFFFFFF) | st.integers(0, 12).map(lambda tag: tag | 1 << 8), max_size=12))
def test_random_words(echo: Any, words: list[int]) -> None:
    packed = struct.pack(f"<{len(words)}I", *words)
    assert echo.call("words", packed) == expected(packed)


@pytest.mark.parametrize("kind", [9, 11])
@pytest.mark.parametrize("depth", [255, 256, 257, 100_000])
def test_depth(echo: Any, kind: int, depth: int) -> None:
    layer = struct.pack("<I", 9 | 1 << 8) if kind == 9 else struct.pack("<II", 11 | 1 << 8, 6)
    packed = layer * depth + struct.pack("<I", 1)
    answer = echo.call("words", packed)
    assert answer == (packed if depth <= 256 else 257 * len(layer) // 4)


@pytest.mark.parametrize("size", [0xFFFFFE, 0xFFFFFF, 0x1000000])
def test_long_forms(echo: Any, size: int) -> None:
    words = reference.encode(b"x" * size)
    assert echo.call_words("echo", words) == words
    assert len(echo.call("many", size)) == size


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=60), st.randoms(use_true_random=False))
def test_keys_are_sorted_for_the_author(echo: Any, pairs: dict[str, int], rng: random.Random) -> None:
    pairs = {key: value % 2**63 for key, value in pairs.items()}
    shuffled = list(pairs.items())
    rng.shuffle(shuffled)
    answer = echo.call("map", [list(pair) for pair in shuffled])
    assert answer == pairs and list(answer) == sorted(pairs)


def test_large_map(echo: Any) -> None:
    pairs = [[f"key {i * 7919 % 50_000}", {"i": i}] for i in range(50_000)]
    assert echo.call("map", pairs) == {key: value for key, value in pairs}  # noqa: C416


def test_kinds_survive(echo: Any) -> None:
    value = [None, True, 2**62, -(2**23), -(2**23) - 1, -0.0, Ref("r"), b"\0", Case("c"), Case("d", [1.5])]
    assert echo.call_words("echo", reference.encode(value)) == reference.encode(value)
    assert echo.call("same", UNDEF) is UNDEF
    words = reference.encode(Token("secret"), token=lambda token: b"handle!")
    assert echo.call_words("echo", words) == words


@settings(max_examples=500, deadline=None)
@given(
    st.binary(max_size=40)
    | st.lists(
        st.sampled_from([b"\xf0\x90", b"\xed\xa0\x80", b"a" * 17, b"\xe2\x82", b"\xff", "é€😀".encode()])
    ).map(b"".join)
)
def test_clean_replaces_as_python_does(echo: Any, data: bytes) -> None:
    assert echo.call("clean", data) == data.decode("utf-8", "replace")
