"""WASI preview 1 as far as runtimes need it, and what AssemblyScript imports: called from guests, number by number."""

from __future__ import annotations

import asyncio
import re
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.errors import GuestError, LimitExceeded, RunError
from mixkit.limits import Limits
from mixkit.vm.guest import HOST_IMPORTS

Guest = Callable[..., bytes]
SUCCESS, BADF, INVAL, SPIPE = 0, 8, 28, 70
MILLISECOND = 1_000_000
PLACE = 70_000
"""Where arguments that are pointers point to."""


def call(
    kernel: Kernel, guest: Guest, name: str, *args: int, data: bytes = b"", **limits: Any
) -> tuple[int, bytes]:
    """Call a function of WASI with `data` at `PLACE`: the error number, and the 256 bytes from there afterwards."""
    kind = HOST_IMPORTS["wasi_snapshot_preview1", name].type
    params = " ".join(kind.params)
    imports = f'(import "wasi_snapshot_preview1" "{name}" (func $it (param {params}) (result i32)))'
    passed = " ".join(f"({param}.const {arg})" for param, arg in zip(kind.params, args, strict=True))
    text = "".join(f"\\{byte:02x}" for byte in data)
    # A binary of 260 bytes: the number, then the memory.
    go = f"""(i32.store (i32.const 64) (i32.const {8 | 260 << 8})) (i32.store (i32.const 68) (call $it {passed}))
      (memory.copy (i32.const 72) (i32.const {PLACE}) (i32.const 256)) (call $pair (i32.const 64) (i32.const 264))"""
    code = guest(f'(data (i32.const {PLACE}) "{text}")', imports=imports, go=go)
    value = kernel.run_sync(code, "go", limits=Limits(**limits)).value
    return struct.unpack("<I", value[:4])[0], value[4:]


def clock(purpose: int, wait: int, *, of: int = 1, absolute: bool = False) -> bytes:
    return struct.pack("<QB7xI4xQQH6x", purpose, 0, of, wait, 0, absolute)


def stream(purpose: int, kind: int, fd: int) -> bytes:
    return struct.pack("<QB7xI28x", purpose, kind, fd)


def poll(kernel: Kernel, guest: Guest, *subscriptions: bytes, **limits: Any) -> list[tuple[int, ...]]:
    """What has come: purpose, error number, kind, bytes, flags."""
    size = len(subscriptions)
    number, after = call(
        kernel, guest, "poll_oneoff", PLACE, PLACE + 8, size, PLACE, data=b"".join(subscriptions), **limits
    )
    assert number == SUCCESS
    (found,) = struct.unpack_from("<I", after)
    return list(struct.iter_unpack("<QHB5xQH6x", after[8 : 8 + 32 * found]))


def test_a_guest_sleeps_until_the_first_clock(kernel: Kernel, guest: Guest) -> None:
    began = time.monotonic()
    assert poll(kernel, guest, clock(7, 3600 * 10**9), clock(8, 30 * MILLISECOND)) == [(8, 0, 0, 0, 0)]
    assert time.monotonic() - began >= 0.03
    absolute = clock(9, time.time_ns() + 30 * MILLISECOND, of=0, absolute=True)
    assert poll(kernel, guest, absolute) == [(9, 0, 0, 0, 0)]
    assert time.time_ns() >= struct.unpack_from("<Q", absolute, 24)[0]
    assert poll(kernel, guest, clock(1, 5, absolute=True)) == [(1, 0, 0, 0, 0)], "that is long past"


def test_streams_are_ready_and_what_is_not_offered_says_so(kernel: Kernel, guest: Guest) -> None:
    hour = clock(1, 3600 * 10**9)
    assert poll(kernel, guest, hour, stream(2, 1, 0), stream(3, 2, 1)) == [
        (2, 0, 1, 0, 1),
        (3, 0, 2, 65536, 0),
    ]
    assert poll(kernel, guest, hour, stream(4, 1, 9)) == [(4, BADF, 1, 0, 1)]
    assert poll(kernel, guest, hour, clock(5, 1, of=3)) == [(5, INVAL, 0, 0, 0)]
    assert poll(kernel, guest, hour, stream(6, 77, 0)) == [(6, INVAL, 77, 0, 0)]
    for count in (0, -1, 1025):
        assert call(kernel, guest, "poll_oneoff", PLACE, PLACE, count, PLACE)[0] == INVAL


def test_a_sleep_ends_with_the_run(kernel: Kernel, guest: Guest) -> None:
    with pytest.raises(RunError) as caught:
        poll(kernel, guest, clock(1, 2**64 - 1), wall_time=0.2)
    assert isinstance(caught.value.__cause__, LimitExceeded)
    assert caught.value.__cause__.limit == "wall_time"


async def test_a_sleeping_run_holds_neither_the_event_loop_nor_a_thread(guest: Guest) -> None:
    imports = (
        '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
    )
    sleep = f"(drop (call $poll (i32.const {PLACE}) (i32.const {PLACE}) (i32.const 1) (i32.const {PLACE})))"
    text = "".join(f"\\{byte:02x}" for byte in clock(1, 300 * MILLISECOND))
    code = guest(
        f'(data (i32.const {PLACE}) "{text}")',
        imports=imports,
        go=f"{sleep} (call $pair (local.get $p) (local.get $n))",
    )
    with Kernel("test", environ={}, overrides={"settings.kernel.threads": 1}) as kernel:
        program = kernel.load(code)
        await kernel.run(program, "go", 0)
        began = time.monotonic()
        answers = await asyncio.gather(*(kernel.run(program, "go", number) for number in range(20)))
        assert [answer.value for answer in answers] == list(range(20))
        assert time.monotonic() - began < 20 * 0.3 / 2


def test_standard_input_is_at_its_end_and_streams_are_no_files(kernel: Kernel, guest: Guest) -> None:
    vector = struct.pack("<III", PLACE + 100, 10, 99)
    number, after = call(kernel, guest, "fd_read", 0, PLACE, 1, PLACE + 8, data=vector)
    assert (number, after[8:12]) == (SUCCESS, bytes(4))
    for fd in (0, 1, 2):
        number, after = call(kernel, guest, "fd_filestat_get", fd, PLACE, data=b"\xff" * 64)
        assert number == SUCCESS
        assert struct.unpack("<QQB7xQQQQQ", after[:64]) == (0, 0, 2, 1, 0, 0, 0, 0)
        assert call(kernel, guest, "fd_fdstat_get", fd, PLACE)[1][0] == 2
        assert call(kernel, guest, "fd_seek", fd, 0, 0, PLACE)[0] == SPIPE
        assert call(kernel, guest, "fd_fdstat_set_flags", fd, 4)[0] == SUCCESS
    for name, args in (
        ("fd_read", (1, PLACE, 1, PLACE)),
        ("fd_filestat_get", (3, PLACE)),
        ("fd_seek", (3, 0, 0, PLACE)),
        ("fd_close", (3,)),
    ):
        assert call(kernel, guest, name, *args)[0] == BADF
    assert call(kernel, guest, "sched_yield")[0] == SUCCESS


# -- AssemblyScript ---------------------------------------------------------------------------------

ENV = """(import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (import "env" "seed" (func $seed (result f64))) (import "env" "Date.now" (func $date (result f64)))"""


def string(at: int, text: str) -> str:
    """A string object as that language keeps it: the length in bytes stands before the characters."""
    data = struct.pack("<I", 2 * len(text)) + text.encode("utf-16-le")
    return f'(data (i32.const {at - 4}) "{"".join(f"{chr(92)}{byte:02x}" for byte in data)}")'


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("(i32.const 200) (i32.const 300) (i32.const 12) (i32.const 5)", "ü is missing at agent.ts:12:5"),
        ("(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)", "abort"),
        ("(i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0)", "cannot read 4 bytes at .*: outside"),
        ("(i32.const 131000) (i32.const 0) (i32.const 0) (i32.const 0)", "cannot read 8192 bytes"),
    ],
)
def test_an_abort_says_what_and_where(kernel: Kernel, guest: Guest, args: str, said: str) -> None:
    text = (
        string(200, "ü is missing") + string(300, "agent.ts") + '(data (i32.const 130996) "\\ff\\ff\\ff\\ff")'
    )
    code = guest(text, imports=ENV, go=f"(call $abort {args}) (i64.const 0)")
    with pytest.raises(RunError, match=f"^{said}") as caught:
        kernel.run_sync(code, "go")
    assert isinstance(caught.value.__cause__, GuestError)


def test_seeds_differ_and_the_date_is_in_milliseconds(kernel: Kernel, guest: Guest) -> None:
    def number(what: str) -> float:
        go = f"(i32.store (i32.const 64) (i32.const 5)) (f64.store (i32.const 68) ({what})) (call $pair (i32.const 64) (i32.const 12))"
        return float(kernel.run_sync(guest(imports=ENV, go=go), "go").value)

    assert len({number("call $seed") for _ in range(4)}) == 4
    before = int(time.time() * 1000)
    assert before <= number("call $date") <= time.time() * 1000


@pytest.mark.parametrize("what", ["seed", "date"])
def test_neither_is_frozen(kernel: Kernel, guest: Guest, what: str) -> None:
    init = f'(func (export "mix_init") (param i32 i32) (drop (call ${what})))'
    kernel.run_sync(guest(init, imports=ENV), "echo", 1)
    assert kernel.programs.snapshots.size == 0


# -- memory that is used up ---------------------------------------------------------------------------

EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'


@pytest.mark.parametrize(
    ("imports", "end", "said"),
    [
        (EXIT, "(call $exit (i32.const 3))", r"exit\(3\)"),
        (ENV, "(call $abort (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0))", "no room"),
        ("", "(call $panic (i32.const 200) (i32.const 4))", "n"),
        ("", "(unreachable)", "could not go on without more"),
    ],
)
@pytest.mark.parametrize("pages", [1, 60_000])
def test_a_guest_that_gives_up_for_want_of_memory_is_told_the_limit(
    kernel: Kernel, guest: Guest, imports: str, end: str, said: str, pages: int
) -> None:
    go = f"(drop (memory.grow (i32.const {pages}))) {end} (unreachable)"
    with pytest.raises(RunError) as caught:
        kernel.run_sync(guest(string(200, "no room"), imports=imports, go=go), "go")
    cause, message = caught.value.__cause__, str(caught.value)
    if pages == 1:
        assert isinstance(cause, GuestError)
    else:
        assert isinstance(cause, LimitExceeded) and cause.limit == "memory"
        assert re.search(rf"limit memory of 67108864 bytes exceeded \(.*{said}.*\); raise it", message)
