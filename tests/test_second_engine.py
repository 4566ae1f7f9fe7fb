"""Guests of mixkit on the engine mix-wasm2c: they answer, and end where the limits say, as on the first one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixkit import Kernel
from mixkit.errors import EngineError, LimitExceeded, RunError
from mixkit.grants import ALL
from mixkit.limits import Limits

Guest = Callable[..., bytes]
FUNCTIONS = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))"
ENTRIES = {
    "spin": "(loop $again (br $again)) (unreachable)",
    "deep": "(drop (call $deep (i32.const 0))) (i64.const 0)",
    "bomb": "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)",
    "hash": ("(call $call (i32.const 64) (i32.const 14) (local.get $p) (local.get $n))"),
}


@pytest.fixture(scope="module")
def code(guest: Guest) -> bytes:
    return guest(f'{FUNCTIONS} (data (i32.const 64) "$crypto_sha256")', **ENTRIES)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, code: bytes) -> Iterator[Kernel]:
    """A kernel without any other engine; its code is compiled once."""
    folder: Path = tmp_path_factory.mktemp("second")
    profile = folder / "second.toml"
    profile.write_text(
        'plugins = ["wasm2c", "crypto"]\nengines = ["wasm2c"]\n'
        f'[settings.wasm2c]\ntrust_all = true\noptimize = false\ncache_dir = "{folder}/cache"\n'
    )
    with Kernel(profile, environ={}) as kernel:
        try:
            kernel.load(code)
        except EngineError as exc:
            if "no C compiler" in str(exc):
                pytest.skip(str(exc))
            raise
        yield kernel


def test_an_entry_answers(second: Kernel, code: bytes) -> None:
    for value in (1, "text", [1, {"a": None}], "x" * 100_000):
        assert second.run_sync(code, "echo", value).value == value


async def test_an_entry_calls_an_ffi(second: Kernel, code: bytes) -> None:
    answer = (await second.run(code, "hash", ["abc"], grants=ALL)).value
    assert second.run_sync(code, "hash", ["abc"], grants=ALL).value == answer
    assert "ba7816bf" in str(answer)


@pytest.mark.parametrize(
    ("entry", "limit", "limits"),
    [
        ("spin", "wall_time", Limits(wall_time=0.2)),
        ("deep", "stack", Limits()),
        ("bomb", "memory", Limits(memory=8 << 20)),
    ],
)
def test_a_limit_ends_a_run_and_no_other(
    second: Kernel, code: bytes, entry: str, limit: str, limits: Limits
) -> None:
    began = time.monotonic()
    with pytest.raises(RunError) as caught:
        second.run_sync(code, entry, limits=limits)
    assert isinstance(caught.value.__cause__, LimitExceeded)
    assert caught.value.__cause__.limit == limit
    assert time.monotonic() - began < 20
    assert second.run_sync(code, "echo", 1).value == 1
