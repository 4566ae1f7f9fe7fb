"""Threads for what may hold one: at most so many, used again, none after a fork."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from mixkit.vm.threads import Threads


def test_no_more_than_so_many_and_no_more_than_are_needed() -> None:
    threads, together, names = Threads(3, "few"), threading.Barrier(3), set()

    def meet() -> None:
        names.add(threading.current_thread().name)
        together.wait(20)

    for _ in range(6):
        threads.submit(meet)
    threads.close()
    assert names == {"few-0", "few-1", "few-2"}


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own there")
def test_the_event_loop_goes_before_them() -> None:
    threads, found = Threads(2, "back"), []

    def look() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    for _ in range(4):
        threads.submit(look)
    threads.close()
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
    usual = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert all(usual < one or one == 19 for one in found)


def test_a_thread_is_free_for_whoever_hears_that_it_is() -> None:
    threads, names, done = Threads(3, "one"), [], threading.Event()

    def again(left: int) -> None:
        def work() -> object:
            names.append(threading.current_thread().name)
            return (lambda: again(left - 1)) if left else done.set

        threads.submit(work)  # type: ignore[arg-type]

    again(20)
    assert done.wait(20)
    threads.close()
    assert names == ["one-0"] * 21


def test_it_is_crowded_while_work_waits() -> None:
    threads, go, begun = Threads(1, "crowd"), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait(20)

    threads.submit(hold)
    assert begun.wait(20)
    assert not threads.crowded
    threads.submit(lambda: None)
    assert threads.crowded
    go.set()
    threads.close()
    assert not threads.crowded


def test_a_closed_one_still_does_what_comes() -> None:
    threads, done = Threads(1, "late"), threading.Event()
    threads.submit(lambda: None)
    threads.close()
    threads.submit(lambda: done.set())
    assert done.wait(20)
    threads.close()


def test_a_forked_child_has_its_own() -> None:
    threads = Threads(1, "fork")
    threads.submit(lambda: None)
    threads.close()
    threads.submit(lambda: time.sleep(0.05))
    child = os.fork()
    if child == 0:
        done = threading.Event()
        threads.submit(lambda: done.set())
        os._exit(0 if done.wait(20) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    threads.close()
