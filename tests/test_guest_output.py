"""The last words of a guest: what it wrote before it failed is logged, and the end of stderr stands in the error."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from mixkit import Kernel
from mixkit.errors import GuestError, LimitExceeded, RunError
from mixkit.limits import Limits
from mixkit.vm.output import Output

Guest = Callable[..., bytes]

WASI = """
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"""
WRITE = """(func $write (param $fd i32) (param $at i32) (param $size i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
  (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (data (i32.const 64) "thread 'main' panicked at src/lib.rs:7:5:\\nindex out of bounds")
  (data (i32.const 256) "half a line")"""
PANICS = "(call $write (i32.const 1) (i32.const 256) (i32.const 11)) (call $write (i32.const 2) (i32.const 64) (i32.const 61))"
REASON = "thread 'main' panicked at src/lib.rs:7:5: | index out of bounds"


def failure(kernel: Kernel, code: bytes, **limits: float) -> Exception:
    with pytest.raises(RunError) as caught:
        kernel.run_sync(code, "go", limits=Limits(**limits))  # type: ignore[arg-type]
    cause = caught.value.__cause__
    assert isinstance(cause, Exception)
    return cause


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "mix-vm"]


@pytest.mark.parametrize(
    ("end", "trap"), [("(unreachable)", "unreachable"), ("(call $exit (i32.const 101))", "exit")]
)
def test_a_guest_that_gives_up_says_why(
    kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture, end: str, trap: str
) -> None:
    caplog.set_level("DEBUG", "mix-vm")
    error = failure(kernel, guest(WRITE, imports=WASI, go=f"{PANICS} {end} (i64.const 0)"))
    assert isinstance(error, GuestError) and error.trap == trap
    assert str(error).endswith(f"last on stderr: {REASON}")
    assert logged(caplog) == [
        "thread 'main' panicked at src/lib.rs:7:5:",
        "half a line",
        "index out of bounds",
    ]


def test_so_does_one_that_fails_before_its_entry(
    kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "mix-vm")
    init = f'(func (export "mix_init") (param i32 i32) {PANICS} (unreachable))'
    code = guest(WRITE + init, imports=WASI, go="(i64.const 0)")
    assert REASON in str(failure(kernel, code))
    assert "half a line" in logged(caplog)


def test_one_that_is_stopped_is_logged_too(
    kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "mix-vm")
    code = guest(WRITE, imports=WASI, go=f"{PANICS} (loop $again (br $again)) (i64.const 0)")
    error = failure(kernel, code, wall_time=0.3)
    assert isinstance(error, LimitExceeded) and error.limit == "wall_time"
    assert "half a line" in logged(caplog)


def test_a_full_log_does_not_hide_the_failure(kernel: Kernel, guest: Guest) -> None:
    # There is room for one line: the others are not logged, and still known.
    error = failure(kernel, guest(WRITE, imports=WASI, go=f"{PANICS} (unreachable)"), log_size=150)
    assert isinstance(error, GuestError) and REASON in str(error)


def test_a_run_that_is_good_ends_its_lines(
    kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "mix-vm")
    kernel.run_sync(
        guest(WRITE, imports=WASI, go=f"{PANICS} (call $pair (local.get $p) (local.get $n))"), "go"
    )
    assert sorted(record.levelno for record in caplog.records if record.name == "mix-vm") == [
        logging.INFO, logging.WARNING, logging.WARNING,
    ]  # fmt: skip


def test_last_words_are_few_short_and_forge_nothing() -> None:
    output = Output()
    for number in range(1_000):
        list(output.lines(2, b"line %d \x1b[2J\n\n" % number))
    list(output.lines(2, b"x" * 1_000_000))
    text = str(output.explain(GuestError("it trapped")))
    assert len(text) < 3_000 and text.isprintable()
    few = Output()
    list(few.lines(2, b"\nfirst\x1b[2J\n \n"))
    list(few.lines(1, b"not this\n"))
    assert str(few.explain(GuestError("it trapped"))) == "it trapped; last on stderr: first\\x1b[2J"


def test_without_last_words_the_error_is_as_it_was() -> None:
    error = GuestError("it trapped", trap="unreachable", backtrace=["f"])
    assert Output().explain(error) is error
