"""What every Wasm engine must do where the guest meets the host: imports, exceptions, threads, stopping, closing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mixkit.contracts import FuncType, HostFunction, HostImports, Instance
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits
from mixkit.testing.engine_suite import ECHO, EngineFixtures, Make

__all__ = ["EngineHostSuite"]


def _host(function: Callable[..., Any], params: str = "", result: str = "") -> HostImports:
    kind = FuncType(tuple(params.split()), (result,) if result else ())  # type: ignore[arg-type]
    return {("m", "f"): HostFunction(kind, function)}


def _interrupt_soon(instance: Instance, seconds: float = 0.02) -> None:
    timer = threading.Timer(seconds, instance.interrupt)
    timer.daemon = True
    timer.start()


class EngineHostSuite(EngineFixtures):
    """Override the fixtures `engine` and `wat2wasm`, as for `EngineSuite`."""

    # -- host functions -----------------------------------------------------------------------

    def test_a_host_function_gets_the_instance_and_numbers(self, make: Make) -> None:
        seen = []

        def host(instance: Instance, *args: float) -> int:
            seen.append((instance, instance.owner, args))
            return 2**40 + 5

        instance = make(
            '(import "m" "f" (func $f (param i32 i64 f32 f64) (result i32)))'
            '(func (export "g") (result i32) (call $f (i32.const -1) (i64.const -2) (f32.const 0.5) (f64.const 2)))',
            _host(host, "i32 i64 f32 f64", "i32"),
        )
        instance.owner = "the run"
        assert instance.call("g") == 5
        assert seen == [(instance, "the run", (-1, -2, 0.5, 2.0))]

    def test_imports_must_be_there_and_fit(self, make: Make) -> None:
        wat = '(import "m" "f" (func (param i32)))'
        with pytest.raises(EngineError, match=r"m\.f"):
            make(wat)
        with pytest.raises(EngineError, match=r"m\.f"):
            make(wat, _host(lambda *_: None, "i64"))
        for other in ["(memory 1)", "(table 1 funcref)", "(global i32)"]:
            with pytest.raises(EngineError):
                make(f'(import "m" "f" {other})', _host(lambda *_: None))

    @pytest.mark.parametrize(
        ("result", "answer"), [("i32", None), ("i32", "1"), ("i32", 1.5), ("", 1), ("f64", "x")]
    )
    def test_a_wrong_answer_of_a_host_function_is_named(
        self, make: Make, result: str, answer: object
    ) -> None:
        declared = f"(result {result})" if result else ""
        drop = "drop" if result else ""
        instance = make(
            f'(import "m" "f" (func $f {declared})) (func (export "g") call $f {drop})',
            _host(lambda _: answer, "", result),
        )
        with pytest.raises(TypeError, match=r"m\.f"):
            instance.call("g")

    def test_an_exception_comes_back_as_the_same_object(self, make: Make) -> None:
        error = KeyError("mine")

        def host(instance: Instance) -> None:
            raise error

        instance = make('(import "m" "f" (func $f)) (func (export "g") call $f)', _host(host))
        with pytest.raises(KeyError) as caught:
            instance.call("g")
        assert caught.value is error
        with pytest.raises(EngineError, match="finished"):
            instance.call("g")

    def test_a_host_function_sees_that_memory_was_refused(self, make: Make) -> None:
        seen: list[bool] = []
        instance = make(
            '(import "m" "f" (func $f)) (memory (export "memory") 1)'
            '(func (export "g") (param i32) (drop (memory.grow (local.get 0))) call $f)',
            _host(lambda instance: seen.append(instance.memory_refused)),
        )
        for pages in (1, 60_000, 1):
            instance.call("g", pages)
        # What was refused in one call is of no concern to the next.
        assert seen == [False, True, False]
        assert 65536 <= instance.memory_limit < 60_000 * 65536

    def test_a_host_function_may_call_the_guest(self, make: Make) -> None:
        def host(instance: Instance) -> int:
            ptr = int(instance.call("mix_alloc", 3) or 0)
            instance.write(ptr, b"abc")
            return ptr

        instance = make(
            '(import "m" "f" (func $f (result i32)))' + ECHO + '(func (export "g") (result i64)'
            " (i64.or (i64.shl (i64.extend_i32_u (call $f)) (i64.const 32)) (i64.const 3)))",
            _host(host, "", "i32"),
            suspends=False,
        )
        assert instance.call_bytes("g") == b"abc"

    def test_a_host_function_cannot_go_on_after_the_guest_failed_inside_it(self, make: Make) -> None:
        def host(instance: Instance) -> None:
            with pytest.raises(GuestError):
                instance.call("boom")

        instance = make(
            '(import "m" "f" (func $f)) (func (export "boom") unreachable) (func (export "g") call $f)',
            _host(host),
            suspends=False,
        )
        with pytest.raises(EngineError):
            instance.call("g")

    def test_a_running_instance_is_not_closed_reset_or_frozen(self, make: Make) -> None:
        refused = []

        def host(instance: Instance) -> None:
            for use in (instance.close, instance.reset, instance.freeze):
                with pytest.raises(EngineError, match="running"):
                    use()
                refused.append(use)

        make('(import "m" "f" (func $f)) (func (export "g") call $f)', _host(host)).call("g")
        assert len(refused) == 3

    def test_another_thread_is_kept_out_while_the_guest_runs(self, make: Make) -> None:
        errors: list[BaseException] = []

        def host(instance: Instance) -> None:
            def intrude() -> None:
                uses: list[Callable[[], object]] = [
                    lambda: instance.call("g"),
                    instance.close,
                    lambda: instance.grow(1),
                ]
                for use in uses:
                    try:
                        use()
                    except EngineError as exc:
                        errors.append(exc)

            thread = threading.Thread(target=intrude)
            thread.start()
            thread.join()

        wat = '(import "m" "f" (func $f)) (memory (export "memory") 1) (func (export "g") call $f)'
        make(wat, _host(host)).call("g")
        assert len(errors) == 3

    def test_every_error_reaches_its_own_caller(self, make: Make) -> None:
        def host(instance: Instance, number: int) -> None:
            raise ValueError(instance.owner, number)

        wrong: list[object] = []

        def worker(name: int) -> None:
            for number in range(1500):
                instance = make(
                    '(import "m" "f" (func $f (param i32))) (func (export "g") (param i32) local.get 0 call $f)',
                    imports,
                )
                instance.owner = name
                try:
                    instance.call("g", number)
                    wrong.append("no error")
                except ValueError as exc:
                    if exc.args != (name, number):
                        wrong.append(exc.args)
                finally:
                    instance.close()

        imports = _host(host, "i32")
        threads = [threading.Thread(target=worker, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    # -- stopping -----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "body",
        [
            "(loop (br 0))",
            "(return_call $f)",
            "(loop (call $leaf) (br 0))",
            "(loop (drop (memory.grow (i32.const 0))) (br 0))",
            "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))",
            "(loop (call $fill (i32.shl (memory.size) (i32.const 16))) (br 0))",
        ],
    )
    def test_an_endless_guest_is_interrupted(self, make: Make, body: str) -> None:
        instance = make(
            "(memory 200) (func $leaf) (func $fill (param i32)"
            " (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))"
            f' (func $f (export "f") {body})'
        )
        _interrupt_soon(instance)
        with pytest.raises(GuestError) as caught:
            instance.call("f")
        assert caught.value.trap == "interrupt"
        assert instance.reset() is False

    def test_an_interrupt_before_the_call_is_not_lost(self, make: Make) -> None:
        instance = make('(func (export "f") (loop (br 0)))')
        instance.interrupt()
        with pytest.raises(GuestError) as caught:
            instance.call("f")
        assert caught.value.trap == "interrupt"

    def test_an_interrupt_in_a_host_function_takes_effect_when_it_returns(self, make: Make) -> None:
        after = []

        def host(instance: Instance, number: int) -> None:
            if number == 1:
                instance.interrupt()
            else:
                after.append(number)

        instance = make(
            '(import "m" "f" (func $f (param i32)))'
            ' (func (export "g") (call $f (i32.const 1)) (call $f (i32.const 2)))',
            _host(host, "i32"),
        )
        with pytest.raises(GuestError) as caught:
            instance.call("g")
        assert caught.value.trap == "interrupt"
        assert after == []

    def test_only_the_interrupted_instance_stops(self, make: Make) -> None:
        wat = """(memory (export "memory") 1) (func (export "f") (result i32)
          (loop (br_if 0 (i32.eqz (i32.load8_u (i32.const 0))))) i32.const 7)"""
        others = [make(wat) for _ in range(3)]
        views = [instance.memory() for instance in others]
        answers: list[object] = []

        def answer(instance: Instance) -> None:
            answers.append(instance.call("f"))

        threads = [threading.Thread(target=answer, args=(i,), daemon=True) for i in others]
        for thread in threads:
            thread.start()
        for _ in range(20):
            victim = make(wat)
            _interrupt_soon(victim, 0.002)
            with pytest.raises(GuestError):
                victim.call("f")
        assert answers == []
        for view in views:
            view[0] = 1
        for thread in threads:
            thread.join()
        assert answers == [7, 7, 7]

    def test_a_storm_of_interrupts_loses_none(self, make: Make) -> None:
        stopped: list[object] = []

        def run(instance: Instance) -> None:
            try:
                instance.call("f")
            except GuestError as exc:
                stopped.append(exc.trap)

        for _ in range(25):
            instances = [make('(func (export "f") (loop (br 0)))') for _ in range(6)]
            runners = [threading.Thread(target=run, args=(i,), daemon=True) for i in instances]
            stoppers = [threading.Thread(target=i.interrupt) for i in instances]
            for thread in [*runners, *stoppers]:
                thread.start()
            for thread in [*runners, *stoppers]:
                thread.join(20)
                assert not thread.is_alive(), "an interrupt was lost"
        assert stopped == ["interrupt"] * 150

    @pytest.mark.parametrize("body", ["call $f", "call $f call $f", "(call_indirect (i32.const 0))"])
    def test_endless_recursion_is_a_stack_limit(self, make: Make, body: str) -> None:
        instance = make(f'(table funcref (elem $f)) (func $f (export "f") {body})')
        with pytest.raises(LimitExceeded) as caught:
            instance.call("f")
        assert caught.value.limit == "stack"

    def test_the_stack_limit_is_the_runs_own(self, make: Make) -> None:
        wat = """(global $depth (export "depth") (mut i32) (i32.const 0)) (memory (export "memory") 1)
          (func $f (export "f") (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) call $f)"""
        depths = []
        for stack in (64 * 1024, 1024 * 1024):
            instance = make(wat, limits=Limits(stack=stack))
            with pytest.raises(LimitExceeded) as caught:
                instance.call("f")
            assert caught.value.value == stack
            depths.append(int.from_bytes(instance.read(0, 4), "little"))
        assert depths[1] > 8 * depths[0]

    def test_nested_instances_do_not_overrun_the_native_stack(self, make: Make) -> None:
        """Each of them is within its own limit; together they are not within the thread's stack."""
        wat = """(import "m" "f" (func $f)) (func $g (export "g") (param i32)
          (if (local.get 0) (then (call $g (i32.sub (local.get 0) (i32.const 1)))) (else (call $f))))"""
        levels = []

        def host(instance: Instance) -> None:
            levels.append(instance)
            make(wat, imports, Limits(stack=512 * 1024), suspends=False).call("g", 5000)

        imports = _host(host)
        with pytest.raises(LimitExceeded) as caught:
            host(make(wat, imports, suspends=False))
        assert caught.value.limit == "stack"
        assert len(levels) > 1

    def test_a_start_function_runs_where_it_can_be_interrupted(self, make: Make) -> None:
        instance = make('(func $s (loop (br 0))) (start $s) (func (export "f"))')
        _interrupt_soon(instance)
        with pytest.raises(GuestError) as caught:
            instance.call("f")
        assert caught.value.trap == "interrupt"

    def test_a_start_function_runs_once_and_first(self, make: Make) -> None:
        calls: list[int] = []
        wat = """(import "m" "f" (func $f (param i32))) (func $s (call $f (i32.const 1))) (start $s)
          (func (export "g") (call $f (i32.const 2)))"""
        instance = make(wat, _host(lambda _, number: calls.append(number), "i32"))
        assert calls == []
        instance.start()
        instance.call("g")
        instance.start()
        assert calls == [1, 2]
        with pytest.raises(GuestError):
            make('(func $s unreachable) (start $s) (func (export "g"))').call("g")

    # -- the end ------------------------------------------------------------------------------

    def test_close_is_idempotent_and_final(self, make: Make) -> None:
        instance = make(ECHO)
        instance.owner = object()
        instance.close()
        instance.close()
        assert instance.owner is None
        instance.interrupt()
        for use in (
            lambda: instance.call("mix_alloc", 1),
            lambda: instance.call_bytes("echo", b""),
            lambda: instance.read(0, 1),
            lambda: instance.write(0, b"x"),
            lambda: instance.memory(),
            lambda: instance.grow(1),
            lambda: instance.freeze(),
            lambda: instance.reset(),
        ):
            with pytest.raises(EngineError, match="closed"):
                use()
