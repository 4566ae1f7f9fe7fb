"""The kernel end to end: guests that behave, guests that do not, and what each ends in."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.converter import converter
from mixkit.environment import Env
from mixkit.errors import (
    AnswerError,
    CancelledRun,
    EngineError,
    GrantError,
    GuestError,
    LimitExceeded,
    NotFound,
    RunError,
)
from mixkit.ffi import FFIGroup, FFITable
from mixkit.grants import ALL, NONE, Grants
from mixkit.limits import Limits
from mixkit.schema import Mismatch
from mixkit.schema_text import parse
from mixkit.state import State

Guest = Callable[..., bytes]
STOPS_WITHIN = 0.05
"""Seconds by which a run may overstep its deadline, of the issue's promise; tests allow a loaded machine ten times that."""

LOOP = "(loop $again (br $again)) (unreachable)"
RECURSE = (
    "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"
)
BOMB = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)"
TWO_MEMORIES = "(memory $second 1) (memory $third 1)"
BOMB_SECOND = """
  (loop $more (br_if $more (i32.ne (memory.grow $second (i32.const 4)) (i32.const -1))))
  (loop $more (br_if $more (i32.ne (memory.grow $third (i32.const 1)) (i32.const -1))))
  (unreachable)"""


def named(name: str) -> str:
    """Data for an FFI's name at address 64, and a call of it with the entry's parameters."""
    return f'(data (i32.const 64) "{name}")'


def calls(name: str) -> str:
    return f"(call $call (i32.const 64) (i32.const {len(name)}) (local.get $p) (local.get $n))"


PAUSED: list[str] = []
"""Threads in which `$test_pause` was called."""


@pytest.fixture
def equipped(kernel: Kernel) -> Iterator[Kernel]:
    """A kernel with FFIs of the tests' own."""
    group = FFIGroup("test")
    group.register_simple("$test_add", lambda a, b: a + b)

    @group.register("$test_sleep")
    async def sleep(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @group.register("$test_pause", quick=True)
    def pause(state: State) -> None:
        time.sleep(0.01)
        PAUSED.append(threading.current_thread().name)

    @group.register("$test_pause_async")
    async def pause_async(state: State) -> None:
        pause(state)

    @group.register("$test_fail")
    def fail(text: str) -> None:
        raise ValueError(text)

    @group.register("$test_hold")
    def hold(state: State, n: int) -> None:
        for _ in range(n):
            state.hold(object())

    @group.register("$test_thread")
    async def thread() -> str:
        return threading.current_thread().name

    kernel.ffis = FFITable([group])
    yield kernel


def cause(kernel: Kernel, code: bytes, entry: str, params: Any = None, **kwargs: Any) -> BaseException:
    """What ended a run."""
    with pytest.raises(RunError) as caught:
        kernel.run_sync(code, entry, params, **{"grants": ALL, **kwargs})
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


# -- what works ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 1, -(2**63), 1.5, "text", b"\x00\xff", [1, [2]], {"a": {"b": []}}])
def test_values_pass_through(kernel: Kernel, guest: Guest, value: Any) -> None:
    assert kernel.run_sync(guest(), "echo", value).value == value


async def test_async_run(kernel: Kernel, guest: Guest) -> None:
    results = await asyncio.gather(*(kernel.run(guest(), "echo", n) for n in range(20)))
    assert [result.value for result in results] == list(range(20))


def test_sync_and_async_ffis(equipped: Kernel, guest: Guest) -> None:
    code = guest(named("$test_add") + '(data (i32.const 128) "$test_sleep")', add=calls("$test_add"),
                 sleep="(call $call (i32.const 128) (i32.const 11) (local.get $p) (local.get $n))")  # fmt: skip
    assert equipped.run_sync(code, "add", [2, 3], grants=ALL).value == 5
    assert equipped.run_sync(code, "sleep", [0.001], grants=ALL).value == "slept"
    assert asyncio.run(equipped.run(code, "sleep", [0.001], grants=ALL)).value == "slept"


def test_a_file_can_be_run(kernel: Kernel, guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "echo.wasm").write_bytes(guest())
    assert kernel.run_sync(tmp_path / "echo.wasm", "echo", 5).value == 5
    with pytest.raises(NotFound, match="cannot read"):
        kernel.run_sync(tmp_path / "none.wasm", "echo")


def test_log_lines_carry_the_run(kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    code = guest('(data (i32.const 64) "hello\\nforged")',
                 speak="(call $log (i32.const 2) (i32.const 64) (i32.const 12)) (call $pair (local.get $p) (local.get $n))")  # fmt: skip
    with caplog.at_level(logging.DEBUG, "mix-vm"):
        kernel.run_sync(code, "speak", run_id="r-77")
    (record,) = [record for record in caplog.records if record.name == "mix-vm"]
    assert record.getMessage() == "hello\\nforged"
    assert record.levelno == logging.WARNING
    assert record.run_id == "r-77"  # type: ignore[attr-defined]


# -- what ends in a named error, and leaves the kernel as it was ------------------------------------


def test_an_endless_loop_ends_at_the_deadline(kernel: Kernel, guest: Guest) -> None:
    code = guest(spin=LOOP)
    kernel.run_sync(code, "echo")
    began = time.monotonic()
    error = cause(kernel, code, "spin", limits=Limits(wall_time=0.2))
    assert isinstance(error, LimitExceeded) and error.limit == "wall_time"
    assert "MIXKIT_LIMITS_WALL_TIME" in str(error)
    assert time.monotonic() - began < 0.2 + 10 * STOPS_WITHIN
    assert kernel.run_sync(code, "echo", 1).value == 1


def test_endless_recursion(kernel: Kernel, guest: Guest) -> None:
    code = guest(RECURSE, deep="(drop (call $deep (i32.const 0))) (i64.const 0)")
    error = cause(kernel, code, "deep")
    assert isinstance(error, LimitExceeded) and error.limit == "stack"
    assert kernel.run_sync(code, "echo", 1).value == 1


@pytest.mark.parametrize(("text", "bomb"), [("", BOMB), (TWO_MEMORIES, BOMB_SECOND)])
def test_a_memory_bomb_through_one_memory_or_several(
    kernel: Kernel, guest: Guest, text: str, bomb: str
) -> None:
    code = guest(text, bomb=bomb)
    error = cause(kernel, code, "bomb", limits=Limits(memory=4 << 20))
    assert isinstance(error, LimitExceeded) and error.limit == "memory"
    assert kernel.run_sync(code, "echo", 1).value == 1


def test_a_host_call_that_outlasts_the_deadline(equipped: Kernel, guest: Guest) -> None:
    code = guest(named("$test_sleep"), sleep=calls("$test_sleep"))
    for run in (equipped.run_sync, lambda *a, **k: asyncio.run(equipped.run(*a, **k))):
        began = time.monotonic()
        with pytest.raises(RunError, match="wall_time"):
            run(code, "sleep", [3600.0], grants=ALL, limits=Limits(wall_time=0.1))
        assert time.monotonic() - began < 0.1 + 10 * STOPS_WITHIN
    assert equipped.run_sync(code, "sleep", [0.0], grants=ALL).value == "slept"


def test_a_flood_of_log_lines(kernel: Kernel, guest: Guest) -> None:
    code = guest(
        flood="(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 1000)) (br $again)) (unreachable)"
    )
    error = cause(kernel, code, "flood", limits=Limits(log_size=100_000))
    assert isinstance(error, LimitExceeded) and error.limit == "log_size"


def test_a_flood_of_handles(equipped: Kernel, guest: Guest) -> None:
    code = guest(named("$test_hold"), hold=calls("$test_hold"))
    error = cause(equipped, code, "hold", [1_000_000])
    assert isinstance(error, LimitExceeded) and error.limit == "handles"


def test_a_flood_of_host_calls(equipped: Kernel, guest: Guest) -> None:
    code = guest(
        named("$test_add"), flood=f"(loop $again (drop {calls('$test_add')}) (br $again)) (unreachable)"
    )
    error = cause(equipped, code, "flood", [1, 2], limits=Limits(host_calls=1000))
    assert isinstance(error, LimitExceeded) and error.limit == "host_calls"


def test_a_result_over_the_limit(kernel: Kernel, guest: Guest) -> None:
    error = cause(kernel, guest(), "echo", "x" * 5000, limits=Limits(result_size=1000))
    assert isinstance(error, LimitExceeded) and error.limit == "result_size"


def test_parameters_over_the_limit(kernel: Kernel, guest: Guest) -> None:
    with pytest.raises(LimitExceeded, match="params_size"):
        kernel.run_sync(guest(), "echo", "x" * 5000, limits=Limits(params_size=1000))


def test_limits_of_a_run_cannot_raise_those_of_the_profile(kernel: Kernel, guest: Guest) -> None:
    error = cause(kernel, guest(bomb=BOMB), "bomb", limits=Limits(memory=1 << 31))
    assert isinstance(error, LimitExceeded) and error.value == kernel.limits.memory


def test_a_guest_can_panic_with_its_own_words(kernel: Kernel, guest: Guest) -> None:
    code = guest(
        '(data (i32.const 64) "no such city")',
        fail="(call $panic (i32.const 64) (i32.const 12)) (i64.const 0)",
    )
    error = cause(kernel, code, "fail")
    assert isinstance(error, GuestError) and str(error) == "no such city" and error.trap == "panic"


def test_a_failing_ffi_does_not_show_its_inside(equipped: Kernel, guest: Guest) -> None:
    code = guest(named("$test_fail"), fail=calls("$test_fail"))
    error = cause(equipped, code, "fail", ["secret detail"])
    assert "secret detail" not in str(error) and "$test_fail" in str(error)


# -- broken guests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(unreachable)", "unreachable"),
        ("(call $pair (i32.const -16) (i32.const 100))", "outside"),
        ("(call $pair (i32.const 64) (i32.const 0x7fffffff))", "outside|result_size"),
        ("(call $pair (i32.const 64) (i32.const 3))", "no value"),
        ("(call $take (i32.const 0)) (i64.const 0)", "without an answer"),
        (
            "(drop (call $ffi (i32.const -8) (i32.const 64) (i32.const 0) (i32.const 0))) (i64.const 0)",
            "outside",
        ),
        (
            "(drop (call $ffi (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0))) (i64.const 0)",
            "FFI name",
        ),
        ("(call $log (i32.const 1) (i32.const -8) (i32.const 64)) (i64.const 0)", "outside"),
        ("(call $random (i32.const 131064) (i32.const 64)) (i64.const 0)", "outside"),
        ("(call $random (i32.const 0) (i32.const -1)) (i64.const 0)", "random gives at most"),
        ("(drop (i32.load (i32.const -8))) (i64.const 0)", "out of bounds|memory"),
    ],
)
def test_guests_that_lie_are_caught(kernel: Kernel, guest: Guest, body: str, message: str) -> None:
    code = guest(lie=body)
    with pytest.raises(RunError, match=message):
        kernel.run_sync(code, "lie")
    assert kernel.run_sync(code, "echo", 1).value == 1


@pytest.mark.parametrize(
    ("wat", "message"),
    [
        ("(module)", "memory"),
        ('(module (memory (export "memory") 1))', "mix_alloc"),
        ('(module (memory (export "memory") 1) (func (export "mix_alloc") (param i64) (result i32) (i32.const 0)))',
         r"expected an export mix_alloc\(i32\) -> \(i32\), found \(i64\) -> \(i32\)"),
        ('(module (memory (export "memory") 1) (func (export "mix_alloc") (param i32) (result i32) (i32.const 0)))',
         "mix_call"),
        ('(module (import "env" "system" (func (param i32))) (memory (export "memory") 1)'
         ' (func (export "mix_alloc") (param i32) (result i32) (i32.const 0))'
         ' (func (export "mix_entry_x") (param i32 i32) (result i64) (i64.const 0)))', "env.*system"),
    ],
)  # fmt: skip
def test_modules_that_are_no_guests(kernel: Kernel, wat: str, message: str) -> None:
    from wasmtime import wat2wasm

    with pytest.raises((EngineError, GuestError, RunError), match=message):
        kernel.run_sync(bytes(wat2wasm(wat)), "x")


@pytest.mark.parametrize("code", [b"", b"\0asm", b"not wasm at all", b"\0asm\1\0\0\0\xff\xff"])
def test_bytes_that_are_no_module(kernel: Kernel, code: bytes) -> None:
    with pytest.raises(EngineError):
        kernel.run_sync(code, "x")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected a map"),
        ('{"version": 1, "version": 1, "entries": {"e": {}}}', "the key 'version' stands twice"),
        ('{"version": 1, "entries": {"e": {}, "e": {}}}', "the key 'e' stands twice"),
        ('{"version": true, "entries": {"e": {}}}', "expected version 1, found True"),
        ('{"version": 1.0, "entries": {"e": {}}}', "expected version 1, found 1.0"),
        (r'{"version": 1, "entries": {"e": {"description": "\\ud800"}}}', "surrogate"),
        ('{"version": 1, "entries": {"e": {}}, "name": NaN}', "NaN is no JSON"),
        (r"\7b\00\7d\00", "expected JSON"),
        ('{"version": 2}', "expected version 1"),
        ('{"version": 1}', "at least one entry"),
        ('{"version": 1, "entries": {"e": {"inParams": {"x": "strin"}}}}', "unknown type 'strin'"),
        ('{"version": 1, "entries": {"e": {"in": 1}}}', "unknown key 'in'"),
        ('{"version": 1, "entries": {"e": {}}, "extra": 1}', "unknown key 'extra'"),
        ('{"version": 1, "entries": {"e": {}}, "grants": {"ffis": "x"}}', "grants"),
    ],
)
def test_broken_manifests(kernel: Kernel, guest: Guest, manifest: str, message: str) -> None:
    with pytest.raises(GuestError, match=message):
        kernel.load(guest(_manifest(manifest)))


def custom(text: str) -> str:
    """A section `mix.manifest` of that text."""
    escaped = text.replace('"', '\\"')
    return f'(@custom "mix.manifest" "{escaped}")'


def _manifest(text: str) -> str:
    call = '(func (export "mix_call") (param i32 i32) (param $p i32) (param $n i32) (result i64) (call $pair (local.get $p) (local.get $n)))'
    return call + custom(text)


MANIFEST = '{"version": 1, "entries": {"e": {"description": "d", "inParams": {"n": "int", "s?": "string"}}}, "grants": {"ffis": ["$test_add"]}}'


def test_declared_parameters_are_checked(kernel: Kernel, guest: Guest) -> None:
    code = guest(_manifest(MANIFEST))
    assert kernel.run_sync(code, "e", {"n": 1}).value == {"n": 1}
    with pytest.raises(Mismatch, match=r"expected int, found string at \.n"):
        kernel.run_sync(code, "e", {"n": "1"})
    with pytest.raises(Mismatch, match=r"\.n"):
        kernel.run_sync(code, "e", {})
    with pytest.raises(Mismatch, match=r"expected one of the keys n, s, found key 'nn'; did you mean 'n'\?"):
        kernel.run_sync(code, "e", {"n": 1, "nn": 2})
    takes_more = guest(_manifest(MANIFEST.replace('"n": "int"', '"n": "int", "...": "data"')))
    assert kernel.run_sync(takes_more, "e", {"n": 1, "nn": 2}).value == {"n": 1, "nn": 2}
    with pytest.raises(NotFound, match="has no entry 'f'; it has e"):
        kernel.run_sync(code, "f", {})


def test_an_option_of_a_run_that_is_misspelt_is_refused(kernel: Kernel, guest: Guest) -> None:
    for run in (kernel.run_sync, lambda *args, **options: asyncio.run(kernel.run(*args, **options))):
        with pytest.raises(TypeError, match="a run has no option 'grant'; did you mean 'grants'"):
            run(guest(), "echo", 1, grant=NONE)  # type: ignore[call-arg]


def test_what_the_guest_answers_is_what_it_declares(kernel: Kernel, guest: Guest) -> None:
    declared = MANIFEST.replace(
        '"s?": "string"}', '"s?": "data"}, "outParams": {"n": "int", "s?": "string | array(int)"}'
    )
    code = guest(_manifest(declared))
    assert kernel.run_sync(code, "e", {"n": 1, "s": [2]}).value == {"n": 1, "s": [2]}
    failed = cause(kernel, code, "e", {"n": 1, "s": ["x"]})
    assert isinstance(failed, AnswerError)
    assert str(failed) == "entry 'e' answered what it does not declare: expected int, found string at .s[0]"
    with pytest.raises(RunError) as caught:
        asyncio.run(kernel.run(code, "e", {"n": 1, "s": None}))
    assert (caught.value.agent, caught.value.panic_code) == ("e", "answer")
    # Whoever starts the run may expect more of it.
    only_n = converter(parse("{n: int}"))
    assert kernel.run_sync(code, "e", {"n": 1}, answer=only_n).value == {"n": 1}
    assert "found key 's'" in str(cause(kernel, code, "e", {"n": 1, "s": "x"}, answer=only_n))


# -- grants ----------------------------------------------------------------------------------------


def test_an_ffi_that_is_not_granted_cannot_be_called(equipped: Kernel, guest: Guest) -> None:
    code = guest(named("$test_add"), add=calls("$test_add"))
    assert equipped.run_sync(code, "add", [1, 2], grants=Grants(["$test_*"])).value == 3
    for grants in (NONE, Grants(["$test_sub"]), Grants(["$test_*"]) & Grants(["$other_*"])):
        assert isinstance(cause(equipped, code, "add", [1, 2], grants=grants), GrantError)


def test_code_that_asks_for_nothing_gets_nothing_unless_it_is_granted(equipped: Kernel, guest: Guest) -> None:
    code = guest(named("$test_add"), add=calls("$test_add"))
    with pytest.raises(RunError, match=r"\$test_add is not granted"):
        equipped.run_sync(code, "add", [1, 2])


def test_code_gets_what_its_manifest_asks_for_and_no_more_is_granted(equipped: Kernel, guest: Guest) -> None:
    body = calls("$test_add")
    call = f'(func (export "mix_call") (param i32 i32) (param $p i32) (param $n i32) (result i64) {body})'
    asking = guest(
        named("$test_add")
        + call
        + custom('{"version": 1, "entries": {"e": {}}, "grants": {"ffis": ["$test_add"]}}')
    )
    other = guest(
        named("$test_add")
        + call
        + custom('{"version": 1, "entries": {"e": {}}, "grants": {"ffis": ["$test_sub"]}}')
    )
    assert equipped.run_sync(asking, "e", [1, 2]).value == 3
    assert isinstance(cause(equipped, asking, "e", [1, 2], grants=Grants(["$core_*"])), GrantError)
    assert isinstance(cause(equipped, other, "e", [1, 2], grants=ALL), GrantError)


def test_an_option_that_nobody_enforces_is_refused(equipped: Kernel, guest: Guest) -> None:
    with pytest.raises(GrantError, match=r"no loaded plugin enforces the grant option 'disk\.size'"):
        equipped.run_sync(guest(), "echo", grants=Grants(["*"], {"disk.size": 1}))


# -- loading counts ----------------------------------------------------------------------------------


@pytest.fixture
def slow_to_load(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> float:
    """Makes each `load` take so many seconds."""
    load = kernel.load

    def slowly(code: Any, name: str = "") -> Any:
        time.sleep(0.6)
        return load(code, name)

    monkeypatch.setattr(kernel, "load", slowly)
    return 0.6


@pytest.mark.parametrize("way", ["run", "run_sync"])
def test_loading_the_code_counts_against_the_time_of_the_run(
    kernel: Kernel, guest: Guest, slow_to_load: float, way: str
) -> None:
    def run(code: bytes, entry: str, seconds: float) -> Any:
        limits = Limits(wall_time=seconds)
        if way == "run_sync":
            return kernel.run_sync(code, entry, 1, limits=limits).value
        return asyncio.run(kernel.run(code, entry, 1, limits=limits)).value

    began = time.monotonic()
    with pytest.raises(
        RunError, match=r"wall_time of 0\.2 s exceeded \(the code was still being loaded\)"
    ) as caught:
        run(guest(), "echo", 0.2)
    assert time.monotonic() - began < slow_to_load, "nobody waits for what nobody wants any more"
    assert isinstance(caught.value.__cause__, LimitExceeded)
    assert run(guest(), "echo", 9) == 1
    began = time.monotonic()
    with pytest.raises(RunError, match="wall_time"):
        run(guest(spin=LOOP), "spin", slow_to_load + 0.4)
    assert time.monotonic() - began < 2 * slow_to_load + 0.4, "what is left, not all of it again"


async def test_time_that_loading_has_taken_is_not_there_for_the_run(kernel: Kernel, guest: Guest) -> None:
    program = kernel.load(guest(spin=LOOP))
    began = time.monotonic()
    with pytest.raises(RunError, match="wall_time of 5 s exceeded"):
        await kernel.run(program, "spin", limits=Limits(wall_time=5), spent=4.8)
    assert time.monotonic() - began < 4


# -- isolation ---------------------------------------------------------------------------------------

REMEMBER = """
  (global $hidden (mut i64) (i64.const 0))
  (memory $second 1)
  (table $t 4 funcref) (elem declare func $pair)
"""
WRITE = """(i64.store (i32.const 70000) (i64.const 77)) (i64.store $second (i32.const 8) (i64.const 77))
  (global.set $hidden (i64.const 77)) (table.set $t (i32.const 1) (ref.func $pair))
  (call $pair (local.get $p) (local.get $n))"""
READ = """(if (i64.ne (i64.or (i64.or (i64.load (i32.const 70000)) (i64.load $second (i32.const 8))) (global.get $hidden))
                        (i64.const 0)) (then (unreachable)))
  (if (i32.eqz (ref.is_null (table.get $t (i32.const 1)))) (then (unreachable)))
  (call $pair (local.get $p) (local.get $n))"""


def test_nothing_that_one_run_wrote_is_readable_in_the_next(kernel: Kernel, guest: Guest) -> None:
    code = guest(REMEMBER, write=WRITE, read=READ)
    for _ in range(20):
        kernel.run_sync(code, "write")
        kernel.run_sync(code, "read")


def test_memory_of_a_failed_run_is_gone_too(kernel: Kernel, guest: Guest) -> None:
    code = guest(
        REMEMBER,
        write=WRITE.replace("(call $pair (local.get $p) (local.get $n))", "(unreachable)"),
        read=READ,
    )
    for _ in range(5):
        cause(kernel, code, "write")
        kernel.run_sync(code, "read")


RANDOM = "(call $random (i32.const 68) (i32.const 8)) (i32.store (i32.const 64) (i32.const 4)) (call $pair (i32.const 64) (i32.const 12))"
INIT = '(func (export "mix_init") (param i32 i32) (call $random (i32.const 68) (i32.const 8)) (i32.store (i32.const 64) (i32.const 4)))'


def test_random_numbers_differ_between_runs_of_one_snapshot(kernel: Kernel, guest: Guest) -> None:
    for code in (guest(draw=RANDOM), guest(INIT, draw="(call $pair (i32.const 64) (i32.const 12))")):
        drawn = {kernel.run_sync(code, "draw").value for _ in range(20)}
        assert len(drawn) == 20


def _waiting(kernel: Kernel, code: bytes) -> int:
    return sum(map(len, kernel.load(code)._pools.values()))


def test_only_instances_that_a_run_can_start_from_wait(kernel: Kernel, guest: Guest) -> None:
    frozen, random = guest(draw=RANDOM), guest(INIT, draw="(call $pair (i32.const 64) (i32.const 12))")
    unrestorable = guest("(table 1 funcref) (elem $e func) (func (elem.drop $e))", draw=RANDOM)
    for code, expected in ((frozen, 1), (random, 0), (unrestorable, 0)):
        for _ in range(3):
            kernel.run_sync(code, "draw")
            assert _waiting(kernel, code) == expected


def test_no_instance_waits_for_a_snapshot_that_is_too_large(guest: Guest) -> None:
    code = guest(draw=RANDOM)
    with Kernel("test", overrides={"settings.kernel.snapshot_bytes": 1}) as kernel:
        for _ in range(3):
            kernel.run_sync(code, "draw")
            assert _waiting(kernel, code) == 0


def test_init_runs_once_and_is_kept(kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    init = '(func (export "mix_init") (param i32 i32) (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (i64.store (i32.const 64) (i64.const 0x0000070000000502)))'
    init = '(func (export "mix_init") (param i32 i32) (call $log (i32.const 1) (i32.const 0) (i32.const 1)) (i32.store (i32.const 64) (i32.const 0x703)))'
    code = guest(init, seven="(call $pair (i32.const 64) (i32.const 4))")
    with caplog.at_level(logging.DEBUG, "mix-vm"):
        assert [kernel.run_sync(code, "seven").value for _ in range(5)] == [7] * 5
    assert len([record for record in caplog.records if record.name == "mix-vm"]) == 1


def test_init_may_grow_the_memory(kernel: Kernel, guest: Guest) -> None:
    grown = """(func (export "_initialize") (drop (memory.grow (i32.const 20)))
        (i32.store (i32.const 1300000) (i32.const 7)))
      (func (export "mix_entry_f") (param i32 i32) (result i64) (drop (memory.grow (i32.const 1)))
        (if (i32.ne (i32.load (i32.const 1300000)) (i32.const 7)) (then unreachable))
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"""
    program = kernel.load(guest(grown))
    for run in range(3):
        assert kernel.run_sync(program, "f", run).value == run
    error = cause(kernel, guest(grown), "f", limits=Limits(memory=10 * 65536))
    assert isinstance(error, LimitExceeded)
    assert error.limit == "memory"


def test_an_endless_init_ends_at_the_deadline(kernel: Kernel, guest: Guest) -> None:
    code = guest('(func (export "mix_init") (param i32 i32) (loop $again (br $again)))')
    error = cause(kernel, code, "echo", limits=Limits(wall_time=0.2))
    assert isinstance(error, LimitExceeded) and error.limit == "wall_time"


def test_an_endless_start_function_ends_at_the_deadline(kernel: Kernel, guest: Guest) -> None:
    code = guest("(func $spin (loop $again (br $again))) (start $spin)")
    with pytest.raises((RunError, EngineError, GuestError)):
        kernel.run_sync(code, "echo", limits=Limits(wall_time=0.2))


def test_init_may_not_call_ffis(equipped: Kernel, guest: Guest) -> None:
    code = guest(
        named("$test_add")
        + '(func (export "mix_init") (param i32 i32) (drop (call $ffi (i32.const 64) (i32.const 9) (local.get 0) (local.get 1))))'
    )
    with pytest.raises(RunError, match="while the guest initialises"):
        equipped.run_sync(code, "echo")


# -- on the event loop, and in threads ----------------------------------------------------------------

COUNTED = (
    """(global $n (mut i32) (i32.const 0)) (data (i32.const 64) "line") (data (i32.const 80) "$test_add")"""
)
ARGS = '(data (i32.const 96) "\\09\\02\\00\\00\\03\\01\\00\\00\\03\\01\\00\\00")'
SOMETIMES = """(call $log (i32.const 1) (i32.const 64) (i32.const 4))
  (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 2)) (then (if (i32.load8_u offset=1 (local.get $p)) (then %s))))
  (call $pair (local.get $p) (local.get $n))"""


def _threads_used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads in which guests are stepped."""
    from mixkit.vm.guest import SuspendedMachine

    seen: list[str] = []
    step = SuspendedMachine.step

    def spy(self: Any, budget: int) -> Any:
        seen.append(threading.current_thread().name)
        return step(self, budget)

    monkeypatch.setattr(SuspendedMachine, "step", spy)
    return seen


async def test_a_short_run_needs_no_thread(
    kernel: Kernel, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = kernel.load(guest())
    await kernel.run(program, "echo", 1)
    seen = _threads_used(monkeypatch)
    assert (await kernel.run(program, "echo", 1)).value == 1
    assert seen == ["MainThread"]


async def test_a_run_that_computes_goes_on_in_a_thread(
    kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = kernel.load(guest(COUNTED, turn=SOMETIMES % LOOP.replace("(unreachable)", "")))
    await kernel.run(program, "turn", False)
    seen = _threads_used(monkeypatch)
    caplog.set_level(logging.DEBUG, "mix-vm")
    longest = 0.0

    async def heartbeat() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - began)

    heart = asyncio.create_task(heartbeat())
    with pytest.raises(RunError, match="wall_time"):
        await kernel.run(program, "turn", True, limits=Limits(wall_time=0.5))
    heart.cancel()
    assert seen[0] == "MainThread" and seen[1].startswith("mixkit-run")
    assert longest < 0.4, "the loop went on while the guest was looping"
    assert [record.getMessage() for record in caplog.records if record.name == "mix-vm"] == ["line"]


@pytest.mark.parametrize("name", ["$test_pause", "$test_pause_async"])
async def test_a_guest_that_only_calls_goes_on_in_a_thread(
    equipped: Kernel, guest: Guest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It comes by no loop and no function of its own, where it would give way."""
    call = f"(drop (call $ffi (i32.const 80) (i32.const {len(name)}) (i32.const 112) (i32.const 4)))"
    data = f'(data (i32.const 80) "{name}") (data (i32.const 112) "\\09\\00\\00\\00")'
    program = equipped.load(guest(COUNTED.replace("$test_add", "") + data, turn=SOMETIMES % (call * 50)))
    await equipped.run(program, "turn", False)
    seen = _threads_used(monkeypatch)
    PAUSED.clear()
    assert (await equipped.run(program, "turn", True, grants=ALL)).value is True
    assert len(PAUSED) == 50
    # One that is async runs on the event loop, wherever its guest is.
    assert (seen if name.endswith("async") else PAUSED).count("MainThread") < 25
    PAUSED.clear()
    with pytest.raises(RunError, match="wall_time"):
        await equipped.run(program, "turn", True, grants=ALL, limits=Limits(wall_time=0.05))
    assert len(PAUSED) < 25


async def test_a_plugin_that_may_block_is_called_in_a_thread(
    equipped: Kernel, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = "(drop (call $ffi (i32.const 80) (i32.const 9) (i32.const 96) (i32.const 12)))"
    program = equipped.load(guest(COUNTED + ARGS, turn=SOMETIMES % call))
    await equipped.run(program, "turn", False)
    seen = _threads_used(monkeypatch)
    assert (await equipped.run(program, "turn", True, grants=ALL)).value is True
    assert seen[0] == "MainThread" and seen[-1].startswith("mixkit-run")


async def test_a_failure_on_the_loop_is_an_ordinary_failure(
    kernel: Kernel, guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    program = kernel.load(guest(COUNTED, turn=SOMETIMES % "(unreachable)"))
    await kernel.run(program, "turn", False)
    caplog.clear()
    caplog.set_level(logging.DEBUG, "mix-vm")
    with pytest.raises(RunError, match="unreachable"):
        await kernel.run(program, "turn", True)
    assert [record.getMessage() for record in caplog.records if record.name == "mix-vm"] == ["line"]


async def test_a_slice_of_nothing_is_a_thread_for_all(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    with Kernel("test", environ={}, overrides={"settings.kernel.slice": 0}) as kernel:
        program = kernel.load(guest())
        seen = _threads_used(monkeypatch)
        await kernel.run(program, "echo", 1)
        assert seen[0].startswith("mixkit-run")


# -- cancelling, threads, forks ------------------------------------------------------------------------


async def test_cancelling_stops_the_guest(kernel: Kernel, guest: Guest) -> None:
    task = asyncio.create_task(kernel.run(guest(spin=LOOP), "spin"))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 10 * STOPS_WITHIN
    assert (await kernel.run(guest(), "echo", 1)).value == 1


def test_raising_host_functions_under_eight_threads(kernel: Kernel, guest: Guest) -> None:
    """Every error reaches its own caller; an engine with one last exception for all mixes them up."""
    group = FFIGroup("test")

    class Odd(Exception):
        pass

    def refuse(state: State, text: str) -> None:
        from mixkit.errors import FFIError

        raise FFIError(text)

    group.register_sync("$test_refuse", refuse)
    kernel.ffis = FFITable([group])
    code = guest(named("$test_refuse"), refuse=calls("$test_refuse"))
    wrong: list[str] = []

    def work(n: int) -> None:
        for i in range(300):
            text = f"{n}/{i}"
            try:
                kernel.run_sync(code, "refuse", [text], grants=ALL)
            except RunError as exc:
                if str(exc) != text:
                    wrong.append(f"{text} got {exc}")
            else:
                wrong.append(f"{text} did not fail")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("used_before", [False, True])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_load_fork_and_run_in_both(guest: Guest, used_before: bool) -> None:
    code = guest()
    kernel = Kernel("test", environ={})
    if used_before:
        kernel.run_sync(code, "echo", 0)
        asyncio.run(kernel.run(code, "echo", 0))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ok = kernel.run_sync(code, "echo", 5).value == 5
            ok = ok and asyncio.run(kernel.run(code, "echo", 6)).value == 6
            status = 0 if ok else 2
        finally:
            os._exit(status)
    assert kernel.run_sync(code, "echo", 7).value == 7
    assert asyncio.run(kernel.run(code, "echo", 8)).value == 8
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    kernel.close()


def test_environment_reaches_init_without_the_request(kernel: Kernel, guest: Guest) -> None:
    init = """(func (export "mix_init") (param $p i32) (param $n i32)
      (memory.copy (i32.const 1024) (local.get $p) (local.get $n)) (global.set $size (local.get $n)))
      (global $size (mut i32) (i32.const 0))"""
    code = guest(init, env="(call $pair (i32.const 1024) (global.get $size))")
    env = Env(app="a", user="ada", request_headers={"X": "1"}, extra={"colour": "red"})
    seen = kernel.run_sync(code, "env", env=env).value
    assert seen["app"] == "a" and seen["colour"] == "red"
    assert "user" not in seen and "requestHeaders" not in seen


def test_a_cancelled_run_is_no_panic() -> None:
    assert not issubclass(CancelledRun, RunError)
