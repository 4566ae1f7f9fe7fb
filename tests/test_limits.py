"""Limits and budgets: spending, giving back, and threads that spend at once."""

from __future__ import annotations

import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit.errors import LimitExceeded
from mixkit.limits import UNITS, Budget, Limits

numbers = [name for name in Limits.__struct_fields__ if name != "wall_time"]


def test_every_limit_has_a_unit_and_is_on() -> None:
    assert set(UNITS) == set(Limits.__struct_fields__)
    assert all(getattr(Limits(), name) > 0 for name in UNITS)


@pytest.mark.parametrize(
    "given", [{"wall_time": 0}, {"wall_time": -1}, {"memory": 1}, {"host_calls": -1}, {"wal": 1}]
)
def test_settings_are_checked(given: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Limits)


@pytest.mark.parametrize("name", numbers)
def test_exceeding_names_limit_value_unit_and_setting(name: str) -> None:
    limits = msgspec.structs.replace(Limits(), **{name: 3})
    budget = Budget(limits)
    budget.spend(name, 3)
    with pytest.raises(LimitExceeded) as caught:
        budget.spend(name)
    assert str(caught.value) == (
        f"limit {name} of 3 {UNITS[name]} exceeded; raise it with limits.{name} in the profile "
        f"or MIXKIT_LIMITS_{name.upper()}"
    )
    assert (caught.value.limit, caught.value.value, budget.spent(name)) == (name, 3, 3)


@given(amounts=st.lists(st.integers(-3, 6), max_size=20))
def test_a_budget_is_never_overdrawn(amounts: list[int]) -> None:
    budget = Budget(Limits(handles=10))
    held = 0
    for amount in amounts:
        if amount < 0:
            budget.release("handles", -amount)
            held = max(0, held + amount)
        else:
            try:
                budget.spend("handles", amount)
                held += amount
            except LimitExceeded:
                assert held + amount > 10
        assert budget.spent("handles") == held <= 10


def test_a_negative_amount_is_refused() -> None:
    budget = Budget(Limits())
    with pytest.raises(ValueError, match="not negative"):
        budget.spend("outgoing_bytes", -1)


def test_releasing_twice_raises_no_limit() -> None:
    budget = Budget(Limits(handles=1))
    budget.release("handles", 5)
    budget.spend("handles")
    with pytest.raises(LimitExceeded):
        budget.spend("handles")


def test_threads_share_it() -> None:
    budget = Budget(Limits(host_calls=1_000))
    refused = []

    def spend() -> None:
        for _ in range(300):
            try:
                budget.spend("host_calls")
            except LimitExceeded:
                refused.append(1)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent("host_calls") == 1_000 and len(refused) == 8 * 300 - 1_000


def test_narrowing_takes_the_smaller_of_each() -> None:
    narrow = Limits(wall_time=5, memory=2**30).narrowed(Limits(wall_time=50, memory=2**20))
    assert (narrow.wall_time, narrow.memory) == (5, 2**20)


def test_the_deadline() -> None:
    budget = Budget(Limits(wall_time=60))
    assert 0 < budget.remaining() <= 60
    budget.check_time()
    budget.deadline = 0.0
    assert budget.remaining() == 0.0
    with pytest.raises(LimitExceeded, match="limit wall_time of 60 s"):
        budget.check_time()


def test_sizes() -> None:
    budget = Budget(Limits(result_size=10))
    budget.check_size("result_size", 10)
    with pytest.raises(LimitExceeded, match=r"exceeded \(11 bytes\)"):
        budget.check_size("result_size", 11)
