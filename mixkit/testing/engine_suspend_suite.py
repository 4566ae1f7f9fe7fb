"""What every Wasm engine must do with calls that are left half done, if it can; if it cannot, that it says so.

`MIXKIT_SUSPENDED_CALLS` says how many are dropped to see what they leave (10000 by default).
"""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixkit.contracts import (
    DONE,
    GAVE_WAY,
    LATER,
    WAITS,
    Call,
    FuncType,
    HostFunction,
    HostImports,
    Instance,
    WasmEngine,
)
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits, purse
from mixkit.testing.engine_suite import ECHO, EngineFixtures, Make

__all__ = ["EngineBlockingSuite", "EngineSuspendSuite"]

CALLS = int(os.environ.get("MIXKIT_SUSPENDED_CALLS", "10000"))

ASKS = (
    '(import "m" "f" (func $f (param i32) (result i32)))'
    + ECHO
    + """
(global $count (mut i32) (i32.const 0))
(func (export "ask") (param i32) (result i32)
  (global.set $count (i32.add (global.get $count) (i32.const 1)))
  (i32.add (call $f (local.get 0)) (i32.const 1)))
(func (export "ask_twice") (param i32) (result i32) (call $f (call $f (local.get 0))))
(func (export "ask_with") (param i32 i32) (result i64) (drop (call $f (local.get 1)))
  (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))
(func (export "count") (result i32) (global.get $count))
(func (export "spin") (loop (br 0)))
(func (export "boom") (param i32) (drop (call $f (local.get 0))) unreachable)
(func (export "greedy") (param i32) (drop (memory.grow (i32.const 60000))) (drop (call $f (local.get 0))) unreachable)
"""
)
"""A guest that asks its host, that computes without end, and that fails."""


def _asks(function: Callable[..., Any] = lambda instance, number: LATER) -> HostImports:
    return {("m", "f"): HostFunction(FuncType(("i32",), ("i32",)), function)}


def _to_the_end(call: Call, answer: int = 0) -> Any:
    """The result of a call, which may be done."""
    while not _is_done(call):
        if call.step() == WAITS:
            call.resume(answer)
    return call.result


def _is_done(call: Call) -> bool:
    try:
        call.result  # noqa: B018
    except EngineError:
        return False
    return True


class EngineBlockingSuite(EngineFixtures):
    """For engines that suspend guests and for those that cannot: what does not suspend says so."""

    def test_an_instance_that_blocks_begins_nothing(self, make: Make) -> None:
        instance = make(ASKS, _asks(lambda instance, number: number), suspends=False)
        uses = (lambda: instance.begin("count"), lambda: instance.begin_bytes("echo", b""), instance.give_way)
        for use in uses:
            with pytest.raises(EngineError):
                use()
        assert instance.call("ask", 1) == 2
        with pytest.raises(TypeError, match=r"m\.f"):
            make(ASKS, _asks(), suspends=False).call("ask", 1)

    def test_only_an_engine_that_suspends_makes_what_suspends(self, engine: WasmEngine, make: Make) -> None:
        if engine.suspends:
            assert _to_the_end(make(ASKS, _asks(), suspends=True).begin("ask", 1), 2) == 3
        else:
            with pytest.raises(EngineError):
                make(ASKS, _asks(), suspends=True)


class EngineSuspendSuite(EngineFixtures):
    """Override the fixtures `engine` and `wat2wasm`, as for `EngineSuite`. For engines that suspend guests."""

    @pytest.fixture
    def suspends(self) -> bool:
        return True

    # -- steps --------------------------------------------------------------------------------

    def test_a_guest_waits_and_goes_on(self, make: Make) -> None:
        asked = []

        def host(instance: Instance, number: int) -> Any:
            asked.append((instance, number))
            return LATER

        instance = make(ASKS, _asks(host))
        call = instance.begin("ask_twice", 5)
        assert asked == []
        assert call.step() == WAITS
        call.resume(6)
        assert call.step() == WAITS
        assert asked == [(instance, 5), (instance, 6)]
        call.resume(7)
        assert call.step() == DONE
        assert call.result == 7

    def test_an_answer_at_once_does_not_wait(self, make: Make) -> None:
        call = make(ASKS, _asks(lambda instance, number: number * 2)).begin("ask", 20)
        assert call.step() == DONE
        assert call.result == 41

    def test_bytes_go_in_and_come_out(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        for data in (b"", b"abc", bytes(range(256)) * 200):
            assert _to_the_end(instance.begin_bytes("ask_with", data)) == data
            assert _to_the_end(instance.begin_bytes("echo", data)) == data

    def test_its_memory_is_read_and_written_while_it_waits(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        call = instance.begin_bytes("ask_with", b"before")
        assert call.step() == WAITS
        assert instance.read(1024, 6) == b"before"
        instance.write(1024, b"behind")
        call.resume(0)
        assert call.step() == DONE
        assert call.result == b"behind"

    def test_a_step_without_an_answer_is_refused(self, make: Make) -> None:
        call = make(ASKS, _asks()).begin("ask", 1)
        with pytest.raises(EngineError):
            call.resume(1)
        assert call.step() == WAITS
        with pytest.raises(EngineError):
            call.result  # noqa: B018
        with pytest.raises(EngineError):
            call.step()
        with pytest.raises(TypeError, match=r"m\.f"):
            call.resume("one")  # type: ignore[arg-type]
        call.resume(1)
        with pytest.raises(EngineError):
            call.resume(2)
        assert call.step() == DONE
        for use in (call.step, lambda: call.resume(1), lambda: call.fail(KeyError())):
            with pytest.raises(EngineError):
                use()
        assert call.result == 2

    def test_one_call_at_a_time(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        assert instance.freeze() is not None
        call = instance.begin("ask", 1)
        for _ in range(2):
            for use in (
                lambda: instance.begin("ask", 1),
                lambda: instance.begin_bytes("echo", b""),
                lambda: instance.call("count"),
                lambda: instance.call_bytes("echo", b""),
                lambda: instance.grow(1),
                instance.freeze,
                instance.reset,
            ):
                with pytest.raises(EngineError, match="one at a time"):
                    use()
            if call.step() == WAITS:
                call.resume(1)
        assert call.result == 2
        assert instance.call("count") == 1

    def test_a_host_function_may_not_call_the_guest_or_go_on_with_it(self, make: Make) -> None:
        refused: list[object] = []

        def host(instance: Instance, number: int) -> int:
            for use in (
                lambda: instance.call("count"),
                lambda: instance.begin("count"),
                calls[0].step,
                calls[0].drop,
            ):
                with pytest.raises(EngineError):
                    use()
                refused.append(use)
            return number

        instance = make(ASKS, _asks(host))
        calls = [instance.begin("ask", 1)]
        assert calls[0].step() == DONE
        assert len(refused) == 4

    def test_a_call_outside_a_call_cannot_wait(self, make: Make) -> None:
        with pytest.raises(TypeError, match=r"m\.f"):
            make(ASKS, _asks()).call("ask", 1)

    def test_wrong_calls_are_refused_and_harm_nothing(self, make: Make) -> None:
        instance = make(ASKS, _asks(lambda instance, number: number))
        uses: list[Callable[[], object]] = [
            lambda: instance.begin("nothing"),
            lambda: instance.begin("ask"),
            lambda: instance.begin("ask", "1"),  # type: ignore[arg-type]
            lambda: instance.begin_bytes("ask", b"1"),
            lambda: instance.begin_bytes("echo", b"1", alloc="echo"),
        ]
        for use in uses:
            with pytest.raises(EngineError):
                use()
        assert _to_the_end(instance.begin("ask", 1)) == 2

    def test_the_start_function_comes_first_and_once(self, make: Make) -> None:
        instance = make(
            '(import "m" "f" (func $f (param i32) (result i32))) (global $g (mut i32) (i32.const 0))'
            "(func $s (global.set $g (call $f (i32.const 9)))) (start $s)"
            '(func (export "g") (result i32) (global.get $g))',
            _asks(),
        )
        call = instance.begin("g")
        assert call.step() == WAITS
        call.resume(3)
        assert call.step() == DONE
        assert call.result == 3
        assert _to_the_end(instance.begin("g"), 4) == 3

    # -- failures -----------------------------------------------------------------------------

    def test_an_exception_comes_back_as_the_same_object(self, make: Make) -> None:
        error = KeyError("mine")

        def host(instance: Instance, number: int) -> Any:
            if number:
                raise error
            return LATER

        for number in (0, 1):
            instance = make(ASKS, _asks(host))
            call = instance.begin("ask", number)
            with pytest.raises(KeyError) as caught:
                if call.step() == WAITS:
                    call.fail(error)
                    call.step()
            assert caught.value is error
            with pytest.raises(EngineError, match="finished"):
                instance.call("count")

    def test_a_trap_after_a_wait_has_its_name_and_frames(self, make: Make) -> None:
        call = make(ASKS, _asks()).begin("boom", 1)
        assert call.step() == WAITS
        call.resume(1)
        with pytest.raises(GuestError) as caught:
            call.step()
        assert caught.value.trap == "unreachable"
        assert caught.value.backtrace
        with pytest.raises(EngineError):
            call.step()

    def test_refused_memory_is_remembered_over_a_wait(self, make: Make) -> None:
        call = make(ASKS, _asks()).begin("greedy", 1)
        assert call.step() == WAITS
        call.resume(1)
        with pytest.raises(LimitExceeded, match="memory"):
            call.step()

    def test_the_stack_of_a_suspended_guest_is_limited(self, make: Make) -> None:
        wat = """(import "m" "f" (func $f (param i32) (result i32)))
          (func $r (export "r") (drop (call $f (i32.const 1))) (call $r) (call $r))"""
        for stack in (16 * 1024, 1024 * 1024):
            call = make(wat, _asks(lambda instance, number: number), Limits(stack=stack)).begin("r")
            with pytest.raises(LimitExceeded, match="stack"):
                call.step()

    # -- giving way and stopping --------------------------------------------------------------

    def test_a_guest_that_computes_gives_way_and_goes_on(self, make: Make) -> None:
        wat = """(global $n (mut i32) (i32.const 0))
          (func (export "sum") (param i32) (result i32) (loop $l
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (global.get $n) (local.get 0)))) (global.get $n))"""
        instance = make(wat)
        call = instance.begin("sum", 1_000_000)
        gave_way = 0
        for _ in range(20):
            instance.give_way()
            if call.step() == DONE:
                break
            gave_way += 1
        assert gave_way > 0
        assert _to_the_end(call) == 1_000_000

    def test_a_guest_gives_way_in_the_middle_of_one_instruction_over_much_memory(self, make: Make) -> None:
        """It fills all of its memory, with another number each time."""
        size = 64 << 20
        body = f"(loop (memory.fill (i32.const 0) (local.get 0) (i32.const {size}))"
        again = "(local.set 0 (i32.add (local.get 0) (i32.const 1))) (br 0))"
        instance = make(f'(memory (export "memory") 1024) (func (export "fill") (param i32) {body} {again})')
        call = instance.begin("fill", 1)
        ended = threading.Event()

        def hurry() -> None:
            while not ended.is_set():
                instance.give_way()

        thread = threading.Thread(target=hurry)
        thread.start()
        deadline = time.monotonic() + 30
        try:
            # Only a part has the new number.
            while instance.read(0, 1) == instance.read(size - 1, 1):
                assert call.step() == GAVE_WAY
                assert time.monotonic() < deadline
        finally:
            ended.set()
            thread.join()
        call.drop()

    def test_a_guest_gives_way_between_two_calls_of_its_host(self, make: Make) -> None:
        """It may make thousands of them and come by no loop."""

        def asked(instance: Any, number: int) -> int:
            instance.give_way()
            return number + 1

        instance = make(ASKS, _asks(asked))
        call = instance.begin("ask_twice", 5)
        assert [call.step() for _ in range(3)] == [GAVE_WAY, GAVE_WAY, DONE]
        assert call.result == 7
        call = instance.begin("ask_twice", 5)
        assert call.step() == GAVE_WAY
        instance.interrupt()
        with pytest.raises(GuestError) as caught:
            call.step()
        assert caught.value.trap == "interrupt"

    def test_an_endless_guest_gives_way_to_another_thread(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        call = instance.begin("spin")
        for _ in range(5):
            timer = threading.Timer(0.005, instance.give_way)
            timer.start()
            assert call.step() == GAVE_WAY
            timer.join()
        call.drop()

    def test_what_was_asked_before_a_step_counts_for_it(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        call = instance.begin("spin")
        # Else it would go on for ever, where that is not so.
        later = threading.Timer(30, instance.give_way)
        later.start()
        began = time.monotonic()
        for _ in range(5):
            instance.give_way()
            assert call.step() == GAVE_WAY
        later.cancel()
        assert time.monotonic() - began < 30
        call.drop()

    def test_a_storm_of_giving_way_loses_none(self, make: Make) -> None:
        """Each epoch is every guest's: one that was asked must notice, though others go on."""
        instances = [make(ASKS, _asks()) for _ in range(4)]
        calls = [instance.begin("spin") for instance in instances]
        rounds = 50

        def turn(number: int) -> None:
            for _ in range(rounds):
                assert calls[number].step() == GAVE_WAY

        threads = [threading.Thread(target=turn, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for instance in instances:
                instance.give_way()
        for thread in threads:
            thread.join()
        for call in calls:
            call.drop()

    def test_an_interrupt_reaches_a_guest_wherever_it_is(self, make: Make) -> None:
        def begun(name: str, *args: int) -> tuple[Instance, Call]:
            instance = make(ASKS, _asks())
            return instance, instance.begin(name, *args)

        def stopped(call: Call) -> None:
            with pytest.raises(GuestError) as caught:
                call.step()
            assert caught.value.trap == "interrupt"

        instance, call = begun("ask", 1)
        instance.interrupt()
        stopped(call)
        instance, call = begun("ask", 1)
        assert call.step() == WAITS
        instance.interrupt()
        stopped(call)
        instance, call = begun("ask", 1)
        assert call.step() == WAITS
        call.resume(1)
        instance.interrupt()
        stopped(call)
        instance, call = begun("spin")
        instance.give_way()
        assert call.step() == GAVE_WAY
        instance.interrupt()
        stopped(call)
        instance, call = begun("spin")
        timer = threading.Timer(0.01, instance.interrupt)
        timer.start()
        stopped(call)
        timer.join()

    # -- leaving ------------------------------------------------------------------------------

    def test_any_thread_goes_on_with_it(self, make: Make) -> None:
        call = make(ASKS, _asks()).begin("ask_twice", 1)
        events: list[int] = []
        for number in range(3):
            thread = threading.Thread(target=lambda: events.append(call.step()))
            thread.start()
            thread.join()
            if events[-1] == WAITS:
                call.resume(number)
        assert events == [WAITS, WAITS, DONE]
        assert call.result == 1

    def test_a_dropped_call_finishes_its_instance_alone(self, make: Make) -> None:
        for steps in (0, 1):
            instance, other = make(ASKS, _asks()), make(ASKS, _asks())
            call, beside = instance.begin("ask", 1), other.begin("ask", 2)
            assert beside.step() == WAITS
            for _ in range(steps):
                call.step()
            call.drop()
            call.drop()
            with pytest.raises(EngineError, match="finished"):
                instance.call("count")
            assert not instance.reset()
            beside.resume(5)
            assert beside.step() == DONE

    def test_an_instance_is_closed_with_its_call(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        left = purse(1 << 30)
        instance.charge(left)
        call = instance.begin("ask", 1)
        assert call.step() == WAITS
        instance.close()
        assert left[0] == 1 << 30
        with pytest.raises(EngineError):
            call.step()

    def test_what_nobody_holds_is_dropped(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        call: Call | None = instance.begin("ask", 1)
        assert call is not None
        assert call.step() == WAITS
        # A cycle, as between a machine, its instance and its call.
        instance.owner = [call]
        instance.owner = None
        call = None
        gc.collect()
        with pytest.raises(EngineError, match="finished"):
            instance.call("count")

    def test_a_finished_call_leaves_an_instance_that_is_reset(self, make: Make) -> None:
        instance = make(ASKS, _asks())
        snapshot = instance.freeze()
        for _ in range(3):
            assert _to_the_end(instance.begin("ask", 1), 4) == 5
            assert _to_the_end(instance.begin("count")) == 1
            assert instance.reset(snapshot)

    def test_many_are_dropped_at_random_moments(self, use_many: Callable[[int], None]) -> None:
        use_many(1000)

    def test_those_that_were_dropped_hold_no_memory(self, use_many: Callable[[int], None]) -> None:
        """Measured after the first thousand, which fill caches."""
        use_many(1000)
        before = _resident()
        use_many(CALLS)
        gc.collect()
        assert _resident() - before < 8 << 20

    @pytest.fixture
    def use_many(self, engine: WasmEngine, wat2wasm: Callable[[str], bytes]) -> Callable[[int], None]:
        """Begins so many calls, a hundred at a time under way, and leaves each at some moment in some way."""
        module = engine.compile(bytes(wat2wasm(f"(module {ASKS})")))
        imports, order = _asks(), random.Random(5)

        def begun() -> tuple[Instance, Call]:
            instance = engine.instantiate(module, Limits(), imports, suspends=True)
            call = instance.begin(order.choice(("ask", "ask_twice")), 1)
            for _ in range(order.randrange(4)):
                if call.step() == DONE:
                    break
                call.resume(1)
            return instance, call

        def leave(instance: Instance, call: Call) -> None:
            match order.randrange(3):
                case 0:
                    call.drop()
                case 1:
                    instance.interrupt()
            instance.close()

        def use_many(count: int) -> None:
            under_way: list[tuple[Instance, Call]] = []
            for _ in range(count):
                under_way.append(begun())
                if len(under_way) > 100:
                    leave(*under_way.pop(order.randrange(100)))
            for instance, call in under_way:
                leave(instance, call)

        return use_many


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
