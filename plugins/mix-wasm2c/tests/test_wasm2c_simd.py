"""Every vector instruction gives what Wasmtime gives, over values at which instructions differ."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
import wasmtime
from mix_wasm2c.engine import Wasm2cEngine
from mix_wasm2c.settings import Wasm2cSettings

from mixkit.limits import Limits

A, B, C = (f"(v128.load (i32.const {at}))" for at in (0, 16, 32))
COMPARE = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
BOUNDED = "add sub min_s min_u max_s max_u"
FLOATS = "add sub mul div min max pmin pmax eq ne lt gt le ge"
ROUNDED = "abs neg sqrt ceil floor trunc nearest"


def halves(name: str, below: str) -> str:
    return " ".join(f"{name}_{half}_{below}_{sign}" for half in ("low", "high") for sign in "su")


UNARY = {
    "v128": "not",
    "i8x16": "abs neg popcnt",
    "i16x8": f"abs neg {halves('extend', 'i8x16')} extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u",
    "i32x4": (
        f"abs neg {halves('extend', 'i16x8')} extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u"
        " trunc_sat_f32x4_s trunc_sat_f32x4_u trunc_sat_f64x2_s_zero trunc_sat_f64x2_u_zero"
    ),
    "i64x2": f"abs neg {halves('extend', 'i32x4')}",
    "f32x4": f"{ROUNDED} convert_i32x4_s convert_i32x4_u demote_f64x2_zero",
    "f64x2": f"{ROUNDED} convert_low_i32x4_s convert_low_i32x4_u promote_low_f32x4",
}
BINARY = {
    "v128": "and or xor andnot",
    "i8x16": (
        f"{BOUNDED} {COMPARE} add_sat_s add_sat_u sub_sat_s sub_sat_u avgr_u narrow_i16x8_s narrow_i16x8_u swizzle"
        " shuffle/0/17/2/19/4/21/31/16/1/30/8/9/15/14/13/12"
    ),
    "i16x8": (
        f"{BOUNDED} {COMPARE} mul add_sat_s add_sat_u sub_sat_s sub_sat_u avgr_u narrow_i32x4_s narrow_i32x4_u"
        f" q15mulr_sat_s {halves('extmul', 'i8x16')}"
    ),
    "i32x4": f"{BOUNDED} {COMPARE} mul dot_i16x8_s {halves('extmul', 'i16x8')}",
    "i64x2": f"add sub mul eq ne lt_s gt_s le_s ge_s {halves('extmul', 'i32x4')}",
    "f32x4": FLOATS,
    "f64x2": FLOATS,
}
LOADS = "8x8_s 8x8_u 16x4_s 16x4_u 32x2_s 32x2_u 8_splat 16_splat 32_splat 64_splat 32_zero 64_zero"
LANES = {"i8x16": "i32", "i16x8": "i32", "i32x4": "i32", "i64x2": "i64", "f32x4": "f32", "f64x2": "f64"}


def instructions() -> Iterator[tuple[str, str]]:
    """Names, and expressions of a vector."""
    for table, operands in ((UNARY, A), (BINARY, f"{A} {B}")):
        for shape, names in table.items():
            for name in names.split():
                yield f"{shape}.{name}", f"({shape}.{name.replace('/', ' ')} {operands})"
    yield "v128.bitselect", f"(v128.bitselect {A} {B} {C})"
    yield "v128.any_true", f"(i32x4.splat (v128.any_true {A}))"
    for shape, kind in LANES.items():
        signs = ("_s", "_u") if shape in ("i8x16", "i16x8") else ("",)
        for sign in signs:
            yield f"{shape}.extract_lane{sign}", f"({shape}.splat ({shape}.extract_lane{sign} 1 {A}))"
        yield f"{shape}.replace_lane", f"({shape}.replace_lane 1 {A} ({kind}.load (i32.const 20)))"
        if shape[0] == "i":
            for name in ("shl", "shr_s", "shr_u"):
                yield f"{shape}.{name}", f"({shape}.{name} {A} (i32.load (i32.const 16)))"
            for name in ("all_true", "bitmask"):
                yield f"{shape}.{name}", f"(i32x4.splat ({shape}.{name} {A}))"
    for name in LOADS.split():
        yield f"v128.load{name}", f"(v128.load{name} offset=1 (i32.const 4))"
    for bits, lane in ((8, 5), (16, 3), (32, 2), (64, 1)):
        yield f"v128.load{bits}_lane", f"(v128.load{bits}_lane {lane} (i32.const 3) {B})"


def module() -> bytes:
    functions = [
        f'(func (export "{name}") (v128.store (i32.const 64) {vector}))' for name, vector in instructions()
    ]
    functions += [
        f'(func (export "v128.store{bits}_lane") (v128.store (i32.const 64) {B})'
        f" (v128.store{bits}_lane {lane} (i32.const 67) {A}))"
        for bits, lane in ((8, 5), (16, 3), (32, 2), (64, 1))
    ]
    return bytes(wasmtime.wat2wasm(f'(module (memory (export "memory") 1) {"".join(functions)})'))


def vectors(count: int) -> list[bytes]:
    """Three vectors each: of any bits, of integers and of floats at the ends of their ranges."""
    rng = random.Random(7)
    inf, nan = float("inf"), float("nan")
    forms = (
        ("<16B", (0, 1, 127, 128, 255)),
        ("<8h", (0, 1, -1, 32767, -32768, 255)),
        ("<4i", (0, 1, -1, 2**31 - 1, -(2**31), 7)),
        ("<2q", (0, 1, -1, 2**63 - 1, -(2**63), 2**31)),
        ("<4f", (0.0, -0.0, 1.5, -2.5, 3.5, 0.5, 1e30, inf, -inf, nan, 2147483648.0, -2147483904.0)),
        ("<2d", (0.0, -0.0, 1.5, -2.5, 3.5, 1e300, inf, -inf, nan, 2147483647.5, 4294967296.0)),
    )

    def one() -> bytes:
        if rng.random() < 0.2:
            return rng.randbytes(16)
        form, values = rng.choice(forms)
        return struct.pack(form, *rng.choices(values, k=16 // struct.calcsize(form[0] + form[-1])))

    return [one() + one() + one() for _ in range(count)]


def canonical(name: str, answer: bytes) -> object:
    """Without the bits of NaNs, which are those of the processor."""
    form = {"f32": "<4f", "f64": "<2d"}.get(name[:3])
    return answer if form is None else [str(value) for value in struct.unpack(form, answer)]


def test_vector_instructions(kept: object) -> None:
    code, inputs = module(), vectors(60)
    engine = Wasm2cEngine(Wasm2cSettings(trust_all=True, cache_dir=str(kept)))
    ours = engine.instantiate(engine.compile(code), Limits(), {})
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, code), []).exports(store)
    memory = exports["memory"]
    assert isinstance(memory, wasmtime.Memory)
    wrong: dict[str, str] = {}
    names = [name for name in ours.exports if name != "memory"]
    assert len(names) > 200
    for name in names:
        plain = exports[name]
        assert isinstance(plain, wasmtime.Func)
        for data in inputs:
            ours.write(0, data)
            ours.call(name)
            memory.write(store, data, 0)
            plain(store)
            found, expected = ours.read(64, 16), bytes(memory.read(store, 64, 80))
            if canonical(name, found) != canonical(name, expected):
                wrong[name] = f"{data.hex()}: expected {expected.hex()}, found {found.hex()}"
    if wrong:
        pytest.fail("\n".join(f"{name} {words}" for name, words in wrong.items()))
