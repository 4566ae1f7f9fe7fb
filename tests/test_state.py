"""The state of a run: handles, resources, the log, and that everything is closed however the run ends."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit import codec
from mixkit.environment import Env
from mixkit.errors import CancelledRun, CodecError, FFIError, InternalError, LimitExceeded, NotFound
from mixkit.limits import Budget, Limits
from mixkit.outside import is_ours
from mixkit.state import State
from mixkit.value import Token


class Thing:
    """A host object that remembers its end."""

    def __init__(self, log: list[Any] | None = None, fail: type[BaseException] | None = None) -> None:
        self.log: list[Any] = log if log is not None else []
        self.fail = fail

    def close(self) -> None:
        self.log.append(self)
        if self.fail:
            raise self.fail("closing failed")


class Other(Thing):
    pass


def limited(**limits: Any) -> State:
    return State(budget=Budget(Limits(**limits)))


# -- handles ----------------------------------------------------------------------------------------


def test_a_held_object_is_found_again_and_closed_once() -> None:
    state, thing = State(), Thing()
    token = state.hold(thing, Thing.close)
    assert state.held(token, Thing) is thing and state.held(token, object) is thing
    state.release(token)
    state.release(token)
    assert thing.log == [thing] and state.budget.spent("handles") == 0
    assert state.close() == [] and thing.log == [thing]


def test_what_was_not_given_is_not_found() -> None:
    state, other = State(), State()
    token = state.hold(Thing())
    for wrong in (Token(b""), other.hold(Thing())):
        with pytest.raises(FFIError, match="not an open Thing of this run"):
            state.held(wrong, Thing)
    with pytest.raises(FFIError, match="not an open Other"):
        state.held(token, Other)
    state.release(Token(b""))
    state.release(token)
    with pytest.raises(FFIError, match="not an open Thing"):
        state.held(token, Thing)


def test_a_flood_of_handles_ends_at_the_limit() -> None:
    state = limited(handles=100)
    log: list[Any] = []
    for _ in range(100):
        state.hold(Thing(log), Thing.close)
    with pytest.raises(LimitExceeded, match="limit handles of 100"):
        state.hold(Thing(log), Thing.close)
    state.close()
    assert len(log) == 100


def test_a_flood_of_tokens_ends_at_the_limit() -> None:
    state = limited(handles=10)
    token = Token("x")
    for _ in range(50):
        codec.encode([token] * 50, token=state.token_to_handle)
    assert state.budget.spent("handles") == 1
    with pytest.raises(LimitExceeded, match="handles"):
        codec.encode([Token("x") for _ in range(10)], token=state.token_to_handle)


def test_many_cycles_leave_nothing() -> None:
    state = limited(handles=3)
    for _ in range(2_000):
        token = state.hold(Thing())
        handle = state.token_to_handle(token)
        assert state.token_from_handle(handle) is token
        state.release(token)
        assert state.token_from_handle(handle) is None
    assert state.budget.spent("handles") == 0


@given(handle=st.binary(max_size=40))
def test_no_bytes_are_a_token_but_those_given(handle: bytes) -> None:
    state = State()
    given_handle = state.token_to_handle(Token("x"))
    words = codec.encode(Token("y"), token=lambda _: handle)
    if handle != given_handle:
        with pytest.raises(CodecError, match="Token"):
            codec.decode(words, token=state.token_from_handle)


def test_a_handle_says_nothing_about_the_secret() -> None:
    handles = {State().token_to_handle(Token("secret")) for _ in range(20)}
    assert len(handles) == 20 and all(len(handle) == 16 for handle in handles)


def test_threads_get_one_handle_for_one_token() -> None:
    for _ in range(50):
        state, token = State(), Token("x")
        barrier = threading.Barrier(4)
        handles: list[bytes] = []

        def give(
            state: State = state,
            token: Token = token,
            barrier: threading.Barrier = barrier,
            out: Any = handles,
        ) -> None:
            barrier.wait()
            out.append(state.token_to_handle(token))

        threads = [threading.Thread(target=give) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(handles)) == 1 and state.budget.spent("handles") == 1


def test_nested_runs_give_their_handles_back() -> None:
    budget = Budget(Limits(handles=5))
    for _ in range(10):
        nested = State(budget=budget)
        for _ in range(2):
            nested.token_to_handle(nested.hold(Thing()))
        assert budget.spent("handles") == 4
        nested.close()
    assert budget.spent("handles") == 0


# -- resources and the end --------------------------------------------------------------------------


def test_resources_are_kept_by_exact_type() -> None:
    state, thing = State(), Thing()
    assert state.get(Thing) is None
    assert state.put(thing) is thing is state.get(Thing)
    assert state.get(Other) is None and state.get(object) is None
    with pytest.raises(InternalError, match="already holds a Thing"):
        state.put(Thing())


@pytest.mark.parametrize("fail", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_everything_is_closed_whatever_fails(fail: type[BaseException]) -> None:
    state = State()
    log: list[Any] = []
    resource = state.put(Other(log, fail), Other.close)
    first, second, third = Thing(log), Thing(log, fail), Thing(log)
    for thing in (first, second, third):
        state.hold(thing, Thing.close)
    if is_ours(fail()):
        # Ctrl+C where Python gives it to us, as it does not under pytest-xdist: it goes on when everything is closed.
        with pytest.raises(fail):
            state.close()
    else:
        assert [type(failure) for failure in state.close()] == [fail, fail]
    assert log == [third, second, first, resource]
    assert state.close() == []


def test_what_comes_after_the_end_is_closed_at_once() -> None:
    state, thing, other = State(), Thing(), Other()
    state.close()
    with pytest.raises(CancelledRun, match="can hold no Thing"):
        state.hold(thing, Thing.close)
    with pytest.raises(CancelledRun, match="can hold no Other"):
        state.put(other, Other.close)
    assert thing.log == [thing] and other.log == [other] and state.budget.spent("handles") == 0


def test_a_failing_release_still_gives_the_handle_back() -> None:
    state = State()
    token = state.hold(Thing(fail=ValueError), Thing.close)
    with pytest.raises(ValueError, match="closing failed"):
        state.release(token)
    assert state.budget.spent("handles") == 0 and state.close() == []


def test_a_state_without_a_kernel_says_so() -> None:
    with pytest.raises(NotFound, match="belongs to no kernel"):
        State().services.settings("http")


# -- the log ----------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "mix-vm"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü\ttab 漢字 🙂", "plain äöü\ttab 漢字 🙂"),
        ("a\nERROR forged", r"a\nERROR forged"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\u2028b\u2029c\x85d\x0bd", r"a\u2028b\u2029c\x85d\x0bd"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("%s %d {}", "%s %d {}"),
    ],
)
def test_a_guest_forges_no_lines(caplog: pytest.LogCaptureFixture, text: str, shown: str) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    State(run_id="r1", code="agent").log(1, text)
    assert lines(caplog) == [shown] and len(shown.splitlines()) == 1
    (record,) = caplog.records
    assert vars(record)["run_id"] == "r1" and vars(record)["guest"] == "agent"


@pytest.mark.parametrize(("level", "shown"), [(0, 10), (1, 20), (2, 30), (3, 40), (99, 40), (-(2**63), 10)])
def test_levels_are_clamped(caplog: pytest.LogCaptureFixture, level: int, shown: int) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    State().log(level, "x")
    assert caplog.records[0].levelno == shown


@pytest.mark.parametrize("text", ["", "x" * 40, "\n" * 20, "🙂" * 10])
def test_a_flood_ends_at_the_limit_in_bytes_as_they_are_written(
    caplog: pytest.LogCaptureFixture, text: str
) -> None:
    caplog.set_level(logging.DEBUG, "mix-vm")
    state = limited(log_size=1_000)
    with pytest.raises(LimitExceeded, match="limit log_size of 1000 bytes"):
        for _ in range(10_000):
            state.log(1, text)
    assert sum(len(line.encode()) + 1 for line in lines(caplog)) <= 1_000


def test_one_huge_line_is_refused_before_it_is_written(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LimitExceeded):
        limited(log_size=100).log(3, "x" * 10_000_000)
    assert lines(caplog) == []


# -- actions and environment ------------------------------------------------------------------------


def test_actions_count_with_their_next_ones() -> None:
    state = limited(actions=3)
    place = {"_rmx_type": "msg_view_location_capture"}
    state.push_action({**place, "next": place})
    with pytest.raises(LimitExceeded, match="limit actions of 3"):
        state.push_action({**place, "next": place})
    state.push_action(place)
    assert len(state.actions.client) == 2 and state.budget.spent("actions") == 3


def test_extra_keys_of_the_environment_win_over_none_of_the_others() -> None:
    env = Env(workspace="w", extra={"user": "admin", "workspace": "evil", "token": "t", "mine": 1})
    value = env.to_value()
    assert "user" not in value and "token" not in value
    assert (value["workspace"], value["mine"]) == ("w", 1)


def test_the_static_part_knows_no_caller() -> None:
    env = Env(
        user="u", app="a", request_headers={"Authorization": "s3cret"}, request_body=b"s3cret",
        token=Token("s3cret"), origin_secret=Token("s3cret"),
    )  # fmt: skip
    static = env.static()
    assert "s3cret" not in repr(static) and static.app == "a"
    assert not {"user", "token", "originSecret", "requestHeaders", "requestBody"} & static.to_value().keys()


def test_queued_actions_weigh() -> None:
    state = limited(memory=1_000_000)
    action = {"_rmx_type": "msg_view_invoke", "name": "next", "env": "x" * 300_000}
    for _ in range(3):
        state.push_action(action)
    with pytest.raises(LimitExceeded, match="limit memory of 1000000 bytes"):
        state.push_action(action)
    with pytest.raises(LimitExceeded, match="memory"):
        limited(memory=1_000_000).push_action(action | {"env": [[]] * 20_000})


def test_many_small_values_are_refused_before_they_are_made() -> None:
    few, many = codec.encode([None] * 50), codec.encode([[[]] * 99])
    limited(values=100).budget.check_values(few)
    with pytest.raises(LimitExceeded, match=r"limit values of 100 values.*101 values"):
        limited(values=100).budget.check_values(many)
