"""Compiling in a process of its own: the same code, and limits that hold."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
import wasmtime
from mix_wasmtime.compilation import is_small
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.errors import EngineError, GuestError
from mixkit.limits import Limits
from mixkit.vm import wasm


def compile_wat(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat))


def large(count: int = 1000) -> bytes:
    """A module of so many functions, each of which does a little."""
    body = "".join(f"(func (result i32) (i32.mul (i32.const {n}) (i32.const 3)))" for n in range(count))
    return compile_wat(
        '(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 5))'
        '(func (export "f") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 2))) (global.get $g))'
        f'(func (export "trap") (unreachable)) {body})'
    )


def make(**settings: object) -> WasmtimeEngine:
    return WasmtimeEngine(WasmtimeSettings(**{"cache_dir": "off", **settings}))  # type: ignore[arg-type]


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("stack", [64 * 1024, 1 << 20])
def test_code_from_the_child_runs_like_code_made_here(optimize: bool, stack: int) -> None:
    assert not is_small(wasm.read(large()))
    for engine in (make(optimize=optimize), make(optimize=optimize, compile_time=0)):
        instance = engine.instantiate(engine.compile(large()), Limits(stack=stack), {})
        assert instance.call("f") == 7
        snapshot = instance.freeze()
        assert instance.call("f") == 9
        assert instance.reset(snapshot)
        assert instance.call("f") == 9
        with pytest.raises(GuestError, match="unreachable"):
            instance.call("trap")


def test_what_the_child_made_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(cache_dir=str(tmp_path)).compile(large())
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    engine = make(cache_dir=str(tmp_path))
    assert engine.instantiate(engine.compile(large()), Limits(), {}).call("f") == 7
    with pytest.raises(EngineError, match=r"no process can be started.*compile_time"):
        engine.compile(large(1001))


def test_too_much_time_is_named_with_its_setting() -> None:
    with pytest.raises(EngineError, match=r"more than 0\.001 seconds.*settings\.wasmtime\.compile_time"):
        make(compile_time=0.001).compile(large())


def test_too_much_memory_is_named_with_its_setting() -> None:
    with pytest.raises(EngineError, match=r"more than 67108864 bytes.*settings\.wasmtime\.compile_memory"):
        make(compile_memory=64 << 20).compile(large(20_000))


def test_invalid_code_is_refused_in_the_same_words() -> None:
    body = "(func (drop (i32.const 1)))" * 1000
    code = bytearray(compile_wat(f"(module {body})"))
    code[-2] = 0x6A  # i32.add instead of drop
    messages = []
    for engine in (make(), make(compile_time=0)):
        with pytest.raises(EngineError, match="not valid") as caught:
            engine.compile(bytes(code))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("kill -XCPU $$", "compile_time"),
        ("printf +300000000", "300000000 bytes of machine code, expected at most 268435456"),
        ("printf -", "compile_memory"),
        ("kill -KILL $$", "compile_memory"),
        ("echo memory allocation of 5 bytes failed >&2; kill -ABRT $$", "compile_memory"),
        ("echo it broke >&2; exit 3", "status 3: it broke"),
        ("exit 0", "status 0: no message"),
    ],
)
def test_however_the_child_ends_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, message: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\ncat >/dev/null\n{end}\n")
    script.chmod(stat.S_IRWXU)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(EngineError, match=message):
        make().compile(large())


@pytest.mark.parametrize(
    ("wat", "small"),
    [
        ("(module)", True),
        (
            '(module (memory 1) (func (export "f") (param i32) (result i32) (local i32 i64) (local.get 0)))',
            True,
        ),
        ("(module (memory 1) (data (i32.const 0) %r))" % ("x" * 5000), True),
        ("(module (func %s))" % ("nop " * 3000), False),
        ("(module (func (local %s)))" % ("i32 " * 600), False),
        ("(module %s)" % ("(func (local %s))" % ("i32 " * 100) * 6), False),
        ("(module (func (result %s) unreachable))" % ("i32 " * 17), False),
        ("(module (func (param %s)))" % ("i32 " * 17), False),
        ("(module %s)" % ("(table 1 funcref)" * 50 + "(global i64 (i64.const -1))" * 500), False),
    ],
)
def test_only_what_cannot_take_long_is_compiled_in_this_process(wat: str, small: bool) -> None:
    wat = wat.replace("'", '"')
    assert is_small(wasm.read(compile_wat(wat))) is small


def test_damaged_code_is_not_taken_for_small() -> None:
    code = bytearray(compile_wat("(module (func (local i32) nop))"))
    code[-5] = 0x7F
    with pytest.raises(EngineError):
        make().compile(bytes(code))


def test_the_child_gets_none_of_our_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXKIT_SECRETS_KEY", "secret")
    script = f'#!/bin/sh\nenv > "{tmp_path}/seen"\nexec "{sys.executable}" "$@"\n'
    fake = tmp_path / "python"
    fake.write_text(script)
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    make().compile(large())
    seen = (tmp_path / "seen").read_text()
    assert "PATH=" in seen
    assert "secret" not in seen
