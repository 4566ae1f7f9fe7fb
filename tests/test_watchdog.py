"""The watchdog: calls at the right time, forgets what was cancelled, survives what it calls."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from mixkit.vm.watchdog import Watchdog


def later(seconds: float) -> float:
    return time.monotonic() + seconds


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_deadlines_are_called_in_their_order_and_not_before() -> None:
    dog = Watchdog()
    called: list[tuple[str, float]] = []
    due = {}
    for name, seconds in (("late", 0.06), ("early", 0.02), ("middle", 0.04)):
        due[name] = later(seconds)
        dog.add(due[name], lambda name=name: called.append((name, time.monotonic())))  # type: ignore[misc]
    wait_for(lambda: len(called) == 3)
    assert [name for name, _ in called] == ["early", "middle", "late"]
    assert all(when >= due[name] for name, when in called)


def test_a_deadline_in_the_past_is_called_at_once() -> None:
    called = threading.Event()
    Watchdog().add(later(-1), called.set)
    assert called.wait(5)


def test_what_was_called_is_let_go_of() -> None:
    """It leads to a run, and all that the run was given; the next deadline may be far away."""
    called = threading.Event()

    class Run:
        def expire(self) -> None:
            called.set()

    dog, run = Watchdog(), Run()
    dog.add(later(0.01), run.expire)
    gone = weakref.ref(run)
    del run
    assert called.wait(5)
    wait_for(lambda: gone() is None)


def test_what_is_cancelled_is_not_called() -> None:
    dog = Watchdog()
    called: list[int] = []
    cancelled = [dog.add(later(0.01), lambda: called.append(1)) for _ in range(500)]
    for ident in cancelled:
        dog.cancel(ident)
    last = threading.Event()
    dog.add(later(0.03), last.set)
    assert last.wait(5)
    assert called == []


def test_cancelled_deadlines_do_not_pile_up() -> None:
    dog = Watchdog()
    for _ in range(5000):
        dog.cancel(dog.add(later(60), lambda: None))
    assert len(dog._heap) < 200


def test_an_early_deadline_after_short_runs_and_a_pause() -> None:
    dog = Watchdog()
    for pause in (0, 0.002, 0.02, 0.05):
        for _ in range(20):
            dog.cancel(dog.add(later(0.005), lambda: None))
        time.sleep(pause)
        called = threading.Event()
        dog.add(later(0.001), called.set)
        assert called.wait(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_fails_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog()

    def fail() -> None:
        raise ValueError("broken")

    called = threading.Event()
    dog.add(later(0), fail)
    dog.add(later(0.01), called.set)
    assert called.wait(5)
    assert "a watchdog callback failed" in caplog.text


def test_many_threads_add_and_cancel() -> None:
    dog = Watchdog()
    called: list[int] = []

    def work() -> None:
        for number in range(500):
            ident = dog.add(later(0.02), lambda number=number: called.append(number))  # type: ignore[misc]
            if number % 2:
                dog.cancel(ident)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len([number for number in called if number % 2 == 0]) == 1000)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_its_own() -> None:
    from mixkit.vm.watchdog import watchdog

    before = threading.Event()
    watchdog.add(later(0.001), before.set)
    assert before.wait(5)
    child = os.fork()
    if child == 0:
        called = threading.Event()
        watchdog.add(later(0.001), called.set)
        os._exit(0 if called.wait(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
