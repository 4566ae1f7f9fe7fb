"""What every Wasm engine must do: modules, calls, memory and tables, and guests that break the rules.

Derive a test class from each suite and override two fixtures. `engine_host_suite` has the tests of host functions
and of stopping, `engine_state_suite` those of snapshots, `engine_suspend_suite` those of calls that are left half done:

    class TestMyEngine(EngineSuite):
        @pytest.fixture
        def engine(self):
            return MyEngine()

        @pytest.fixture
        def wat2wasm(self):
            return wasmtime.wat2wasm
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mixkit.contracts import FuncType, HostImports, Instance, WasmEngine
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits

__all__ = ["ECHO", "EngineFixtures", "EngineSuite", "Make"]

Make = Callable[..., Instance]
"""make(wat, imports=None, limits=Limits(), max_result=None, suspends=…) -> Instance, closed when the test ends."""

ECHO = """
(memory (export "memory") 2)
(global $next (mut i32) (i32.const 1024))
(func (export "mix_alloc") (param $size i32) (result i32)
  (global.get $next)
  (global.set $next (i32.add (global.get $next) (local.get $size))))
(func (export "echo") (param i32 i32) (result i64)
  (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))
"""
"""Text of a module with a bump allocator and `echo(ptr, len)`, to put other functions beside."""

MIB = 1 << 20


class EngineFixtures:
    """Fixtures of both suites."""

    @pytest.fixture
    def engine(self) -> WasmEngine:
        """The engine under test."""
        raise NotImplementedError("override the fixture `engine`")

    @pytest.fixture
    def wat2wasm(self) -> Callable[[str], bytes | bytearray]:
        """From the text format to the binary format."""
        raise NotImplementedError("override the fixture `wat2wasm`")

    @pytest.fixture
    def suspends(self) -> bool:
        """Whether `make` makes instances that suspend. Run all suites on both, where the engine can."""
        return False

    @pytest.fixture
    def make(
        self, engine: WasmEngine, wat2wasm: Callable[[str], bytes | bytearray], suspends: bool
    ) -> Iterator[Make]:
        """See `Make`."""
        made = []
        usual = suspends

        def make(
            wat: str,
            imports: HostImports | None = None,
            limits: Limits | None = None,
            max_result: int | None = None,
            suspends: bool = usual,
        ) -> Instance:
            module = engine.compile(bytes(wat2wasm(f"(module {wat})")))
            instance = engine.instantiate(
                module, limits or Limits(), imports or {}, max_result=max_result, suspends=suspends
            )
            made.append(instance)
            return instance

        yield make
        for instance in made:
            instance.close()


EXTERNAL = {
    "a parameter": "(func (param externref))",
    "a result": "(type (func (result externref)))",
    "a table": "(table 1 externref)",
    "a table without elements": "(table 0 externref)",
    "an imported table": '(import "m" "t" (table 1 externref))',
    "a global": "(global externref (ref.null extern))",
    "a mutable global": "(global (mut externref) (ref.null extern))",
    "an imported global": '(import "m" "g" (global externref))',
    "a passive segment": "(elem externref (ref.null extern))",
    "a declared segment": "(elem declare externref (ref.null extern))",
    "an active segment": "(table $t 1 externref) (elem (table $t) (i32.const 0) externref (ref.null extern))",
    "a local": "(func (local externref))",
    "a null": "(func (drop (ref.null extern)))",
    "a test for null": "(func (drop (ref.is_null (ref.null extern))))",
    "a block": "(func (drop (block (result externref) (unreachable))))",
    "a choice": "(func (drop (select (result externref) (unreachable) (unreachable) (i32.const 0))))",
}
"""Every place of a module in which an external reference can stand."""

FUNCTIONS = {
    "a parameter": "(func (param funcref))",
    "a table": "(table 1 funcref)",
    "several tables": "(table 0 funcref) (table 3 9 funcref)",
    "a global": "(func $f) (global funcref (ref.func $f))",
    "a mutable global": "(global (mut funcref) (ref.null func))",
    "a passive segment": "(func $f) (elem funcref (ref.func $f) (ref.null func))",
    "a declared segment": "(func $f) (elem declare func $f)",
    "an active segment": "(func $f) (table 2 funcref) (elem (i32.const 1) func $f)",
    "an active segment of expressions": "(table 2 funcref) (elem (i32.const 1) funcref (ref.null func))",
    "an active segment of another table": (
        "(func $f) (table 1 funcref) (table $t 2 funcref) (elem (table $t) (i32.const 1) func $f)"
    ),
    "a local": "(func (local funcref))",
    "a null": "(func (drop (ref.is_null (ref.null func))))",
    "a block": "(func (drop (block (result funcref) (ref.null func))))",
    "a choice": "(func (drop (select (result funcref) (ref.null func) (ref.null func) (i32.const 0))))",
}


class EngineSuite(EngineFixtures):
    """See the module's text."""

    # -- modules ------------------------------------------------------------------------------

    def test_a_module_tells_imports_exports_hash_and_custom_sections(
        self, engine: WasmEngine, wat2wasm: Callable[[str], bytes | bytearray]
    ) -> None:
        code = bytes(
            wat2wasm(
                '(module (import "m" "f" (func (param i32 f64) (result i64))) (memory (export "memory") 1)'
                ' (func (export "g") (param f32)) (global (export "v") (mut i32) (i32.const 0))'
                ' (@custom "x" "one") (@custom "y" "two") (@custom "x" "three"))'
            )
        )
        module = engine.compile(code)
        assert module.imports == {("m", "f"): FuncType(("i32", "f64"), ("i64",))}
        assert module.exports == {"memory": "memory", "g": FuncType(("f32",), ()), "v": "global"}
        assert list(module.custom_sections("x")) == [b"one", b"three"]
        assert list(module.custom_sections("z")) == []
        assert len(module.hash) == 64
        assert engine.compile(code).hash == module.hash

    @pytest.mark.parametrize(
        "code",
        [
            b"",
            b"\0asm",
            b"\0asm\x01\0\0\0\x01\x05\x01\x60\x01\x7f",
            b"\0asm\x0d\0\x01\0",
            b"\x7fELF" + bytes(60),
        ],
    )
    def test_what_is_no_module_is_refused(self, engine: WasmEngine, code: bytes) -> None:
        with pytest.raises(EngineError):
            engine.compile(code)

    @pytest.mark.parametrize(
        "wat",
        [
            "(func (result i32))",
            "(memory 1 1 shared)",
            "(memory i64 1)",
            '(func (export "f") (result i32) i64.const 1)',
            "(memory 65537)",
        ],
    )
    def test_invalid_code_and_switched_off_proposals_are_refused(
        self, engine: WasmEngine, wat2wasm: Callable[[str], bytes | bytearray], wat: str
    ) -> None:
        code = bytes(wat2wasm(f"(module {wat})"))
        with pytest.raises(EngineError):
            engine.compile(code)

    # -- calls --------------------------------------------------------------------------------

    @pytest.mark.parametrize("body", EXTERNAL.values(), ids=EXTERNAL)
    def test_external_references_are_refused_by_name(
        self, engine: WasmEngine, wat2wasm: Callable[[str], bytes | bytearray], body: str
    ) -> None:
        with pytest.raises(EngineError, match=r"(?=.*externref).*(at byte|at offset) (0x)?[0-9a-f]+"):
            engine.compile(bytes(wat2wasm(f"(module {body})")))

    @pytest.mark.parametrize("body", FUNCTIONS.values(), ids=FUNCTIONS)
    def test_references_to_functions_run(self, make: Make, body: str) -> None:
        instance = make(
            f'(memory (export "memory") 1) (func (export "seven") (result i32) (i32.const 7)) {body}'
        )
        assert instance.call("seven") == 7
        instance.reset(instance.freeze())

    @pytest.mark.parametrize(
        ("kind", "given", "expected"),
        [
            ("i32", -1, -1),
            ("i32", 0xFFFFFFFF, -1),
            ("i32", 7, 7),
            ("i64", -(2**63), -(2**63)),
            ("i64", 2**64 - 1, -1),
            ("f32", 1.5, 1.5),
            ("f64", 0.1, 0.1),
            ("f64", 3, 3.0),
            ("f64", math.inf, math.inf),
        ],
    )
    def test_numbers_cross_unchanged(self, make: Make, kind: str, given: float, expected: float) -> None:
        instance = make(f'(func (export "f") (param {kind}) (result {kind}) local.get 0)')
        assert instance.call("f", given) == expected

    def test_arguments_keep_their_order(self, make: Make) -> None:
        instance = make(
            '(func (export "f") (param i32 i32 i32) (result i32)'
            " (i32.sub (i32.mul (local.get 0) (local.get 1)) (local.get 2)))"
        )
        assert instance.call("f", 6, 7, 2) == 40
        assert make('(func (export "f"))').call("f") is None

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("g", ()),
            ("f", ()),
            ("f", (1, 2)),
            ("f", (2**32,)),
            ("f", (-(2**31) - 1,)),
            ("f", ("1",)),
            ("f", (1.0,)),
            ("memory", ()),
        ],
    )
    def test_a_wrong_call_is_refused_and_harms_nothing(
        self, make: Make, name: str, args: tuple[Any, ...]
    ) -> None:
        instance = make(
            '(memory (export "memory") 1) (func (export "f") (param i32) (result i32) local.get 0)'
        )
        with pytest.raises(EngineError):
            instance.call(name, *args)
        assert instance.call("f", 3) == 3

    def test_functions_that_cannot_be_called_from_outside_are_refused(self, make: Make) -> None:
        instance = make(
            '(func (export "two") (result i32 i32) i32.const 1 i32.const 2)'
            ' (func (export "vector") (param v128)) (func (export "reference") (result funcref) ref.null func)'
        )
        for name, args in [("two", ()), ("vector", (1,)), ("reference", ())]:
            with pytest.raises(EngineError):
                instance.call(name, *args)

    @pytest.mark.parametrize(
        ("body", "trap"),
        [
            ("unreachable", "unreachable"),
            ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer_division_by_zero"),
            ("(drop (i32.load (i32.const -4)))", "memory_out_of_bounds"),
            ("(call_indirect (i32.const 9))", "table_out_of_bounds"),
            ("(call_indirect (i32.const 0))", "indirect_call_to_null"),
            ("(drop (i32.trunc_f32_s (f32.const nan)))", "bad_conversion_to_integer"),
            ("(drop (i32.trunc_f64_s (f64.const 1e10)))", "integer_overflow"),
        ],
    )
    def test_a_trap_has_a_name_and_a_backtrace_and_finishes(self, make: Make, body: str, trap: str) -> None:
        instance = make(f'(memory 1) (table 1 funcref) (func $inner {body}) (func (export "f") call $inner)')
        with pytest.raises(GuestError) as caught:
            instance.call("f")
        assert caught.value.trap == trap
        assert len(caught.value.backtrace) == 2
        assert "inner" in caught.value.backtrace[0]
        with pytest.raises(EngineError, match="finished"):
            instance.call("f")
        assert instance.reset() is False

    @pytest.mark.parametrize(
        ("kinds", "operation", "args", "result"),
        [
            ("f32 f32", "f32.add", (16777216.0, 1.0), 16777216.0),
            ("f32 f32", "f32.div", (1.0, 3.0), 0.3333333432674408),
            ("f64", "f64.ceil", (-0.5,), -0.0),
            ("f64", "f64.floor", (-0.0,), -0.0),
            ("f64", "f64.trunc", (-0.5,), -0.0),
            ("f64", "f64.nearest", (-0.5,), -0.0),
            ("f64", "f64.nearest", (2.5,), 2.0),
            ("f64 f64", "f64.min", (0.0, -0.0), -0.0),
            ("f64 f64", "f64.max", (-0.0, 0.0), 0.0),
            ("f64 f64", "f64.min", (0.0, math.nan), math.nan),
            ("f32 f32", "f32.max", (math.nan, 0.0), math.nan),
            ("i64 i64", "i64.div_u", (-1, 1), -1),
            ("i64 i64", "i64.rem_u", (-1, 10), 5),
            ("i32 i32", "i32.shl", (1, 33), 2),
            ("f64", "i64.trunc_sat_f64_u", (1e30,), -1),
        ],
    )
    def test_arithmetic_is_that_of_the_specification(
        self, make: Make, kinds: str, operation: str, args: tuple[int | float, ...], result: int | float
    ) -> None:
        operands = " ".join(f"(local.get {i})" for i in range(len(args)))
        instance = make(
            f'(func (export "f") (param {kinds}) (result {operation[:3]}) ({operation} {operands}))'
        )
        assert repr(instance.call("f", *args)) == repr(result)

    # -- call_bytes ---------------------------------------------------------------------------

    @pytest.mark.parametrize("data", [b"", b"x", b"hello" * 1000, bytes(range(256))])
    def test_bytes_go_in_and_come_out(self, make: Make, data: bytes) -> None:
        assert make(ECHO).call_bytes("echo", data) == data

    def test_several_buffers_and_another_allocator(self, make: Make) -> None:
        instance = make(
            ECHO + '(func (export "take") (param i32) (result i32) i32.const 64)'
            '(func (export "second") (param i32 i32 i32 i32) (result i64) (i64.or (i64.shl'
            " (i64.extend_i32_u (local.get 2)) (i64.const 32)) (i64.extend_i32_u (local.get 3))))"
        )
        assert instance.call_bytes("second", b"one", b"three") == b"three"
        assert instance.call_bytes("echo", memoryview(b"abc"), alloc="take") == b"abc"  # type: ignore[arg-type]
        assert instance.read(64, 3) == b"abc"

    @pytest.mark.parametrize("missing", ["nope", "mix_alloc"])
    def test_functions_of_another_shape_are_not_called_with_bytes(self, make: Make, missing: str) -> None:
        instance = make(ECHO)
        with pytest.raises(EngineError):
            instance.call_bytes(missing, b"x")
        with pytest.raises(EngineError):
            instance.call_bytes("echo", b"x", b"y")
        with pytest.raises(EngineError):
            instance.call_bytes("echo", b"x", alloc="echo")
        assert instance.call_bytes("echo", b"still well") == b"still well"

    def test_bytes_need_a_memory(self, make: Make) -> None:
        instance = make('(func (export "f") (result i64) i64.const 0)')
        for use in (
            lambda: instance.call_bytes("f"),
            lambda: instance.read(0, 0),
            lambda: instance.memory(),
            lambda: instance.grow(1),
        ):
            with pytest.raises(EngineError, match="memory"):
                use()

    @pytest.mark.parametrize("answer", [0, -1, 131072, 131072 - 3, 0x7FFFFFFF])
    def test_a_lying_allocator_is_a_guest_error(self, make: Make, answer: int) -> None:
        instance = make(
            ECHO + f'(func (export "lie") (param i32) (result i32) i32.const {answer})',
        )
        with pytest.raises(GuestError):
            instance.call_bytes("echo", b"1234", alloc="lie")

    @pytest.mark.parametrize(
        ("ptr", "size"),
        [(131072, 1), (131071, 2), (0xFFFFFFFF, 1), (0, 0xFFFFFFFF), (1, 131072), (0xFFFFFFFF, 0)],
    )
    def test_a_lying_answer_is_a_guest_error(self, make: Make, ptr: int, size: int) -> None:
        instance = make(ECHO + f'(func (export "f") (result i64) i64.const {ptr << 32 | size})')
        with pytest.raises(GuestError, match="outside"):
            instance.call_bytes("f")

    def test_an_answer_at_the_very_end_is_good(self, make: Make) -> None:
        instance = make(ECHO + f'(func (export "f") (result i64) i64.const {131070 << 32 | 2})')
        instance.write(131070, b"ok")
        assert instance.call_bytes("f") == b"ok"

    def test_a_long_answer_is_refused_before_it_is_copied(self, make: Make) -> None:
        assert make(ECHO, max_result=5).call_bytes("echo", b"12345") == b"12345"
        with pytest.raises(LimitExceeded) as caught:
            make(ECHO, max_result=5).call_bytes("echo", b"123456")
        assert (caught.value.limit, caught.value.value) == ("result_size", 5)

    # -- memory -------------------------------------------------------------------------------

    def test_read_and_write_check_their_bounds(self, make: Make) -> None:
        instance = make('(memory (export "memory") 1)')
        instance.write(65530, b"123456")
        assert instance.read(65530, 6) == b"123456"
        assert instance.read(65536, 0) == b""
        for bad in [(65531, 6), (-1, 1), (0, -1), (65537, 0), (2**32 - 1, 2**32 - 1)]:
            with pytest.raises(GuestError):
                instance.read(*bad)
        with pytest.raises(GuestError):
            instance.write(65531, b"abcdef")
        assert instance.read(65531, 5) == b"23456"

    def test_a_view_has_no_copy_and_outlives_the_instance(self, make: Make) -> None:
        instance = make(
            '(memory (export "memory") 1) (func (export "f") (i32.store8 (i32.const 5) (i32.const 42)))'
        )
        view = instance.memory()
        assert len(view) == 65536
        instance.call("f")
        assert view[5] == 42
        view[6] = 43
        assert instance.read(6, 1) == b"\x2b"
        assert instance.grow(3) == 1
        assert len(instance.memory()) == 4 * 65536
        instance.close()
        del instance
        gc.collect()
        assert (view[5], view[6]) == (42, 43)
        view[65535] = 1

    def test_one_limit_covers_all_memories(self, make: Make) -> None:
        grow = "".join(
            f'(memory $m{i} 1) (func (export "grow{i}") (param i32) (result i32)'
            f" (memory.grow $m{i} (local.get 0)))"
            for i in range(4)
        )
        instance = make(grow, limits=Limits(memory=10 * 65536))
        assert instance.call("grow0", 3) == 1
        assert instance.call("grow1", 3) == 1
        assert instance.call("grow2", 1) == -1
        assert instance.call("grow3", 0) == 1

    def test_a_trap_after_a_refused_growth_names_the_limit(self, make: Make) -> None:
        wat = '(memory (export "memory") 1) (func (export "f") (if (i32.eq (memory.grow (i32.const 20))'
        instance = make(wat + " (i32.const -1)) (then unreachable)))", limits=Limits(memory=MIB))
        with pytest.raises(LimitExceeded) as caught:
            instance.call("f")
        assert (caught.value.limit, caught.value.value) == ("memory", MIB)
        with pytest.raises(LimitExceeded):
            make('(memory (export "memory") 1)', limits=Limits(memory=MIB)).grow(16)

    def test_a_module_that_starts_above_the_limits_is_refused(self, make: Make) -> None:
        with pytest.raises(LimitExceeded) as caught:
            make("(memory 10) (memory 10)", limits=Limits(memory=MIB))
        assert caught.value.limit == "memory"
        with pytest.raises(LimitExceeded) as caught:
            make("(table 60 funcref) (table 60 funcref)", limits=Limits(table=100))
        assert caught.value.limit == "table"

    def test_one_limit_covers_all_tables(self, make: Make) -> None:
        grow = "".join(
            f'(table $t{i} 1 funcref) (func (export "grow{i}") (param i32) (result i32)'
            f" (table.grow $t{i} (ref.null func) (local.get 0)))"
            f'(func (export "size{i}") (result i32) table.size $t{i})'
            for i in range(3)
        )
        instance = make(grow, limits=Limits(table=100))
        for index in range(3):
            for _ in range(200):
                instance.call(f"grow{index}", 1)
        total = sum(int(instance.call(f"size{index}") or 0) for index in range(3))
        assert 10 < total <= 100

    def test_one_table_may_use_the_whole_limit(self, make: Make) -> None:
        wat = '(table 1 funcref) (func (export "grow") (param i32) (result i32)'
        instance = make(wat + " (table.grow (ref.null func) (local.get 0)))", limits=Limits(table=100))
        assert instance.call("grow", 100) == -1
        assert instance.call("grow", 99) == 1

    def test_a_segment_outside_memory_is_refused(self, make: Make) -> None:
        with pytest.raises((GuestError, EngineError)):
            make('(memory 1) (data (i32.const 65535) "ab")')
