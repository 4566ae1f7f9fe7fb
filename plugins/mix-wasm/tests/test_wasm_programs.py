"""`$wasm_wasi_load` and `$wasm_wasi_call`: WASI programs, each run in an instance of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from mix_wasm import compiler

from mixkit.errors import CancelledRun, LimitExceeded

Agents = Callable[..., Any]

IMPORTS = {
    "args_sizes_get": "i32 i32",
    "args_get": "i32 i32",
    "environ_sizes_get": "i32 i32",
    "environ_get": "i32 i32",
    "fd_read": "i32 i32 i32 i32",
    "fd_write": "i32 i32 i32 i32",
    "fd_fdstat_get": "i32 i32",
    "fd_prestat_get": "i32 i32",
    "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32",
    "poll_oneoff": "i32 i32 i32 i32",
}


def program(body: str, *, pages: int = 1, rest: str = "") -> str:
    """The text of a program; `$say` writes the bytes from A to B to stdout, `$exit` ends it."""
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) (result i32)))'
        for name, params in IMPORTS.items()
    )
    return f"""(module {imports}
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") {pages})
      (func $write (param $fd i32) (param $from i32) (param $size i32)
        (i32.store (i32.const 0) (local.get $from)) (i32.store (i32.const 4) (local.get $size))
        (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
      {rest}
      (func (export "_start") {body}))"""


ECHO = program(
    """(local $n i32)
    (loop $more
      (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const 7))
      (i32.store (i32.const 24) (i32.const 1031)) (i32.store (i32.const 28) (i32.const 100))
      (drop (call $fd_read (i32.const 0) (i32.const 16) (i32.const 2) (i32.const 12)))
      (local.set $n (i32.load (i32.const 12)))
      (if (local.get $n) (then (call $write (i32.const 1) (i32.const 1024) (local.get $n)) (br $more))))"""
)
"""Writes what it reads."""

TOLD = program(
    """(drop (call $args_sizes_get (i32.const 100) (i32.const 104)))
    (drop (call $args_get (i32.const 200) (i32.const 1024)))
    (call $write (i32.const 1) (i32.const 1024) (i32.load (i32.const 104)))
    (drop (call $environ_sizes_get (i32.const 100) (i32.const 104)))
    (drop (call $environ_get (i32.const 300) (i32.const 2048)))
    (call $write (i32.const 2) (i32.const 2048) (i32.load (i32.const 104)))
    ;; The second argument begins where it says.
    (call $exit (i32.load8_u (i32.load (i32.const 204))))"""
)
"""Writes its arguments to stdout and its variables to stderr."""


def test_a_program_reads_and_writes(agent: Agents) -> None:
    run = agent()
    echo = run.program(ECHO)
    for text in (b"", b"one", bytes(range(256)) * 5):
        assert run.ok("wasi_call", echo, {"stdin": text}) == {"exit_code": 0, "stdout": text, "stderr": b""}
    assert run.ok("wasi_call", echo, {"stdin": "Grüße"})["stdout"] == "Grüße".encode()
    assert run.ok("wasi_call", echo)["stdout"] == b""


def test_a_program_gets_its_arguments_and_variables_and_no_others(agent: Agents) -> None:
    run = agent()
    told = run.program(TOLD)
    answer = run.ok("wasi_call", told, {"args": ["wc", "-w", "ä"], "env": {"A": "1", "B": ""}})
    assert answer == {"exit_code": ord("-"), "stdout": "wc\0-w\0ä\0".encode(), "stderr": b"A=1\0B=\0"}
    assert run.ok("wasi_call", told)["stderr"] == b""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": ["a\0b"]}, "args and env: expected texts without zero characters"),
        ({"env": {"A": "\0"}}, "args and env: expected texts without zero characters"),
        ({"env": {"A=B": "1"}}, "env: expected names of variables without '='"),
        ({"env": {"": "1"}}, "env: expected names of variables without '='"),
        ({"timeout_ms": -5}, "expected milliseconds from 0 on"),
    ],
)
def test_what_a_program_cannot_be_given_is_refused(agent: Agents, options: Any, message: str) -> None:
    run = agent()
    assert message in run.refused("wasi_call", run.program(TOLD), options)


@pytest.mark.parametrize("status", [0, 1, 77, 2**32 - 1])
def test_the_exit_status_comes_back(agent: Agents, status: int) -> None:
    run = agent()
    text = program(f"(call $exit (i32.const {status})) (unreachable)")
    assert run.ok("wasi_call", run.program(text))["exit_code"] == status


def test_each_call_has_an_instance_of_its_own(agent: Agents) -> None:
    run = agent()
    counting = run.program(
        program(
            "(global.set $n (i32.add (global.get $n) (i32.const 1))) (call $exit (global.get $n))",
            rest="(global $n (mut i32) (i32.const 0))",
        )
    )
    assert [run.ok("wasi_call", counting)["exit_code"] for _ in range(3)] == [1, 1, 1]
    assert run.state.budget.purse[0] == run.state.budget.limits.memory, "nothing stays between calls"


def test_a_program_sees_nothing_of_the_host(agent: Agents) -> None:
    run = agent()
    text = program(
        """(local $opened i32)
        (local.set $opened (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0)
          (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 80)))
        (if (i32.ne (local.get $opened) (i32.const 76)) (then (call $exit (i32.const 1))))
        (if (i32.ne (call $fd_prestat_get (i32.const 3) (i32.const 64)) (i32.const 8))
          (then (call $exit (i32.const 2))))
        (drop (call $fd_fdstat_get (i32.const 0) (i32.const 64)))
        (call $exit (i32.add (i32.const 100) (i32.load8_u (i32.const 64))))"""
    )
    assert run.ok("wasi_call", run.program(text))["exit_code"] == 100, (
        "no folders, and the streams are no terminal"
    )


def test_input_that_waits_is_ready_and_its_end_is_too(agent: Agents) -> None:
    run = agent()
    text = program(
        """(i32.store8 (i32.const 72) (i32.const 1))
        (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))
        (call $write (i32.const 1) (i32.const 144) (i32.const 10))"""
    )
    ready = run.program(text)
    assert run.ok("wasi_call", ready, {"stdin": b"12345"})["stdout"] == b"\5" + bytes(9)
    assert run.ok("wasi_call", ready)["stdout"] == bytes(8) + b"\1\0", "nothing to read, and hung up"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(module)", "export _start: expected () -> (), found nothing; export memory: expected a memory"),
        ('(module (memory (export "memory") 1) (func (export "_start") (result i32) (i32.const 1)))',
         "export _start: expected () -> (), found () -> (i32)"),
        ('(module (memory (export "memory") 1) (func (export "_initialize")))', "$wasm_load loads those"),
        ('(module (import "mix" "now" (func (result f64))) (memory (export "memory") 1) (func (export "_start")))',
         "import mix.now: no host function of that name; guests import from wasi_snapshot_preview1"),
        ('(module (import "wasi_snapshot_preview1" "args_get" (func)) (func (export "_start")))',
         "import wasi_snapshot_preview1.args_get: expected (i32, i32) -> (i32), found () -> ()"),
    ],
)  # fmt: skip
def test_what_is_no_program_is_refused(agent: Agents, text: str, message: str) -> None:
    run = agent()
    assert message in run.refused("wasi_load", bytes(wasmtime.wat2wasm(text)))


# -- limits -----------------------------------------------------------------------------------------


def test_output_is_bounded(agent: Agents) -> None:
    run = agent()
    endless = run.program(
        program("(loop $again (call $write (i32.const 2) (i32.const 0) (i32.const 999)) (br $again))")
    )
    message = run.refused("wasi_call", endless)
    assert (
        "wrote more than 10000 bytes to stdout and stderr and was stopped; the setting wasm.output_bytes"
        in message
    )
    assert run.state.budget.spent("memory") == 0
    exactly = run.program(program("(call $write (i32.const 1) (i32.const 0) (i32.const 10000))"))
    assert len(run.ok("wasi_call", exactly)["stdout"]) == 10_000


def test_a_trap_is_told_with_the_last_words(agent: Agents) -> None:
    run = agent()
    text = program(
        "(call $write (i32.const 2) (i32.const 512) (i32.const 11)) (unreachable)",
        rest='(data (i32.const 512) "it is late\\n")',
    )
    failing = run.program(text)
    message = run.refused("wasi_call", failing)
    assert "unreachable" in message
    assert message.endswith("last on stderr: it is late")
    assert run.refused("wasi_call", failing) == message, "the program itself may be run again"


def test_pointers_out_of_memory_are_a_trap(agent: Agents) -> None:
    run = agent()
    for body in (
        "(drop (call $args_get (i32.const -4) (i32.const 0)))",
        "(drop (call $environ_sizes_get (i32.const 65535) (i32.const 0)))",
        "(call $write (i32.const 1) (i32.const 65000) (i32.const 1000))",
        "(i32.store (i32.const 16) (i32.const -1)) (i32.store (i32.const 20) (i32.const 100))"
        "(drop (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 12)))",
    ):
        options = {"args": ["x"], "env": {"A": "1"}, "stdin": "text"}
        assert "the module failed" in run.refused("wasi_call", run.program(program(body)), options)


SPIN = program("(loop $again (br $again))")
SLEEP = program(
    # A clock, of the monotonic kind, in an hour.
    """(i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))"""
)


@pytest.mark.parametrize("text", [SPIN, SLEEP])
def test_a_program_ends_in_its_own_time(agent: Agents, text: str) -> None:
    run = agent()
    endless = run.program(text)
    began = time.monotonic()
    assert "took more than 50 ms and was stopped" in run.refused("wasi_call", endless, {"timeout_ms": 50})
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("text", [SPIN, SLEEP])
def test_a_program_ends_with_the_run(agent: Agents, text: str) -> None:
    run = agent()
    endless = run.program(text)
    with pytest.raises(CancelledRun), run.once_running(run.state.interrupt):
        run.call("wasi_call", endless)
    run = agent(wall_time=1)
    endless = run.program(text)
    alarm = threading.Timer(1.05, run.state.interrupt)
    alarm.start()
    with pytest.raises(LimitExceeded, match="wall_time"):
        run.call("wasi_call", endless)
    alarm.join()


@pytest.mark.parametrize("text", [SPIN, SLEEP])
def test_shutting_down_a_program_that_runs_stops_it(agent: Agents, text: str) -> None:
    run = agent()
    endless = run.program(text)
    with run.once_running(lambda: run.state.release(endless)):
        assert "was shut down while it ran" in run.refused("wasi_call", endless)
    assert "not an open WasiProgram" in run.refused("wasi_call", endless)


def test_memory_and_stack_are_bounded(agent: Agents) -> None:
    run = agent(memory=1 << 20)
    greedy = run.program(
        program("(if (i32.eq (memory.grow (i32.const 20)) (i32.const -1)) (then unreachable))")
    )
    assert "limit memory" in run.refused("wasi_call", greedy)
    assert "limit memory" in run.refused("wasi_call", run.program(program("", pages=17)))
    assert "limit memory" in run.refused("wasi_call", run.program(program("", pages=3)), {"memory": 131_072})
    deep = run.program(program("(call $deep)", rest="(func $deep (call $deep))"))
    assert "limit stack" in run.refused("wasi_call", deep)


def test_a_program_in_c(agent: Agents, tmp_path: Path) -> None:
    """What a compiler's libc makes of it."""
    pytest.importorskip("ziglang")
    source = tmp_path / "sum.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\nint main(int argc, char **argv) {\n"
        '  long n = 0, sum = 0;\n  while (scanf("%ld", &n) == 1) sum += n;\n'
        '  printf("%s %ld %s\\n", argv[1], sum, getenv("UNIT"));\n  fprintf(stderr, "%d arguments\\n", argc);\n'
        '  return fopen("/etc/passwd", "r") ? 1 : 3;\n}\n'
    )
    out = tmp_path / "sum.wasm"
    # As guests are compiled, but to be run from beginning to end; so libc is the one that is there.
    flags = [flag for flag in compiler._flags(False) if flag != "-mexec-model=reactor"]
    done = compiler._zig((*flags, str(source), "-o", str(out)), tmp_path)
    assert done.returncode == 0, done.stderr
    run = agent()
    program = run.ok("wasi_load", out.read_bytes())["module"]
    answer = run.ok(
        "wasi_call", program, {"args": ["sum", "total"], "env": {"UNIT": "kg"}, "stdin": "1 2\n39\n"}
    )
    assert answer == {"exit_code": 3, "stdout": b"total 42 kg\n", "stderr": b"2 arguments\n"}
