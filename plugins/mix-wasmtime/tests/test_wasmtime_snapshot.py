"""The state that goes between Python and C: what does not add up is refused before anything is written."""

from __future__ import annotations

import itertools
import os
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import wasmtime
from mix_wasmtime.engine import Instance, WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.errors import EngineError
from mixkit.limits import Limits
from mixkit.vm.frozen import load_snapshot

PAGE = 65536


@pytest.fixture
def instance() -> Instance:
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    module = engine.compile(bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1))')))
    return engine.instantiate(module, Limits(), {})


def runs(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<QQ", *pair) for pair in pairs)


def test_the_state_is_what_is_not_zero(instance: Instance) -> None:
    instance.write(8, b"abcdefgh")
    instance.write(40_000, b"x")
    state = instance.get_state()
    assert state == (((PAGE, runs((8, 8), (40_000, 8)), b"abcdefghx" + bytes(7)),), b"")
    assert instance.set_state(state)


@pytest.mark.parametrize(
    "memory",
    [
        (PAGE + 1, b"", b""),
        (-PAGE, b"", b""),
        (PAGE, b"x", b"x"),
        (PAGE, b"", b"x"),
        (PAGE, runs((0, 1)), b""),
        (PAGE, runs((0, 1)), b"xy"),
        (PAGE, runs((PAGE, 1)), b"x"),
        (PAGE, runs((PAGE - 1, 2)), b"xy"),
        (PAGE, runs((4, 2), (5, 2)), b"abcd"),
        (PAGE, runs((4, 2), (0, 2)), b"abcd"),
        (PAGE, runs((2**64 - 1, 2)), b"ab"),
        (PAGE, runs((0, 2**64 - 1), (0, 3)), b"ab"),
    ],
)
def test_runs_that_do_not_add_up_are_refused(instance: Instance, memory: tuple[int, bytes, bytes]) -> None:
    instance.write(0, b"before")
    with pytest.raises(EngineError, match="do not add up"):
        instance.set_state(((memory,), b""))
    assert instance.read(0, 6) == b"before"


@pytest.mark.parametrize("kept", [(), (0, 1), (1000,), (70_001, 900_003), (65_535, 800_000, 20 * PAGE - 1)])
def test_all_that_was_zero_is_zero_again(kept: tuple[int, ...]) -> None:
    """Whichever way the stretches between what is kept are cleared: written, given back, or some of both."""
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    module = engine.compile(bytes(wasmtime.wat2wasm('(module (memory (export "memory") 20))')))
    instance = engine.instantiate(module, Limits(), {})
    for place in kept:
        instance.write(place, b"k")
    before, state = bytes(instance.memory()), instance.get_state()
    for _ in range(2):
        instance.memory()[:] = b"\xff" * (20 * PAGE)
        assert instance.set_state(state)
        assert bytes(instance.memory()) == before


def scattered(seed: int, pages: int = 30) -> tuple[Instance, bytes, Any, Iterator[tuple[int, bytes]]]:
    """A memory with some runs in it, what it is then, the state, and places in which little is written."""
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    module = engine.compile(bytes(wasmtime.wat2wasm(f'(module (memory (export "memory") {pages}))')))
    instance, order = engine.instantiate(module, Limits(), {}), random.Random(seed)
    for _ in range(5):
        instance.write(order.randrange(pages * PAGE - 20_000), order.randbytes(order.randrange(1, 20_000)))
    places = (
        (order.randrange(pages * PAGE - 9000), b"\xff" * order.choice((1, 9, 9000))) for _ in iter(int, 1)
    )
    return instance, bytes(instance.memory()), instance.get_state(), places


def test_where_a_run_has_written_little_all_is_as_before() -> None:
    """Pages of which the system says that nobody has touched them are not cleared."""
    seed = random.randrange(1 << 30)
    instance, before, state, places = scattered(seed)
    for turn in range(100):
        for place, data in itertools.islice(places, turn % 7):
            instance.write(place, data)
        assert instance.set_state(state)
        if turn % 10 == 9:
            # Not each time, since a page is touched by being read.
            assert bytes(instance.memory()) == before, (seed, turn)


def test_a_child_asks_for_pages_of_its_own() -> None:
    seed = random.randrange(1 << 30)
    instance, before, state, places = scattered(seed)
    assert instance.set_state(state) and instance.set_state(state)
    pid = os.fork()
    if pid == 0:
        for place, data in itertools.islice(places, 20):
            instance.write(place, data)
        os._exit(0 if instance.set_state(state) and bytes(instance.memory()) == before else 1)
    assert os.waitpid(pid, 0)[1] == 0, seed
    assert instance.set_state(state)
    assert bytes(instance.memory()) == before


def test_a_snapshot_in_bytes_keeps_its_runs(instance: Instance) -> None:
    instance.write(100, b"kept")
    instance.write(60_000, b"too")
    snapshot = instance.freeze()
    assert snapshot is not None
    loaded = load_snapshot(snapshot.to_bytes(), snapshot.version)
    assert loaded.state == snapshot.state
    assert loaded.size == snapshot.size < 100
