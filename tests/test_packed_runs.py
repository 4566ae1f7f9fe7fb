"""Runs from bytes to bytes: what need not be made into values is not, and answers and errors are the same."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from wasmtime import wat2wasm

from mixkit import codec, forms
from mixkit.errors import LimitExceeded, RunError
from mixkit.forms import JSONText, Packed
from mixkit.job import fitted
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.schema import Field, Mismatch, RecordType, ScalarType
from mixkit.shape import declared
from mixkit.value import Case, Ref

ECHO = """(module (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 1024))
  (func (export "mix_alloc") (param $n i32) (result i32) (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.and (i32.add (i32.add (local.get $at) (local.get $n)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func (export "mix_call") (param $name i32) (param $size i32) (param $args i32) (param $len i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $args)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))))"""
POINT = RecordType({"x": Field(ScalarType("int")), "y": Field(ScalarType("number"), optional=True)})


@pytest.fixture(scope="module")
def kernel() -> Any:
    with Kernel("test", environ={}) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def echo(kernel: Kernel) -> Any:
    return kernel.load(bytes(wat2wasm(ECHO)), "echo")


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, "é", [1, {"b": Ref("x"), "a": Case("ok", [True])}], {}, b"\x00", float("inf")]
)
async def test_packed_parameters_and_json_answers_are_the_same(kernel: Kernel, echo: Any, value: Any) -> None:
    text = forms.words_to_json(codec.encode(value))
    plain = await kernel.run(echo, "go", value)
    packed = await kernel.run(echo, "go", Packed(codec.encode(value)))
    assert plain == packed
    as_json = await kernel.run(echo, "go", Packed(codec.encode(value)), as_json=True)
    assert type(as_json.value) is JSONText and as_json.value == text


async def test_no_value_is_made(kernel: Kernel, echo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await kernel.run(echo, "go", {})

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("a value was made")

    words = codec.encode({"x": 1})
    answer = declared(POINT)
    monkeypatch.setattr(codec, "decode", never)
    monkeypatch.setattr(codec, "encode", never)
    result = await kernel.run(echo, "go", Packed(words), as_json=True, answer=answer)
    assert result.value == b'{"x":1}'


async def test_what_was_declared_is_kept_to(kernel: Kernel, echo: Any) -> None:
    answer = declared(POINT)
    changed = await kernel.run(echo, "go", Packed(codec.encode({"x": 1.0})), as_json=True, answer=answer)
    assert changed.value == {"x": 1} and type(changed.value["x"]) is int
    with pytest.raises(RunError, match=r"expected int, found string at \.x"):
        await kernel.run(echo, "go", Packed(codec.encode({"x": "one"})), as_json=True, answer=answer)


async def test_an_entry_that_declares_its_parameters_refuses_others(kernel: Kernel) -> None:
    section = b'{"version": 1, "entries": {"go": {"inParams": {"x": "int"}}}}'
    name = b"mix.manifest"
    body = bytes([len(name)]) + name + section
    code = bytes(wat2wasm(ECHO)) + b"\x00" + bytes([len(body)]) + body
    program = kernel.load(code, "typed")
    fits = await kernel.run(program, "go", Packed(codec.encode({"x": 5})), as_json=True)
    assert fits.value == b'{"x":5}'
    made = await kernel.run(program, "go", Packed(codec.encode({"x": 5.0})), as_json=True)
    assert made.value == b'{"x":5}'
    with pytest.raises(Mismatch, match=r"expected int, found string at \.x"):
        await kernel.run(program, "go", Packed(codec.encode({"x": "5"})))


@pytest.mark.parametrize(("count", "in_a_thread"), [(1, False), (6_000, True)])
async def test_what_is_much_is_held_against_its_type_in_a_thread(
    kernel: Kernel, echo: Any, monkeypatch: pytest.MonkeyPatch, count: int, in_a_thread: bool
) -> None:
    seen = []

    def check(*args: Any) -> Any:
        seen.append(threading.current_thread() is not threading.main_thread())
        return args[-1]

    class Unfit:
        fits = staticmethod(lambda words: False)
        __call__ = staticmethod(check)

    value = [1.0] * count
    for params in (value, Packed(codec.encode(value))):
        assert await fitted(Unfit(), params) == value  # type: ignore[arg-type]
    monkeypatch.setattr(echo, "takes", lambda entry, words: False)
    monkeypatch.setattr(echo, "check_params", check)
    for params in (value, Packed(codec.encode(value))):
        assert (await kernel.run(echo, "go", params)).value == value
    assert seen == [in_a_thread] * 4


async def test_no_value_is_made_of_parameters_that_are_too_many(
    kernel: Kernel, echo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = Packed(codec.encode([1.0] * 100))
    monkeypatch.setattr(echo, "takes", lambda entry, words: False)
    monkeypatch.setattr(Packed, "value", lambda self: pytest.fail("a value was made"))
    for limits in (Limits(values=10), Limits(params_size=100)):
        with pytest.raises(LimitExceeded):
            await kernel.run(echo, "go", packed, limits=limits)
