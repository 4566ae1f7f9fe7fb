"""The pool of instances, with a real engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import wasmtime
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.errors import EngineError, GuestError
from mixkit.limits import Limits
from mixkit.vm.idle import IdleInstances
from mixkit.vm.pool import InstancePool

COUNTER = """(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
  (func (export "bump") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) global.get $n)
  (func (export "boom") unreachable)
  (func (export "grow") (drop (memory.grow (i32.const 1)))))"""
TABLE = """(module (table 1 funcref) (func (export "bump") (result i32) i32.const 1)
  (func (export "hide") (table.set (i32.const 0) (ref.null func))))"""


def make(wat: str, size: int = 2) -> InstancePool:
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    return InstancePool(
        engine,
        engine.compile(bytes(wasmtime.wat2wasm(wat))),
        Limits(),
        {},
        size,
        IdleInstances(1 << 29, 1000),
    )


@pytest.fixture
def pool() -> Iterator[InstancePool]:
    pool = make(COUNTER)
    yield pool
    pool.close()


def test_an_instance_is_reused_and_comes_back_clean(pool: InstancePool) -> None:
    first = pool.acquire()
    first.owner = object()
    assert first.call("bump") == 1
    pool.release(first)
    assert len(pool) == 1
    second = pool.acquire()
    assert second is first
    assert second.owner is None
    assert second.call("bump") == 1


def test_an_instance_has_one_user(pool: InstancePool) -> None:
    assert pool.acquire() is not pool.acquire()


def test_a_snapshot_is_given_to_fresh_and_to_used_instances(pool: InstancePool) -> None:
    instance = pool.acquire()
    instance.call("bump")
    instance.call("bump")
    snapshot = instance.freeze()
    pool.release(instance)
    for _ in range(2):
        instance = pool.acquire(snapshot)
        assert instance.call("bump") == 3
    assert pool.acquire().call("bump") == 1


def test_what_failed_is_thrown_away(pool: InstancePool) -> None:
    instance = pool.acquire()
    with pytest.raises(GuestError):
        instance.call("boom")
    pool.release(instance, healthy=False)
    assert len(pool) == 0
    with pytest.raises(EngineError, match="closed"):
        instance.call("bump")
    assert pool.acquire().call("bump") == 1


def test_what_failed_is_not_reused_even_if_called_healthy(pool: InstancePool) -> None:
    instance = pool.acquire()
    with pytest.raises(GuestError):
        instance.call("boom")
    pool.release(instance)
    assert pool.acquire() is not instance


@pytest.mark.parametrize("spoil", ["grow", "hide"])
def test_what_cannot_be_restored_is_replaced(spoil: str) -> None:
    pool = make(COUNTER if spoil == "grow" else TABLE)
    first = pool.acquire()
    first.call(spoil)
    pool.release(first)
    second = pool.acquire()
    assert second is not first
    assert second.call("bump") == 1
    pool.close()


def test_no_more_than_size_wait(pool: InstancePool) -> None:
    instances = [pool.acquire() for _ in range(4)]
    for instance in instances:
        pool.release(instance)
    assert len(pool) == 2
    assert len(make(COUNTER, 0)) == 0


def test_a_foreign_snapshot_loses_no_instance(pool: InstancePool) -> None:
    other = make("(module (memory 1))")
    snapshot = other.acquire().freeze()
    with pytest.raises(EngineError):
        pool.acquire(snapshot)
    assert len(pool) == 0
    assert pool.acquire().call("bump") == 1


def test_after_close_what_is_released_is_freed(pool: InstancePool) -> None:
    instance, idle = pool.acquire(), pool.acquire()
    pool.release(idle)
    pool.close()
    pool.release(instance)
    assert len(pool) == 0
    for closed in (instance, idle):
        with pytest.raises(EngineError, match="closed"):
            closed.call("bump")


def test_threads_share_a_pool(pool: InstancePool) -> None:
    answers: list[object] = []

    def work() -> None:
        for _ in range(200):
            instance = pool.acquire()
            answers.append(instance.call("bump"))
            pool.release(instance)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1] * 1200
