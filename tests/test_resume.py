"""Runs that start from one snapshot are not equal in what must differ: random numbers, and seeds made in init."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mixkit import Kernel
from mixkit.errors import EngineError, LimitExceeded, RunError
from mixkit.limits import Limits

Guest = Callable[..., bytes]

CLOCK = (
    """(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))"""
)
SEEDS = {
    "now": "(f64.store (i32.const 68) (call $now))",
    "wall": "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 68)))",
    "monotonic": "(drop (call $clock (i32.const 1) (i64.const 0) (i32.const 68)))",
    "random": "(call $random (i32.const 68) (i32.const 8))",
}
RESUME = """(func (export "mix_resume") (param $seed i32)
  (i32.store8 (i32.const 400) (i32.add (i32.load8_u (i32.const 400)) (i32.const 1)))
  (memory.copy (i32.const 500) (local.get $seed) (i32.const 32)))"""


def init(body: str) -> str:
    return f'(func (export "mix_init") (param i32 i32) {body})'


def drawn(kernel: Kernel, code: bytes, runs: int = 4) -> list[object]:
    return [kernel.run_sync(code, "go").value for _ in range(runs)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_made_in_init_is_not_frozen(kernel: Kernel, guest: Guest, seed: str) -> None:
    # Only whether it can be frozen is looked at: clocks may stand still between two runs.
    code = guest(init(SEEDS[seed]), imports=CLOCK, go="(call $pair (local.get $p) (local.get $n))")
    drawn(kernel, code)
    assert kernel.programs.snapshots.size == 0
    other = guest(init(SEEDS[seed]) + RESUME, imports=CLOCK, go="(call $pair (local.get $p) (local.get $n))")
    drawn(kernel, other)
    assert kernel.programs.snapshots.size > 0


def test_a_guest_that_resumes_gets_a_seed_once_before_every_run(kernel: Kernel, guest: Guest) -> None:
    # The int whose low bytes are the number of resumptions, and 24 bits of the seed.
    count = "(i32.store (i32.const 64) (i32.or (i32.const 3) (i32.shl (i32.load8_u (i32.const 400)) (i32.const 8))))"
    draw = "(i32.store (i32.const 64) (i32.or (i32.const 3) (i32.and (i32.load (i32.const 528)) (i32.const 0xffffff00))))"
    pair = " (call $pair (i32.const 64) (i32.const 4))"
    assert drawn(kernel, guest(RESUME, go=count + pair)) == [1, 1, 1, 1]
    assert len(set(drawn(kernel, guest(RESUME, go=draw + pair), 6))) > 3


def test_a_guest_without_a_snapshot_is_resumed_too(kernel: Kernel, guest: Guest) -> None:
    table = "(table 1 funcref) (elem $e func) (func (elem.drop $e))"
    count = "(i32.store (i32.const 64) (i32.or (i32.const 3) (i32.shl (i32.load8_u (i32.const 400)) (i32.const 8))))"
    code = guest(table + RESUME, go=f"{count} (call $pair (i32.const 64) (i32.const 4))")
    assert drawn(kernel, code) == [1, 1, 1, 1]


def test_resuming_is_bounded_and_checked(kernel: Kernel, guest: Guest) -> None:
    go = "(call $pair (local.get $p) (local.get $n))"
    endless = guest('(func (export "mix_resume") (param i32) (loop $again (br $again)))', go=go)
    with pytest.raises(RunError) as caught:
        kernel.run_sync(endless, "go", limits=Limits(wall_time=0.2))
    assert isinstance(caught.value.__cause__, LimitExceeded)
    with pytest.raises(EngineError, match=r"export mix_resume: expected \(i32\)"):
        kernel.run_sync(guest('(func (export "mix_resume") (param i64))', go=go), "go")
    ffi = guest(
        """(data (i32.const 64) "$x") (func (export "mix_resume") (param i32)
           (drop (call $ffi (i32.const 64) (i32.const 2) (local.get 0) (i32.const 0))))""",
        go=go,
    )
    with pytest.raises(RunError, match="initialises or resumes"):
        kernel.run_sync(ffi, "go")
    failing = guest('(func (export "mix_resume") (param i32) (unreachable))', go=go)
    for _ in range(3):
        with pytest.raises(RunError, match="trapped"):
            kernel.run_sync(failing, "go")
    assert sum(map(len, kernel.load(failing)._pools.values())) == 0
