"""The core FFIs through a real kernel, and errors made readable."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from mixkit import codec
from mixkit.environment import Env
from mixkit.error_decode import decode_error
from mixkit.errors import FFIError, GrantError, LimitExceeded, RunError
from mixkit.ffi_call import call_ffi
from mixkit.grants import Grants
from mixkit.kernel import Kernel
from mixkit.limits import Budget, Limits
from mixkit.state import NoServices, State
from mixkit.testing.strategies import values
from mixkit.value import Case, Token, error, ok


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("core") / "core.toml"
    profile.write_text("plugins = []\nengines = []\n")
    with Kernel(profile, environ={}) as kernel:
        yield kernel


ALICE, BOB = (Env(user=user, app="a", workspace="w") for user in ("alice", "bob"))


def call(kernel: Kernel, name: str, *args: Any, **options: Any) -> Any:
    return asyncio.run(call_ffi(kernel, name, args, **options))


def test_core_is_there_without_any_plugin(kernel: Kernel) -> None:
    assert {ffi.name for ffi in kernel.ffis} == {
        *(
            "$core_log",
            "$core_now",
            "$core_zone_offset",
            "$core_sleep",
            "$core_env",
            "$core_random",
            "$core_push_actions",
        ),
        *("$core_get_actions", "$core_set_actions", "$core_push_idle_actions", "$core_set_idle_actions"),
        *("$core_agent_call", "$core_signal_create", "$core_signal_await", "$core_signal_send"),
        *("$core_signal_cancel", "$core_signal_select", "$decode_error"),
        *("$core_progress", "$core_ask"),
    }
    assert all(ffi.doc for ffi in kernel.ffis)


def test_core_is_under_grants_too(kernel: Kernel) -> None:
    assert call(kernel, "$core_now", grants=Grants(["$core_now"])) > 0
    with pytest.raises(GrantError):
        call(kernel, "$core_env", grants=Grants(["$core_now"]))


def test_log(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    for level in ("debug", "info", "warning", "error", 0, 1, 2, 3):
        assert call(kernel, "$core_log", level, f"at\n{level}") is None
    names = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "mix-vm"]
    assert names[:4] == [(level.upper(), rf"at\n{level}") for level in ("debug", "info", "warning", "error")]
    assert [name for name, _ in names[4:]] == ["DEBUG", "INFO", "WARNING", "ERROR"]
    with pytest.raises(FFIError, match=r"argument 1 \(level\): expected .* found string"):
        call(kernel, "$core_log", "fatal", "x")


def test_now_is_whole_milliseconds(kernel: Kernel) -> None:
    before = time.time_ns() // 1_000_000
    now = call(kernel, "$core_now")
    assert type(now) is int and before <= now <= time.time_ns() // 1_000_000


def test_zones_are_those_of_the_host(kernel: Kernel) -> None:
    winter, summer = 1_704_067_200_000, 1_719_792_000_000
    assert call(kernel, "$core_zone_offset", "Europe/Berlin", winter) == Case("ok", 3600)
    assert call(kernel, "$core_zone_offset", "Europe/Berlin", summer) == Case("ok", 7200)
    for zone, ms in (
        ("Mars/Olympus", 0),
        ("../../etc/passwd", 0),
        ("", 0),
        ("UTC", 1e300),
        ("UTC", float("nan")),
        ("a\0b", 0),
    ):
        assert call(kernel, "$core_zone_offset", zone, ms).name == "error", zone


def test_sleep(kernel: Kernel) -> None:
    started = time.monotonic()
    assert call(kernel, "$core_sleep", 30) is None
    assert time.monotonic() - started >= 0.03
    for wrong in (-1, float("nan"), float("inf"), -0.001):
        with pytest.raises(FFIError, match="expected milliseconds from 0 on"):
            call(kernel, "$core_sleep", wrong)


def test_a_sleep_ends_at_the_deadline(kernel: Kernel) -> None:
    with pytest.raises(LimitExceeded, match=r"limit wall_time of 0.05 s"):
        call(kernel, "$core_sleep", 1e12, limits=Limits(wall_time=0.05))


def test_env_shows_credentials_only_as_tokens(kernel: Kernel) -> None:
    env = Env(user="u", urls={"home": "https://example.com"}, token=Token("s3cret"), extra={"k": [1]})
    value = call(kernel, "$core_env", env=env)
    assert (value["user"], value["k"], value["urls"]) == ("u", [1], {"home": "https://example.com"})
    assert isinstance(value["token"], Token) and "s3cret" not in repr(value)


def test_random(kernel: Kernel) -> None:
    assert [len(call(kernel, "$core_random", n)) for n in (0, 1, 65_536)] == [0, 1, 65_536]
    assert len({call(kernel, "$core_random", 16) for _ in range(50)}) == 50
    for wrong in (-1, 65_537, 2**62):
        with pytest.raises(FFIError, match="expected 0 to 65536 bytes"):
            call(kernel, "$core_random", wrong)


def test_queued_actions_can_be_seen_and_replaced(kernel: Kernel) -> None:
    state = State(services=kernel)
    first, second = ({"_rmx_type": "msg_view_invoke", "name": name, "env": {}} for name in "ab")
    kernel.ffis.dispatch(state, b"$core_push_actions", codec.encode([[first]]))
    _, words = kernel.ffis.dispatch(state, b"$core_get_actions", codec.encode([]))
    assert codec.decode(words) == [first]
    kernel.ffis.dispatch(state, b"$core_set_actions", codec.encode([[second, first]]))
    taken = [state.actions.take() for _ in range(3)]
    assert [item and item.name for item in taken] == ["b", "a", None]


def test_idle_actions_are_apart(kernel: Kernel) -> None:
    state = State(services=kernel, budget=Budget(Limits(actions=4)))
    invoke = {"_rmx_type": "msg_view_invoke", "name": "again", "env": {}, "args": [1]}
    link = {"_rmx_type": "msg_view_open_link", "url": "https://x"}
    kernel.ffis.dispatch(state, b"$core_push_idle_actions", codec.encode([[invoke, link]]))
    kernel.ffis.dispatch(state, b"$core_push_idle_actions", codec.encode([[invoke]]))
    assert state.actions.take() is None and len(state.actions.client) == 1
    assert [item.params for item in state.actions.idle] == [{"args": [1]}] * 2
    kernel.ffis.dispatch(state, b"$core_set_idle_actions", codec.encode([[invoke]]))
    assert len(state.actions.idle) == 1
    with pytest.raises(LimitExceeded, match="limit actions of 4"):
        kernel.ffis.dispatch(state, b"$core_push_idle_actions", codec.encode([[invoke]]))


@pytest.mark.parametrize("wrong", [{"args": 1}, {"args": [1], "env": 5}])
def test_arguments_of_actions(kernel: Kernel, wrong: dict[str, Any]) -> None:
    value = {"_rmx_type": "msg_view_invoke", "name": "again"} | wrong
    with pytest.raises(FFIError, match="args as an array"):
        kernel.ffis.dispatch(State(services=kernel), b"$core_push_actions", codec.encode([[value]]))


def test_actions_are_queued_in_order(kernel: Kernel) -> None:
    state = State(services=kernel, budget=Budget(Limits(actions=3)))
    link = {"_rmx_type": "msg_view_open_link", "url": "u"}
    invoke = {"_rmx_type": "msg_view_invoke", "name": "f"}
    kernel.ffis.dispatch(state, b"$core_push_actions", codec.encode([[link, invoke]]))
    assert [type(item).__name__ for item in state.actions.client] == ["OpenLink"]
    assert state.actions.take() is not None and state.actions.take() is None
    with pytest.raises(FFIError, match="an action is a map"):
        kernel.ffis.dispatch(state, b"$core_push_actions", codec.encode([[1]]))
    with pytest.raises(LimitExceeded, match="limit actions of 3"):
        kernel.ffis.dispatch(state, b"$core_push_actions", codec.encode([[link, link]]))


# -- agents -----------------------------------------------------------------------------------------


class Agents(NoServices):
    """Answers for agents: echoes, or fails in a given way."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.failure = failure

    async def call_agent(self, state: State, name: str, params: Any) -> Any:
        if self.failure:
            raise self.failure
        return [state.run_id, name, params]


def agent_call(kernel: Kernel, services: Any) -> Any:
    state = State(services=services, run_id="r1")
    _, answer = kernel.ffis.dispatch(state, b"$core_agent_call", codec.encode(["other", {"a": 1}]))

    async def wait() -> Any:
        return codec.decode(await answer)

    return asyncio.run(wait())


def test_agents_are_called_by_the_kernel(kernel: Kernel) -> None:
    assert agent_call(kernel, Agents()) == ok(["r1", "other", {"a": 1}])


def test_a_failed_agent_is_an_error_and_a_limit_ends_the_caller(kernel: Kernel) -> None:
    failure = RunError("it broke", agent="other", panic_code="guest")
    assert agent_call(kernel, Agents(failure)) == error("it broke")
    assert agent_call(kernel, kernel) == error(
        "no agent 'other': this run was started alone, without other agents"
    )
    with pytest.raises(LimitExceeded):
        agent_call(kernel, Agents(LimitExceeded("depth", 16, "calls")))


# -- signals ----------------------------------------------------------------------------------------


def test_a_signal_from_one_run_to_another(kernel: Kernel) -> None:
    id = call(kernel, "$core_signal_create", env=ALICE).arg
    assert call(kernel, "$core_signal_send", id, {"n": 1}, env=BOB) == ok(None)
    assert call(kernel, "$core_signal_send", id, 2, env=ALICE).name == "error"
    assert call(kernel, "$core_signal_await", id, env=ALICE) == ok({"n": 1})
    assert call(kernel, "$core_signal_await", id, env=BOB).name == "error"
    assert call(kernel, "$core_signal_cancel", id, env=BOB).name == "error"
    assert call(kernel, "$core_signal_cancel", id, env=ALICE).name == "error"
    other = call(kernel, "$core_signal_create", env=ALICE).arg
    assert call(kernel, "$core_signal_cancel", other, env=ALICE) == ok(None)
    assert call(kernel, "$core_signal_await", other, env=ALICE) == error("canceled")
    late = call(kernel, "$core_signal_create", 10, env=ALICE).arg
    assert call(kernel, "$core_signal_await", late, env=ALICE) == error("timeout")
    found = call(kernel, "$core_signal_select", [other, id], env=ALICE)
    assert found == ok({"id": other, "result": error("canceled")})
    assert call(kernel, "$core_signal_select", [], env=ALICE).name == "error"
    assert call(kernel, "$core_signal_select", [id, "x"], env=ALICE).arg.startswith("no such signal")


def test_waiting_while_another_run_sends(kernel: Kernel) -> None:
    async def both() -> Any:
        id = (await call_ffi(kernel, "$core_signal_create", env=ALICE)).arg
        waiting = asyncio.create_task(call_ffi(kernel, "$core_signal_await", [id], env=ALICE))
        await asyncio.sleep(0)
        await call_ffi(kernel, "$core_signal_send", [id, "x"], env=BOB)
        return await waiting

    assert asyncio.run(both()) == ok("x")


def test_waiting_is_bounded_by_its_time_and_by_the_run(kernel: Kernel) -> None:
    id = call(kernel, "$core_signal_create", env=ALICE).arg
    answer = call(kernel, "$core_signal_await", id, 20, env=ALICE)
    assert answer == error("nothing was sent to the signal within 0.02 s")
    assert call(kernel, "$core_signal_await", id, 0, env=ALICE).name == "error"
    for wrong in (-1, float("nan")):
        assert call(kernel, "$core_signal_await", id, wrong, env=ALICE).arg.startswith(
            "expected milliseconds"
        )
    for ms in (None, float("inf"), 1e300):
        with pytest.raises(LimitExceeded, match="wall_time"):
            call(kernel, "$core_signal_await", id, ms, env=ALICE, limits=Limits(wall_time=0.05))


def test_no_token_travels_by_signal(kernel: Kernel) -> None:
    id = call(kernel, "$core_signal_create", env=ALICE).arg
    answer = call(kernel, "$core_signal_send", id, {"t": Token("s3cret")}, env=ALICE)
    assert answer.name == "error" and "Token" in answer.arg and "s3cret" not in answer.arg


def test_kernels_do_not_share_signals(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("plugins = []\nengines = []\n")
    id = call(kernel, "$core_signal_create", env=ALICE).arg
    with Kernel(path, environ={}) as other:
        assert call(other, "$core_signal_send", id, 1, env=ALICE).name == "error"


# -- errors made readable ---------------------------------------------------------------------------


def test_an_error_of_a_run_becomes_text(kernel: Kernel) -> None:
    failure = RunError("it broke", agent="main", panic_code="guest", backtrace=["f (a.mix:3)", "g"])
    text = "main: it broke [guest]\n  at f (a.mix:3)\n  at g"
    assert decode_error(failure.to_dict()) == text
    assert call(kernel, "$decode_error", {"status": 500, "run_error": failure.to_dict()}) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"message": "m"}, "m"),
        ({"message": "m", "code": None, "agent": 1, "backtrace": "x"}, "m"),
        ({"message": "a\nb\x1b[2J\u2028"}, r"a\nb\x1b[2J\u2028"),
        (
            {"message": "m", "backtrace": [{"function": "f", "file": "a.mix", "line": 3, "column": 7}]},
            "m\n  at f (a.mix:3:7)",
        ),
        (
            {"message": "m", "backtrace": [{"function": "f"}, {"file": "x"}, 5, None]},
            "m\n  at f\n  at ? (x)\n  at ?\n  at ?",
        ),
    ],
)
def test_error_maps(value: dict[str, Any], text: str) -> None:
    assert decode_error(value) == text


def test_huge_errors_are_cut() -> None:
    text = decode_error({"message": "x" * 10**6, "backtrace": ["f" * 10**5] * 10**4})
    assert len(text) < 1_000_000 and text.endswith("more frames")


@given(value=values(undef=False))
def test_any_map_is_text_or_an_error_of_the_agent(value: Any) -> None:
    for candidate in (
        {"message": "m", "backtrace": value},
        {"run_error": value},
        {"message": value},
        {"x": value},
    ):
        try:
            text = decode_error(candidate)
        except FFIError as exc:
            assert "expected an error map" in str(exc)
        else:
            assert all(line.isprintable() or "\t" in line for line in text.split("\n"))
