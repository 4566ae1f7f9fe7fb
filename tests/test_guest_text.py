"""What a guest writes (output, panics, names in backtraces) costs, is short, and forges nothing; what a request brings is
not kept."""

from __future__ import annotations

import gc
import logging
from typing import Any
from unittest.mock import Mock

import pytest

from mixkit.cli.failure import run_guarded
from mixkit.cli.session import Session
from mixkit.environment import Env
from mixkit.errors import MAX_MESSAGE, GuestError, LimitExceeded, MixError, RunError
from mixkit.limits import Budget, Limits
from mixkit.state import LINE_COST, State
from mixkit.vm.guest import GuestMachine

FORGED = "x\nmixkit: error: all is well\r\x1b[2J\u202eend"


class _Log:
    """A host that only logs, for the machine's output."""

    def __init__(self, **limits: Any) -> None:
        self.state = State(budget=Budget(Limits(**limits)))

    def call(self, name: bytes, words: bytes) -> bytes:
        raise AssertionError("nothing is called")

    def log(self, level: int, message: str) -> None:
        self.state.log(level, message)


def machine(**limits: Any) -> GuestMachine:
    return GuestMachine(Mock(exports={}), _Log(**limits), direct=True)


def test_line_ends_alone_use_up_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    with pytest.raises(LimitExceeded, match="log_size"):
        machine(log_size=10_000).output(1, b"\n" * 1_000_000)
    assert len(caplog.records) == 10_000 // LINE_COST


def test_output_is_logged_by_line_whatever_the_writes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    guest = machine()
    for piece in (b"one\ntw", b"o\n\nthree", b"\n", b"y" * 70_000, b"z\nrest"):
        guest.output(1, piece)
    found = [record.getMessage() for record in caplog.records]
    assert found == ["one", "two", "", "three", "y" * 65536, "y" * (70_000 - 65536) + "z"]


@pytest.mark.parametrize(
    "error",
    [
        GuestError(FORGED, backtrace=[FORGED]),
        RunError("m", agent="a", panic_code="guest", backtrace=[FORGED]),
    ],
)
def test_what_a_guest_names_stays_on_its_line(error: GuestError | RunError) -> None:
    for text in (*error.backtrace, *([str(error)] if isinstance(error, GuestError) else [])):
        assert text.isprintable()
        assert text.startswith("x")


def test_texts_of_errors_are_short() -> None:
    name = "n" * 8_000_000
    error = GuestError(name, backtrace=[name] * 1_000)
    run = RunError(str(error), agent="a", panic_code="guest", backtrace=error.backtrace)
    assert sum(map(len, (str(run), *run.backtrace))) < 100_000
    assert "characters more" in str(run) and "characters more" in run.backtrace[0]
    assert len(str(MixError(name))) < MAX_MESSAGE + 100


def test_no_line_of_an_error_looks_like_one_of_the_command_s(capsys: pytest.CaptureFixture[str]) -> None:
    command = Mock()
    command.main.side_effect = RunError("first\nmixkit: error: forged\n  kept", agent="a", panic_code="ffi")
    assert run_guarded(command, [], Session()) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["mixkit: error: first", "    mixkit: error: forged", "  kept"]


def test_nothing_of_a_request_outlives_it() -> None:
    shared = Env(app="a")
    for number in range(20):
        Env(app="a", request_body=b"secret %d" % number).static_words()
        shared.for_request(user="u", headers={}, body=b"secret").static_words()
    gc.collect()
    kept = [env for env in gc.get_objects() if isinstance(env, Env) and env.request_body is not None]
    assert kept == []
    request = shared.for_request(user="u", headers={}, body=b"secret")
    assert request.static_words() is shared.static_words(), "what is shared is worked out once"
