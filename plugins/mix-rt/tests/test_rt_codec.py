"""The machine's codec, by the vectors that every implementation passes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_rt.errors import QCodeError
from mix_rt.vm import Virtual

from mixkit import codec
from mixkit.errors import CodecError
from mixkit.value import Case, Ref

VECTORS = json.loads((Path(__file__).parents[3] / "tests" / "vectors" / "codec.json").read_text())

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary()
    | st.text().map(Ref)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=70) | st.dictionaries(st.text(max_size=3), inner, max_size=40)
        | st.builds(Case, st.text(max_size=5), inner)
    ),
    max_leaves=150,
)  # fmt: skip


def test_valid(native: Callable[[], Virtual]) -> None:
    virtual = native()
    for vector in VECTORS["valid"]:
        words = bytes.fromhex(vector["hex"])
        assert virtual.echo(words) == words, vector["name"]


def test_invalid(native: Callable[[], Virtual]) -> None:
    virtual = native()
    for vector in VECTORS["invalid"]:
        with pytest.raises(QCodeError) as raised:
            virtual.echo(bytes.fromhex(vector["hex"]))
        found = re.match(r"word (\d+): ", str(raised.value))
        assert found is not None and int(found[1]) == vector["offset"], vector["name"]


def test_random_values_come_back(native: Callable[[], Virtual]) -> None:
    virtual = native()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(values)
    def check(value: object) -> None:
        words = codec.encode(value)
        assert virtual.echo(words) == words

    check()


def test_broken_words_are_refused_at_the_same_word(native: Callable[[], Virtual]) -> None:
    virtual = native()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(values, st.data())
    def check(value: object, data: st.DataObject) -> None:
        words = bytearray(codec.encode(value))
        words[data.draw(st.integers(0, len(words) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        try:
            codec.decode(bytes(words))
        except CodecError as exc:
            with pytest.raises(QCodeError, match=f"^word {exc.offset}: "):
                virtual.echo(bytes(words))
        else:
            assert virtual.echo(bytes(words)) == bytes(words)

    check()
