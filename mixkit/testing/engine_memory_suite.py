"""What every Wasm engine must do about memory that several instances of a run share, and about what waits."""

from __future__ import annotations

import gc
import threading

import pytest

from mixkit.contracts import WasmEngine
from mixkit.errors import LimitExceeded
from mixkit.limits import Limits, purse
from mixkit.testing.engine_suite import EngineFixtures, Make

__all__ = ["EngineMemorySuite"]

PAGE = 65536
GROWS = """(memory (export "memory") 1) (memory $second 1)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "grow_second") (param i32) (result i32) (memory.grow $second (local.get 0)))
  (func (export "demand") (param i32) (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then (unreachable))))
  (func (export "creep") (result i32) (local $n i32)
    (loop $more (br_if $more (i32.and
      (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
      (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100)))))
    (local.get $n))"""


class EngineMemorySuite(EngineFixtures):
    """Purses and footprints."""

    def test_a_purse_pays_for_what_there_is_and_what_comes(self, make: Make) -> None:
        instance, left = make(GROWS), purse(8 * PAGE)
        instance.charge(left)
        assert list(left) == [6 * PAGE, 0]
        assert instance.call("grow", 2) == 1
        assert instance.call("grow_second", 3) == 1
        assert list(left) == [1 * PAGE, 0]
        assert instance.call("grow", 2) == -1
        assert list(left) == [1 * PAGE, 1]

    def test_what_is_given_back_is_there_for_others(self, make: Make) -> None:
        one, other, left = make(GROWS), make(GROWS), purse(4 * PAGE)
        one.charge(left)
        one.call("grow", 2)
        with pytest.raises(LimitExceeded, match="memory"):
            other.charge(left)
        assert left[0] == 0
        one.charge(None)
        assert left[0] == 4 * PAGE
        other.charge(left)
        assert left[0] == 2 * PAGE
        other.close()
        other.close()
        assert left[0] == 4 * PAGE
        assert one.call("grow", 1) == 3, "it is bounded by its own limit alone now"

    def test_another_purse_takes_the_place_of_the_first(self, make: Make) -> None:
        instance, one, other = make(GROWS), purse(2 * PAGE), purse(5 * PAGE)
        instance.charge(one)
        instance.charge(other)
        assert (one[0], other[0]) == (2 * PAGE, 3 * PAGE)

    def test_the_own_limit_still_counts(self, make: Make) -> None:
        instance, left = make(GROWS, limits=Limits(memory=3 * PAGE)), purse(100 * PAGE)
        instance.charge(left)
        assert instance.call("grow", 2) == -1
        assert list(left) == [98 * PAGE, 0], "refused by its own limit, not for lack of money"

    def test_a_guest_that_ends_for_lack_of_it_names_the_limit(self, make: Make) -> None:
        instance = make(GROWS)
        instance.charge(purse(2 * PAGE))
        with pytest.raises(LimitExceeded, match="memory"):
            instance.call("demand", 1)

    def test_restored_memory_is_paid_for(self, make: Make) -> None:
        grown, small, left = make(GROWS), make(GROWS), purse(10 * PAGE)
        grown.call("grow", 4)
        snapshot = grown.freeze()
        small.charge(left)
        assert small.reset(snapshot)
        assert left[0] == 4 * PAGE

    def test_instances_in_several_threads_share_one_purse(self, make: Make) -> None:
        instances, left = [make(GROWS) for _ in range(4)], purse((8 + 150) * PAGE)
        for instance in instances:
            instance.charge(left)
        threads = [threading.Thread(target=instance.call, args=("creep",)) for instance in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(left) == [0, 1]
        assert sum(instance.footprint()[0] for instance in instances) == (8 + 150) * PAGE
        for instance in instances:
            instance.close()
        assert left[0] == (8 + 150) * PAGE

    def test_what_all_have_is_counted(self, engine: WasmEngine, make: Make) -> None:
        gc.collect()
        before = engine.memory_in_use
        instances = [make(GROWS) for _ in range(3)]
        assert engine.memory_in_use - before == 6 * PAGE
        instances[0].call("grow", 4)
        assert engine.memory_in_use - before == 10 * PAGE
        view = instances[0].memory()
        for instance in instances:
            instance.close()
        # A view keeps the memory that it shows.
        assert engine.memory_in_use - before == 5 * PAGE
        del view
        gc.collect()
        assert engine.memory_in_use == before

    def test_a_footprint_follows_the_memories(self, make: Make) -> None:
        instance = make(GROWS)
        size, mappings = instance.footprint()
        assert size == 2 * PAGE and mappings >= 2
        instance.call("grow", 3)
        assert instance.footprint()[0] == 5 * PAGE
        none = make("").footprint()
        assert none[0] == 0 and none[1] < mappings
