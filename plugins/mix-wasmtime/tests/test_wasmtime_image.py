"""Instances that share the pages of a large snapshot: each sees its own bytes, and holds what it has written."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path

import pytest
import wasmtime
from mix_wasmtime import _native
from mix_wasmtime.engine import Instance, Module, WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.errors import EngineError
from mixkit.limits import Limits
from mixkit.testing.descriptors import descriptors
from mixkit.vm.frozen import Snapshot

MIB = 1 << 20
PAGES = 160
SIZE = PAGES * 65536
GUEST = f"""(module (memory (export "memory") {PAGES}) (memory (export "small") 1)
  (data (i32.const 5) "first") (data (i32.const {SIZE - 4}) "last")
  (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "other") (param i32) (i32.store 1 (i32.const 0) (local.get 0))))"""


@pytest.fixture(scope="module")
def engine() -> WasmtimeEngine:
    return WasmtimeEngine(WasmtimeSettings(cache_dir="off"))


@pytest.fixture(scope="module")
def module(engine: WasmtimeEngine) -> Module:
    return engine.compile(bytes(wasmtime.wat2wasm(GUEST)))


def made(engine: WasmtimeEngine, module: Module) -> Instance:
    return engine.instantiate(module, Limits(), {})


def frozen(
    engine: WasmtimeEngine, module: Module, begin: int, byte: int, size: int
) -> tuple[Snapshot, bytes]:
    """A snapshot with so many bytes that are not zero, and what the memory is then."""
    instance = made(engine, module)
    instance.call("fill", begin, byte, size)
    instance.call("other", byte)
    snapshot = instance.freeze()
    assert snapshot is not None
    return snapshot, bytes(instance.memory())


def test_whatever_was_there_before_each_is_what_its_snapshot_says(
    engine: WasmtimeEngine, module: Module
) -> None:
    seed = random.randrange(1 << 30)
    order = random.Random(seed)
    fresh = bytes(made(engine, module).memory())
    states: list[tuple[Snapshot | None, bytes]] = [
        (None, fresh),
        frozen(engine, module, 100, 1, 5 * MIB),
        frozen(engine, module, 2 * MIB + 7, 2, 8 * MIB - 100_000),
        frozen(engine, module, 3 * MIB, 3, MIB),
    ]
    assert [getattr(snapshot, "image", None) is not None for snapshot, _ in states] == [
        False,
        True,
        True,
        False,
    ]
    instances = [made(engine, module) for _ in range(3)]
    for turn in range(60):
        instance = order.choice(instances)
        snapshot, expected = order.choice(states)
        assert instance.reset(snapshot), seed
        assert bytes(instance.memory()) == expected, (seed, turn)
        at = order.randrange(SIZE - MIB)
        instance.call("fill", at, 9, order.choice((1, 5000, MIB)))
        assert instance.read(at, 1) == b"\x09"


def test_what_one_writes_no_other_sees(engine: WasmtimeEngine, module: Module) -> None:
    snapshot, expected = frozen(engine, module, 0, 1, 6 * MIB)
    one, other = made(engine, module), made(engine, module)
    for instance in (one, other):
        assert instance.reset(snapshot)
    one.write(MIB, b"mine")
    view = one.memory()
    assert bytes(other.memory()) == expected
    assert one.reset(snapshot)
    assert bytes(view) == expected
    again = one.freeze()
    assert again is not None
    assert again.to_bytes() == snapshot.to_bytes()
    assert other.reset(engine.load_snapshot(snapshot.to_bytes()))
    assert bytes(other.memory()) == expected


def test_a_memory_that_has_grown_behind_it_is_its_own(engine: WasmtimeEngine, module: Module) -> None:
    snapshot, _ = frozen(engine, module, 0, 1, 6 * MIB)
    instance = made(engine, module)
    assert instance.reset(snapshot)
    instance.grow(3)
    assert instance.read(SIZE, 3 * 65536) == bytes(3 * 65536)
    instance.write(SIZE + 10, b"grown")
    assert not instance.reset(snapshot)


def test_those_that_wait_hold_little(engine: WasmtimeEngine, module: Module) -> None:
    snapshot, _ = frozen(engine, module, 0, 1, 8 * MIB)
    instances = [made(engine, module) for _ in range(2)]
    for instance in instances:
        assert instance.reset(snapshot)
    before, files = _own(), _files()
    for _ in range(16):
        instances.append(made(engine, module))
        assert instances[-1].reset(snapshot)
        instances[-1].call("fill", MIB, 7, 4096)
    assert _own() - before < 16 * 2 * MIB
    assert _files() == files
    assert all(instance.footprint()[1] >= 6 for instance in instances)


def test_its_file_goes_with_the_snapshot_and_memories_stay(engine: WasmtimeEngine, module: Module) -> None:
    files = _files()
    snapshot, expected = frozen(engine, module, 0, 1, 6 * MIB)
    assert _files() == files + 1
    instance = made(engine, module)
    assert instance.reset(snapshot)
    del snapshot
    assert _files() == files
    assert bytes(instance.memory()) == expected


def test_a_fork_goes_on_with_its_own(engine: WasmtimeEngine, module: Module) -> None:
    snapshot, expected = frozen(engine, module, 0, 1, 6 * MIB)
    instance = made(engine, module)
    assert instance.reset(snapshot)
    pid = os.fork()
    if pid == 0:
        instance.write(MIB, b"child")
        good = (
            instance.read(MIB, 5) == b"child"
            and instance.reset(snapshot)
            and bytes(instance.memory()) == expected
        )
        os._exit(0 if good else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert bytes(instance.memory()) == expected


def test_an_image_of_another_state_is_refused(engine: WasmtimeEngine, module: Module) -> None:
    snapshot, _ = frozen(engine, module, 0, 1, 6 * MIB)
    small = engine.compile(bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (memory 1))')))
    instance = made(engine, small)
    state = instance.get_state()
    with pytest.raises(EngineError, match="image is of another state"):
        instance.set_state(state, snapshot.image)
    with pytest.raises(TypeError):
        instance.set_state(state, 5)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="do not add up"):
        _native.Image((((65536, b"", b"x"),), b""))


def _files() -> int:
    """Files behind snapshots; those that other tests have left to the collector are gone first."""
    gc.collect()
    return len(descriptors("memfd:mixkit-image"))


def _own() -> int:
    """Bytes of pages that are this process's alone."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024
