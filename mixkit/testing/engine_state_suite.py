"""What every Wasm engine must do with state: snapshots, and resets after which nothing of a run can be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mixkit.contracts import FuncType, HostFunction, Instance, WasmEngine
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits
from mixkit.testing.engine_suite import ECHO, EngineFixtures, Make

__all__ = ["EngineStateSuite"]

COUNTER = """
(memory (export "memory") 1) (data (i32.const 0) "fresh")
(global $hidden (mut i64) (i64.const 5))
(func (export "bump") (result i64)
  (global.set $hidden (i64.add (global.get $hidden) (i64.const 1))) global.get $hidden)
"""


class EngineStateSuite(EngineFixtures):
    """Override the fixtures `engine` and `wat2wasm`, as for `EngineSuite`."""

    def test_reset_restores_memory_and_hidden_globals(self, make: Make) -> None:
        instance = make(COUNTER)
        assert instance.call("bump") == 6
        instance.write(0, b"dirty" * 10)
        instance.write(65530, b"dirty")
        instance.owner = object()
        assert instance.reset()
        assert instance.owner is None
        assert instance.memory().tobytes() == b"fresh" + bytes(65531)
        assert instance.call("bump") == 6

    def test_a_snapshot_is_the_state_when_it_was_taken(self, make: Make) -> None:
        instance = make(COUNTER)
        instance.call("bump")
        instance.write(100, b"kept")
        snapshot = instance.freeze()
        assert snapshot is not None
        assert 0 < snapshot.size < 1000, "trailing zeros are not kept"
        instance.write(100, b"lost")
        instance.write(40000, b"lost")
        instance.call("bump")
        assert instance.reset(snapshot)
        assert instance.memory().tobytes() == b"fresh" + bytes(95) + b"kept" + bytes(65536 - 104)
        assert instance.call("bump") == 7
        other = make(COUNTER)
        assert other.reset(snapshot)
        assert other.call("bump") == 7
        assert other.reset()
        assert other.call("bump") == 6

    @pytest.mark.parametrize(
        ("kind", "initial", "other"),
        [
            ("i32", "-7", "9"),
            ("i64", "0x7fffffffffffffff", "1"),
            ("f32", "-0.5", "inf"),
            ("f64", "nan:0x4000000000001", "1"),
            ("v128", "i64x2 -1 0x123456789", "i32x4 1 2 3 4"),
        ],
    )
    def test_globals_of_every_kind_keep_their_bits(
        self, make: Make, kind: str, initial: str, other: str
    ) -> None:
        store = f"{kind}.store (i32.const 0) (global.get $g)"
        instance = make(
            f'(memory (export "memory") 1) (global $g (mut {kind}) ({kind}.const {initial}))'
            f'(func (export "show") ({store}))'
            f'(func (export "spoil") (global.set $g ({kind}.const {other})))'
        )
        instance.call("show")
        before = instance.read(0, 16)
        assert instance.reset()
        snapshot = instance.freeze()
        instance.call("spoil")
        instance.call("show")
        assert instance.read(0, 16) != before
        assert instance.reset(snapshot)
        instance.call("show")
        assert instance.read(0, 16) == before

    def test_every_memory_is_restored(self, make: Make) -> None:
        instance = make(
            '(memory (export "memory") 1) (memory $second 20)'
            '(func (export "hide") (i32.store $second (i32.const 1300000) (i32.const 99)))'
            '(func (export "seek") (result i32) (i32.load $second (i32.const 1300000)))'
        )
        snapshot = instance.freeze()
        instance.call("hide")
        assert instance.call("seek") == 99
        assert instance.reset(snapshot)
        assert instance.call("seek") == 0

    @pytest.mark.parametrize(
        ("segments", "contents"),
        [
            (
                '(data (i32.const 2) "ab") (data (i32.const 4) "cd") (data (i32.const 9) "e")',
                b"\0\0abcd\0\0\0e",
            ),
            ('(data (i32.const 4) "late") (data (i32.const 0) "early")', b"earlyate"),
            ('(data (i32.const 0) "early") (data (i32.const 4) "late")', b"earllate"),
            ('(data (i32.const 0) "abcdef") (data (i32.const 2) "XY") (data (i32.const 3) "z")', b"abXzef"),
            ('(data (i32.const 3) "") (data (i32.const 65536) "") (data (i32.const 1) "x")', b"\0x"),
            (
                '(data (i32.const 0) "a") (data (i32.const 900) "b") (data (i32.const 65535) "c")',
                b"a" + bytes(899) + b"b",
            ),
            (
                '(data (i32.const 0) "a") (data (memory 1) (i32.const 1) "other") (data (i32.const 1) "b")',
                b"ab",
            ),
            ('(data (i32.const 0) "a") (data (i32.const 1) "b") (data "passive")', b"ab"),
        ],
    )
    def test_memory_starts_with_what_its_segments_say_in_their_order(
        self, make: Make, segments: str, contents: bytes
    ) -> None:
        instance = make(f'(memory (export "memory") 1) (memory 1) {segments}')
        assert instance.read(0, 1000) == contents + bytes(1000 - len(contents))
        instance.write(0, b"changed")
        assert instance.reset()
        assert instance.read(0, 1000) == contents + bytes(1000 - len(contents))

    @pytest.mark.parametrize(
        ("segment", "size", "trap"),
        [
            (0, 0, False),
            (0, 1, True),
            (2, 4, False),
            (2, 5, True),
        ],
    )
    def test_segments_keep_their_places_for_code_that_names_them(
        self, make: Make, segment: int, size: int, trap: bool
    ) -> None:
        """Active ones are dropped at the start, passive ones are there."""
        instance = make(
            '(memory (export "memory") 1) (data (i32.const 0) "ab") (data (i32.const 2) "cd") (data "kept")'
            f'(func (export "f") (memory.init {segment} (i32.const 8) (i32.const 0) (i32.const {size})))'
        )
        if trap:
            with pytest.raises(GuestError):
                instance.call("f")
        else:
            instance.call("f")
            assert instance.read(0, 12) == b"abcd\0\0\0\0" + b"kept"[:size].ljust(4, b"\0")

    @pytest.mark.parametrize(
        ("offset", "data"), [(65536, "x"), (65535, "xy"), (65537, ""), (-1, "x"), (-1, "")]
    )
    def test_a_segment_outside_memory_is_refused_among_others(
        self, make: Make, offset: int, data: str
    ) -> None:
        with pytest.raises(GuestError):
            make(
                f'(memory 1) (data (i32.const 0) "a") (data (i32.const {offset}) "{data}") (data (i32.const 1) "b")'
            )

    @pytest.mark.parametrize("pages", [1, 3, 4, 5, 40])
    def test_large_and_small_tails_are_cleared(self, make: Make, pages: int) -> None:
        instance = make(f'(memory (export "memory") {pages}) (data (i32.const 5000) "x")')
        for snapshot in (None, instance.freeze()):
            view = instance.memory()
            view[:] = b"\xff" * len(view)
            assert instance.reset(snapshot)
            assert view.tobytes() == bytes(5000) + b"x" + bytes(pages * 65536 - 5001)

    def test_grown_memory_cannot_be_made_small_but_can_be_frozen(self, make: Make) -> None:
        instance = make(COUNTER)
        assert instance.grow(1) == 1
        instance.write(70000, b"far")
        snapshot = instance.freeze()
        assert snapshot is not None
        assert instance.reset() is False
        with pytest.raises(EngineError, match="finished"):
            instance.call("bump")
        other = make(COUNTER)
        assert other.reset(snapshot), "a smaller memory is grown"
        assert other.memory().tobytes() == b"fresh" + bytes(69995) + b"far" + bytes(131072 - 70003)
        assert other.call("bump") == 6
        assert other.reset(snapshot)
        assert other.grow(1) == 2
        assert other.reset(snapshot) is False

    def test_every_memory_is_grown_to_its_size_in_the_snapshot(self, make: Make) -> None:
        wat = (
            '(memory (export "memory") 1 3) (memory $hidden 0)'
            '(func (export "grow") (drop (memory.grow 0 (i32.const 2))) (drop (memory.grow $hidden (i32.const 4)))'
            "  (i32.store (i32.const 190000) (i32.const 7)) (i32.store $hidden (i32.const 250000) (i32.const 8)))"
            '(func (export "see") (result i64) (i64.add (i64.mul (i64.const 10) (i64.load32_u (i32.const 190000)))'
            "  (i64.load32_u $hidden (i32.const 250000))))"
            '(func (export "sizes") (result i32) (i32.add (i32.mul (i32.const 10) (memory.size 0)) (memory.size 1)))'
        )
        instance = make(wat, limits=Limits(memory=7 * 65536))
        instance.call("grow")
        snapshot = instance.freeze()
        for _ in range(2):
            other = make(wat, limits=Limits(memory=7 * 65536))
            assert other.reset(snapshot)
            assert other.call("sizes") == 34
            assert other.call("see") == 78
            with pytest.raises(LimitExceeded, match="memory"):
                other.grow(1)

    @pytest.mark.parametrize(
        "places",
        [
            (),
            (0,),
            (7, 8, 4095, 4096, 12000, 20500, 36900),
            (65535, 65536, 200_000, 200_008, 700_000, 1_310_719),
            (1_310_712, 1_310_719),
            tuple(range(100, 1_300_000, 19_997)),
            tuple(range(0, 1_300_000, 150_001)),
        ],
    )
    def test_a_memory_that_is_mostly_zero_is_restored_in_full(
        self, make: Make, places: tuple[int, ...]
    ) -> None:
        wat = '(memory (export "memory") 20) (memory $other 2)'
        instance = make(wat)
        expected = bytearray(20 * 65536)
        for place in places:
            expected[place] = 1 + place % 255
        instance.write(0, bytes(expected))
        snapshot = instance.freeze()
        assert snapshot is not None
        assert snapshot.size < 20_000 * len(places) + 100, "what is zero is not kept"
        other = make(wat)
        assert other.reset(snapshot)
        assert other.memory() == expected
        for filled in (b"\xff" * len(expected), bytes(len(expected))):
            instance.write(0, filled)
            assert instance.reset(snapshot)
            assert instance.memory() == expected

    def test_a_limit_below_the_snapshots_memory_is_named(self, make: Make) -> None:
        instance = make(COUNTER)
        instance.grow(3)
        small = make(COUNTER, limits=Limits(memory=3 * 65536))
        with pytest.raises(LimitExceeded, match="memory") as caught:
            small.reset(instance.freeze())
        assert caught.value.limit == "memory"
        with pytest.raises(EngineError, match="finished"):
            small.call("bump")

    @pytest.mark.parametrize(
        "body",
        [
            "(table.set $t (i32.const 0) (ref.func $leaf))",
            "(drop (table.grow $t (ref.null func) (i32.const 1)))",
            "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))",
            "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1))",
            "(table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 1))",
            "(data.drop $bytes)",
            "(elem.drop $passive)",
            "(global.set $reference (ref.func $leaf))",
        ],
    )
    def test_state_that_no_engine_restores_is_never_reused(self, make: Make, body: str) -> None:
        wat = f"""(memory 1) (data $bytes "secret") (table $t 4 funcref) (elem $passive func $leaf)
          {"(global $reference (mut funcref) (ref.null func))" if "$reference" in body else ""}
          (func $leaf) (elem declare func $leaf)
          (func (export "hide") (if (i32.const 0) (then nop) (else {body})))"""
        untouched = make(wat)
        assert untouched.freeze() is None
        assert untouched.reset() is False
        touched = make(wat)
        touched.call("hide")
        assert touched.freeze() is None
        assert touched.reset() is False

    @pytest.mark.parametrize(
        "body",
        [
            "(memory.init $bytes (i32.const 0) (i32.const 0) (i32.const 6))",
            "(call_indirect (i32.const 1))",
            "(drop (table.get $t (i32.const 0)))",
            "(drop (table.size $t))",
            "(block (block (br_table 0 1 0 1 (i32.const 38))))",
            "(drop (v128.const i64x2 0x2600260026002600 0xfc0ffc0ffc0ffc0f))",
            "(drop (f64.const 0x1.026002600p1)) (drop (i32.const 0x1300)) (drop (i64.const -0x260026002600))",
        ],
    )
    def test_what_only_looks_dangerous_is_reused(self, make: Make, body: str) -> None:
        instance = make(
            f"""(memory (export "memory") 1) (data $bytes "secret") (table $t 4 funcref)
            (func $leaf) (elem (i32.const 1) $leaf) (func (export "f") {body})"""
        )
        instance.call("f")
        assert instance.reset()
        instance.call("f")
        assert instance.freeze() is not None

    def test_a_reset_starts_again_and_a_snapshot_has_started(self, make: Make) -> None:
        calls: list[None] = []
        imports = {("m", "f"): HostFunction(FuncType((), ()), lambda _: calls.append(None))}
        wat = '(import "m" "f" (func $f)) (start $f) (func (export "g"))'
        instance = make(wat, imports)
        instance.call("g")
        snapshot = instance.freeze()
        assert len(calls) == 1
        assert instance.reset(snapshot)
        instance.call("g")
        assert len(calls) == 1
        assert instance.reset()
        instance.call("g")
        assert len(calls) == 2
        fresh = make(wat, imports)
        assert fresh.freeze() is not None
        assert len(calls) == 3, "freeze starts first"

    def test_a_snapshot_travels_as_bytes(self, engine: WasmEngine, make: Make) -> None:
        instance = make(COUNTER)
        instance.call("bump")
        instance.write(9, b"travelled")
        snapshot = instance.freeze()
        assert snapshot is not None
        loaded = engine.load_snapshot(snapshot.to_bytes())
        assert loaded.size == snapshot.size
        other = make(COUNTER)
        assert other.reset(loaded)
        assert other.call("bump") == 7
        assert other.read(9, 9) == b"travelled"

    def test_damaged_bytes_are_refused(self, engine: WasmEngine, make: Make) -> None:
        snapshot = make(COUNTER).freeze()
        assert snapshot is not None
        data = snapshot.to_bytes()
        for at in range(0, len(data), 7):
            with pytest.raises(EngineError):
                engine.load_snapshot(data[:at])
            with pytest.raises(EngineError):
                engine.load_snapshot(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(EngineError):
            engine.load_snapshot(data + b"\0")

    def test_a_snapshot_of_another_module_is_refused(self, make: Make) -> None:
        snapshot = make(ECHO).freeze()
        with pytest.raises(EngineError):
            make(COUNTER).reset(snapshot)

    def test_added_exports_are_hidden_and_cannot_be_forged(
        self, engine: WasmEngine, wat2wasm: Callable[[str], bytes | bytearray], make: Make
    ) -> None:
        instance: Instance = make(COUNTER + "(func $s) (start $s)")
        assert set(instance.exports) == {"memory", "bump"}
        forged = bytes(wat2wasm('(module (func (export "\\00mix:function:0")))'))
        with pytest.raises(EngineError, match="reserved"):
            engine.compile(forged)

    def test_a_stopped_instance_is_not_reused(self, make: Make) -> None:
        instance = make(COUNTER)
        instance.interrupt()
        assert instance.reset() is False

    def test_the_limit_still_counts_after_a_reset(self, make: Make) -> None:
        wat = '(memory 1) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))'
        instance = make(wat, limits=Limits(memory=4 * 65536))
        for _ in range(3):
            assert instance.call("grow", 4) == -1
            assert instance.reset()
        assert instance.call("grow", 3) == 1
