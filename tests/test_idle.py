"""What instances that wait may take together, and which go first."""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from typing import Any, cast

import pytest

from mixkit import Kernel
from mixkit.contracts import Instance
from mixkit.vm.idle import Home, IdleInstances

MANY_MEMORIES = "".join(f"(memory $m{n} 1)" for n in range(15))


class Fake:
    def __init__(self, size: int, mappings: int = 3) -> None:
        self.size, self.mappings = size, mappings
        self.closed = False

    def close(self) -> None:
        self.closed = True


def keep(idle: IdleInstances, home: Home, fake: Fake, most: int = 100) -> Fake:
    idle.keep(cast(Instance, fake), (fake.size, fake.mappings), home, most)
    return fake


def test_the_largest_goes_first_and_of_these_the_oldest() -> None:
    idle, one, other = IdleInstances(1000, 1000), cast(Home, deque()), cast(Home, deque())
    small = keep(idle, one, Fake(10))
    large = [keep(idle, one, Fake(400)), keep(idle, other, Fake(400))]
    assert not any(fake.closed for fake in [small, *large])
    middle = keep(idle, other, Fake(200))
    assert [fake.closed for fake in large] == [True, False]
    assert not small.closed and not middle.closed
    assert (idle.size, idle.mappings) == (610, 9)


def test_what_alone_is_too_much_does_not_drive_out_the_others() -> None:
    idle, home = IdleInstances(1000, 1000), cast(Home, deque())
    small = [keep(idle, home, Fake(80)) for _ in range(10)]
    assert keep(idle, home, Fake(5000)).closed
    assert not any(fake.closed for fake in small)


def test_mappings_count_as_well_as_bytes() -> None:
    idle, home = IdleInstances(1 << 30, 100), cast(Home, deque())
    many = [keep(idle, home, Fake(10, 45)) for _ in range(2)]
    few = keep(idle, home, Fake(1000, 8))
    assert few.closed is False and idle.mappings == 98
    keep(idle, home, Fake(10, 4))
    assert [fake.closed for fake in many] == [True, False]
    assert idle.mappings == 57


def test_the_one_used_last_is_taken_and_no_home_has_more_than_its_share() -> None:
    idle, home = IdleInstances(1000, 1000), cast(Home, deque())
    fakes = [keep(idle, home, Fake(n), most=2) for n in range(1, 5)]
    assert [fake.closed for fake in fakes] == [True, True, False, False]
    assert idle.take(home) is cast(Any, fakes[3])
    assert idle.take(home) is cast(Any, fakes[2])
    assert idle.take(home) is None
    assert (idle.size, idle.mappings) == (7, 6), "what will come back is counted still"
    keep(idle, home, fakes[2], most=2)
    idle.drop(cast(Instance, fakes[3]))
    assert fakes[3].closed and (idle.size, idle.mappings) == (3, 3)
    assert idle.take(home) is cast(Any, fakes[2])
    fakes[2].size = 50
    keep(idle, home, fakes[2], most=2)
    assert idle.size == 50, "it has grown"


def test_what_is_in_use_is_not_taken_away() -> None:
    idle, home = IdleInstances(1000, 1000), cast(Home, deque())
    used, waits = keep(idle, home, Fake(400)), keep(idle, home, Fake(300))
    assert idle.take(home) is cast(Any, waits)
    assert idle.take(home) is cast(Any, used)
    keep(idle, home, waits)
    more = keep(idle, home, Fake(500))
    assert not used.closed and (waits.closed or more.closed)
    keep(idle, home, used)
    assert not used.closed and idle.size <= 1000


def test_threads_keep_the_sums() -> None:
    idle = IdleInstances(400, 1000)
    homes = [cast(Home, deque()) for _ in range(4)]

    def work(home: Home) -> None:
        for n in range(2000):
            keep(idle, home, Fake(n % 90), most=5)
            if n % 3 and (taken := idle.take(home)) is not None:
                if n % 2:
                    idle.drop(taken)
                else:
                    keep(idle, home, cast(Any, taken), most=5)

    threads = [threading.Thread(target=work, args=(home,)) for home in homes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting = [waiting for home in homes for waiting in home]
    assert idle.size == sum(one[2] for one in waiting) <= 400
    for home in homes:
        idle.clear(home)
    assert (idle.size, idle.mappings) == (0, 0)


def test_a_guest_that_grew_is_not_kept(kernel: Kernel, guest: Any) -> None:
    """It can be given no earlier state, so that all that it holds would be held for nothing."""
    code = guest(grow="(drop (memory.grow (i32.const 160))) (call $pair (local.get $p) (local.get $n))")
    for _ in range(3):
        kernel.run_sync(code, "echo", 1)
    assert 0 < kernel.programs.idle.size < 1 << 20
    kernel.run_sync(code, "grow", 1)
    assert kernel.programs.idle.size == 0


def test_programs_share_the_total(guest: Any) -> None:
    limit = 64 << 20
    with Kernel("test", environ={}, overrides={"settings.kernel.idle_bytes": limit}) as kernel:
        for n in range(12):
            init = f'(func (export "_initialize") (drop (memory.grow (i32.const {150 + n}))))'
            for _ in range(2):
                kernel.run_sync(guest(init), "echo", 1)
        assert limit // 2 < kernel.programs.idle.size <= limit
        assert kernel.run_sync(guest(init), "echo", 2).value == 2
    assert kernel.programs.idle.size == 0


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not show its mappings")
def test_many_memories_leave_mappings_for_others(guest: Any) -> None:
    def mappings() -> int:
        return Path("/proc/self/maps").read_bytes().count(b"\n")

    most, before = 300, mappings()
    with Kernel("test", environ={}, overrides={"settings.kernel.idle_mappings": most}) as kernel:
        for n in range(20):
            kernel.run_sync(guest(MANY_MEMORIES + f"(global i32 (i32.const {n}))"), "echo", 1)
        assert 0 < kernel.programs.idle.mappings <= most
        # Each module has some for its code.
        assert mappings() - before < most + 20 * 12


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_goes_on_with_what_waits(kernel: Kernel, guest: Any) -> None:
    for _ in range(2):
        kernel.run_sync(guest(), "echo", 1)
    kernel.programs.idle._lock.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if kernel.run_sync(guest(), "echo", 5).value == 5 else 1)
    kernel.programs.idle._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
