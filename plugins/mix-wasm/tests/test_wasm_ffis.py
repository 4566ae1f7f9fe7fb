"""`$wasm_load`, `$wasm_call`, `$wasm_shutdown`: modules that an agent brings, with numbers and with values."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from mix_wasm import library

from mixkit.errors import CancelledRun, GrantError, LimitExceeded
from mixkit.ffi_call import call_ffi
from mixkit.grants import Grants
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.testing.snippets import Session, read_snippets
from mixkit.value import Token
from mixkit.vm.guest import GuestMachine
from mixkit.vm.snapshot import SnapshotCache

Agents = Callable[..., Any]

NUMBERS = """(module (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 0))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "wide") (param i64) (result i64) (local.get 0))
  (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
  (func (export "single") (param f32) (result f32) (local.get 0))
  (func (export "count") (result i32)
    (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
  (func (export "nothing"))
  (func (export "pair") (result i32 i32) (i32.const 1) (i32.const 2))
  (func (export "fail") (unreachable))
  (func (export "spin") (loop $again (br $again)))
  (func $deep (export "deep") (call $deep))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "must_grow") (param i32)
    (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))))"""

GUEST = """(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "log" (func $log (param i32 i32 i32)))
  (import "mix" "panic" (func $panic (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "$core_now")
  (global $heap (mut i32) (i32.const 4096))
  (func (export "mix_alloc") (param i32) (result i32)
    (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func $pair (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))
  (func (export "mix_entry_echo") (param i32 i32) (result i64) (call $pair (local.get 0) (local.get 1)))
  (func (export "mix_entry_broken") (param i32 i32) (result i64) (call $pair (local.get 0) (i32.const 3)))
  (func (export "mix_entry_call") (param i32 i32) (result i64)
    (drop (call $ffi (i32.const 16) (i32.const 9) (local.get 0) (local.get 1))) (i64.const 0))
  (func (export "mix_entry_say") (param i32 i32) (result i64)
    (call $log (i32.const 1) (i32.const 16) (i32.const 9)) (call $pair (local.get 0) (local.get 1)))
  (func (export "mix_entry_give_up") (param i32 i32) (result i64)
    (call $panic (i32.const 17) (i32.const 8)) (i64.const 0))
  (func (export "square") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0))))"""


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


# -- numbers ----------------------------------------------------------------------------------------


def test_numbers_go_in_and_come_out(agent: Agents) -> None:
    run = agent()
    loaded = run.ok("load", wasm(NUMBERS))
    assert loaded["entries"] == []
    assert loaded["functions"]["add"] == "(i32, i32) -> (i32)"
    assert "pair" not in loaded["functions"], "two results are more than one value"
    module = loaded["module"]
    assert isinstance(module, Token)
    assert run.ok("call", module, "add", [2, 3]) == 5
    assert run.ok("call", module, "add", [2**32 - 1, 1]) == 0
    assert run.ok("call", module, "wide", [-(2**63)]) == -(2**63)
    assert run.ok("call", module, "half", [3]) == 1.5
    assert run.ok("call", module, "single", [0.5]) == 0.5
    assert run.ok("call", module, "nothing") is None


def test_an_instance_keeps_its_state_and_two_share_none(agent: Agents) -> None:
    run = agent()
    one, other = run.load(NUMBERS), run.load(NUMBERS)
    assert [run.ok("call", one, "count") for _ in range(3)] == [1, 2, 3]
    assert run.ok("call", other, "count") == 1


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        ("add", [1], "add takes an array of 2 numbers, (i32, i32) -> (i32); found 1 of them"),
        ("add", None, "found 0 of them"),
        ("add", {"a": 1}, "found map"),
        ("add", [1, "2"], "add: args[1]: expected a number for i32, found string"),
        ("add", [1, 2.5], "add: args[1]: expected a number for i32, found number"),
        ("add", [2**32, 0], "add: args[0]: expected an i32, -2147483648 to 4294967295, found 4294967296"),
        ("add", [True, 0], "expected a number for i32, found bool"),
        ("half", ["x"], "expected a number for f64, found string"),
        ("ad", [1, 2], "the module has no function 'ad'; there is add, wide"),
        ("memory", [], "the module has no function 'memory'"),
        ("pair", [], "the module has no function 'pair'"),
    ],
)
def test_what_does_not_fit_is_told_and_harms_nothing(
    agent: Agents, function: str, args: Any, message: str
) -> None:
    run = agent()
    module = run.load(NUMBERS)
    assert message in run.refused("call", module, function, args)
    assert run.ok("call", module, "add", [1, 1]) == 2


# -- values -----------------------------------------------------------------------------------------


def test_a_guest_is_called_with_values(agent: Agents) -> None:
    run = agent()
    loaded = run.ok("load", wasm(GUEST))
    assert set(loaded["entries"]) == {"echo", "broken", "call", "say", "give_up"}
    assert loaded["functions"] == {"square": "(i32) -> (i32)"}
    value = {"text": "ä", "list": [1, 2.5, None, b"\0"], "map": {}}
    assert run.ok("call", loaded["module"], "echo", value) == value
    assert run.ok("call", loaded["module"], "square", [7]) == 49


def test_a_loaded_module_has_no_powers(agent: Agents) -> None:
    run = agent()
    message = run.refused("call", run.load(GUEST), "call", [])
    assert "$core_now was called by a loaded module, which can call no FFIs; call it in the agent" in message


def test_a_token_stays_the_agents_own(agent: Agents) -> None:
    run = agent()
    module = run.load(GUEST)
    assert "token" in run.refused("call", module, "echo", {"secret": Token(b"x")}).lower()
    assert run.ok("call", module, "echo", 1) == 1


def test_a_module_logs_as_its_agent(agent: Agents, caplog: pytest.LogCaptureFixture) -> None:
    run = agent()
    with caplog.at_level("INFO", "mix-vm"):
        run.ok("call", run.load(GUEST), "say", None)
    assert [record.message for record in caplog.records] == ["$core_now"]
    assert run.state.budget.spent("log_size") > 0


def test_what_a_guest_says_when_it_gives_up_reaches_the_agent(agent: Agents) -> None:
    run = agent()
    assert "core_now" in run.refused("call", run.load(GUEST), "give_up")
    assert "answered" in run.refused("call", run.load(GUEST), "broken", 1)


# -- what is no module, and what may not be one -------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "Wasm"),
        (b"\0asm\1\0\0\0\xff", "Wasm"),
        (
            b"x" * 100_001,
            "the module has more than 100000 bytes; the setting wasm.module_bytes",
        ),
    ],
)
def test_what_is_no_module_is_refused(agent: Agents, source: bytes, message: str) -> None:
    run = agent()
    assert message in run.refused("load", source)
    assert message in run.refused("wasi_load", source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('(import "host" "open" (func))', "import host.open: no host function of that name"),
        ('(import "mix" "secrets" (func))', "import mix.secrets: no host function of that name"),
        (
            '(import "mix" "now" (func (result i32)))',
            "import mix.now: expected () -> (f64), found () -> (i32)",
        ),
        ('(import "env" "memory" (memory 1))', "import env.memory"),
        (
            '(import "wasi_snapshot_preview1" "sock_connect" (func))',
            "sock_connect: no host function of that name",
        ),
    ],
)
def test_a_module_imports_nothing_else(agent: Agents, text: str, message: str) -> None:
    run = agent()
    assert message in run.refused("load", wasm(f"(module {text})"))


def test_grants_say_what_may_be_loaded(agent: Agents) -> None:
    module = wasm(NUMBERS)
    digest = f"sha256:{hashlib.sha256(module).hexdigest()}"
    for allowed in (["bytes"], [f"sha256:{'0' * 64}", digest]):
        agent(Grants(("*",), {"wasm.modules": allowed})).ok("load", module)
    for allowed in ([], [f"sha256:{'0' * 64}"]):
        for name in ("load", "wasi_load"):
            with pytest.raises(GrantError, match=f"the module {digest} from bytes is not granted to tester"):
                agent(Grants(("*",), {"wasm.modules": allowed})).call(name, module)
    both = Grants(("*",), {"wasm.modules": ["bytes"]}) & Grants(("*",), {"wasm.modules": [digest]})
    agent(both).ok("load", module)


@pytest.mark.parametrize("value", ["bytes", ["byte"], ["sha256:12"], [1], None])
def test_a_wrong_grant_is_refused_where_it_is_granted(wasm_kernel: Kernel, value: Any) -> None:
    with pytest.raises(GrantError, match=r"grant option wasm\.modules: expected a list"):
        wasm_kernel.ffis.check_grants(Grants(("*",), {"wasm.modules": value}))


# -- limits -----------------------------------------------------------------------------------------


def test_an_endless_loop_ends_in_its_own_time_and_the_run_goes_on(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS)
    began = time.monotonic()
    message = run.refused("call", module, "spin", [], 50)
    assert "took more than 50 ms and was stopped, and the module with it; load it again" in message
    assert time.monotonic() - began < 10
    assert "was shut down or has failed; load it again" in run.refused("call", module, "add", [1, 1])
    assert run.ok("call", run.load(NUMBERS), "add", [1, 1]) == 2


@pytest.mark.parametrize("timeout_ms", [None, 60_000])
def test_the_runs_deadline_ends_a_call(agent: Agents, timeout_ms: float | None) -> None:
    run = agent(wall_time=1)
    module = run.load(NUMBERS)
    # What the watchdog of a run does.
    alarm = threading.Timer(1.05, run.state.interrupt)
    alarm.start()
    with pytest.raises(LimitExceeded, match="wall_time"):
        run.call("call", module, "spin", [], timeout_ms)
    alarm.join()
    with pytest.raises(LimitExceeded, match="wall_time"):
        run.call("call", module, "add", [1, 1])


def test_a_cancelled_run_ends_a_call(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS)
    with pytest.raises(CancelledRun), run.once_running(run.state.interrupt):
        run.call("call", module, "spin")


def test_a_timeout_that_is_none_is_refused(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS)
    assert "expected milliseconds from 0 on, found -1" in run.refused("call", module, "add", [1, 1], -1)
    assert run.ok("call", module, "add", [1, 1], 10_000) == 2


def test_memory_comes_out_of_the_runs_purse(agent: Agents) -> None:
    run = agent(memory=1 << 20)
    module = run.load(NUMBERS)
    assert run.ok("call", module, "grow", [10]) == 1
    assert run.state.budget.purse[0] == (1 << 20) - 11 * 65536
    assert run.ok("call", module, "grow", [10]) == -1, "a refused growth is the module's to deal with"
    other = run.load(NUMBERS)
    assert "the module was shut down: limit memory" in run.refused("call", other, "must_grow", [10])
    assert run.state.budget.purse[0] == (1 << 20) - 11 * 65536, "what failed has given back its own"
    run.call("shutdown", module)
    assert run.state.budget.purse[0] == 1 << 20


def test_a_module_that_begins_too_large_is_refused(agent: Agents) -> None:
    run = agent(memory=1 << 20)
    assert "limit memory" in run.refused("load", wasm("(module (memory 17))"))
    run.load("(module (memory 10))")
    assert "limit memory" in run.refused("load", wasm("(module (memory 10))"))
    assert "limit table" in run.refused("load", wasm("(module (table 200000 funcref))"))


def test_an_agent_may_give_less(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS, {"memory": 131_072, "stack": 32_768})
    assert run.ok("call", module, "grow", [1]) == 1
    assert run.ok("call", module, "grow", [1]) == -1
    assert "options: Expected `int` >= 65536" in run.refused("load", wasm(NUMBERS), {"memory": 1})
    large = run.load(NUMBERS, {"memory": 2**40})
    assert run.ok("call", large, "grow", [1024]) == -1, "not more than the run may have"


def test_the_stack_of_a_module_is_its_own(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS)
    assert "limit stack" in run.refused("call", module, "deep")
    assert "has failed; load it again" in run.refused("call", module, "add", [1, 1])
    assert run.ok("call", run.load(NUMBERS), "add", [1, 1]) == 2


def test_a_trap_costs_the_module_and_not_the_run(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS)
    message = run.refused("call", module, "fail")
    assert "the module failed and was shut down; load it again" in message
    assert "unreachable" in message


def test_calls_are_as_deep_as_agents_may_call(agent: Agents) -> None:
    run = agent(depth=0)
    with pytest.raises(LimitExceeded, match="depth"):
        # Already to start it, unless it takes so long that it was done before.
        run.call("call", run.load(NUMBERS), "add", [1, 1])
    run = agent(depth=1)
    module = run.load(NUMBERS)
    for _ in range(3):
        run.ok("call", module, "add", [1, 1])
    assert run.state.budget.spent("depth") == 0


def test_modules_are_handles_of_the_run(agent: Agents) -> None:
    run, other = agent(handles=3), agent()
    module = run.load(NUMBERS)
    with pytest.raises(LimitExceeded, match="handles"):
        run.call("load", wasm(NUMBERS))
    for foreign in (module, Token(b"")):
        message = other.refused("call", foreign, "add", [1, 1])
        assert message == "the handle is not an open WasmModule of this run"
    assert "not an open WasiProgram" in run.refused("wasi_call", module)
    run.call("shutdown", module)
    run.call("shutdown", module)
    assert "not an open WasmModule" in run.refused("call", module, "add", [1, 1])


def test_a_run_does_not_load_without_end(agent: Agents) -> None:
    run = agent()
    for _ in range(8):
        run.call("shutdown", run.load(NUMBERS))
    assert "this run has loaded 8 modules; the setting wasm.loads raises that" in run.refused(
        "load", wasm(NUMBERS)
    )


def test_code_that_runs_when_a_module_is_loaded_is_stopped_too(agent: Agents) -> None:
    run = agent(wall_time=1)
    alarm = threading.Timer(1.05, run.state.interrupt)
    alarm.start()
    began = time.monotonic()
    with pytest.raises(LimitExceeded, match="wall_time"):
        run.call("load", wasm("(module (func $go (loop $again (br $again))) (start $go))"))
    assert time.monotonic() - began < 10
    alarm.join()


def test_shutting_down_what_runs_stops_it(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS)
    with run.once_running(lambda: run.state.release(module)):
        assert "the module was shut down while it ran" in run.refused("call", module, "spin")


def test_a_module_runs_one_call_at_a_time(agent: Agents) -> None:
    run = agent()
    module = run.load(NUMBERS)
    found: list[str] = []

    def meanwhile() -> None:
        found.append(run.refused("call", module, "add", [1, 1]))
        run.state.release(module)

    with run.once_running(meanwhile):
        assert "shut down while it ran" in run.refused("call", module, "spin")
    assert "is running a call; it runs one at a time" in found[0]


def test_what_is_left_open_closes_with_the_run(agent: Agents) -> None:
    run = agent()
    for _ in range(4):
        run.load(NUMBERS)
    assert run.state.budget.purse[0] == run.state.budget.limits.memory - 4 * 65536
    # The fixture closes it, and looks whether all came back.


async def test_a_call_from_the_command_line_ends_as_well(wasm_kernel: Kernel) -> None:
    answer = await call_ffi(wasm_kernel, "$wasm_load", [wasm(NUMBERS)])
    assert answer.name == "ok"
    spinning = wasm("(module (func $go (loop $again (br $again))) (start $go))")
    with pytest.raises(LimitExceeded, match="wall_time"):
        await call_ffi(wasm_kernel, "$wasm_load", [spinning], limits=Limits(wall_time=0.3))


SLOW = """(module {imports} (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 0))
  (func $work (loop $more
    (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
    (br_if $more (i32.lt_u (i32.load (i32.const 8)) (i32.const 20000000)))))
  (func (export "_initialize")
    (call $work) {more} (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1))))
  (func (export "look") (result i32) (i32.load (i32.const 8)))
  (func (export "count") (result i32)
    (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1))) (i32.load (i32.const 16))))"""
"""A module that takes long to initialise itself."""


def test_what_takes_long_to_start_is_started_once(agent: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    run = agent()
    monkeypatch.setattr(library, "_snapshots", SnapshotCache(4, 1 << 20))
    begun: list[str] = []
    initialize = GuestMachine.initialize

    def noted(self: GuestMachine, env: bytes) -> None:
        begun.append("module")
        initialize(self, env)

    monkeypatch.setattr(GuestMachine, "initialize", noted)
    text = SLOW.format(imports="", more="")
    first, second = run.load(text), run.load(text)
    assert len(begun) == 1
    for module in (first, second):
        assert run.ok("call", module, "look") == 20_000_000
        assert [run.ok("call", module, "count") for _ in range(2)] == [2, 3], (
            "each has its own state from there on"
        )
    # What has drawn random numbers is started anew.
    drawing = SLOW.format(
        imports='(import "mix" "random" (func $random (param i32 i32)))',
        more="(call $random (i32.const 64) (i32.const 8))",
    )
    for _ in range(2):
        run.load(drawing)
    assert len(begun) == 3
    other = agent()
    assert other.ok("call", other.load(text), "count") == 2, "other runs have it too, as it was"
    assert len(begun) == 3
    other.ok("call", other.load(text, {"memory": 131_072}), "count")
    assert len(begun) == 4, "with less memory it may be another"


def test_the_readme_is_true(tmp_path: Path) -> None:
    with Session(tmp_path, dict(os.environ), {}) as session:
        snippets = read_snippets(Path(__file__).parents[1] / "README.md")
        assert snippets
        for snippet in snippets:
            session.run(snippet)
