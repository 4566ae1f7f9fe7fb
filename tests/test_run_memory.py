"""The memory of a run and of all that it starts: one limit for the tree."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.errors import RunError
from mixkit.grants import ALL
from mixkit.job import Agents, Target
from mixkit.limits import Budget, Limits
from mixkit.state import State
from mixkit.value import Case
from mixkit.vm.guest import SuspendedMachine

MIB = 1 << 20
CALL = '(data (i32.const 64) "$core_agent_call")'
CALLS = "(call $call (i32.const 64) (i32.const 16) (local.get $p) (local.get $n))"
GROW = "(if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then (unreachable)))"
INIT = '(func (export "_initialize") (drop (memory.grow (i32.const 64))))'
EACH = 4 * MIB


class Chain:
    """Runs agents of which each takes 4 MiB and calls the next, and notes what was left when it did."""

    def __init__(self, kernel: Kernel, guest: Any) -> None:
        self.kernel = kernel
        self.codes = {
            "deep": guest(CALL, deep=GROW + CALLS),
            "init": guest(CALL + INIT, init=CALLS),
            "echo": guest(),
        }
        self.left: list[int] = []
        self.states: list[State] = []

    async def resolve(self, state: State, name: str) -> Target:
        self.left.append(state.budget.purse[0])
        self.states.append(state)
        return Target(self.kernel.load(self.codes[name]), name, grants=ALL)

    def run(self, names: list[str], memory: int, params: Any = 1) -> Any:
        """The result of the last, or the text of the error that the innermost calls ended in."""
        for name in reversed(names[1:]):
            params = [name, params]
        self.left.clear()
        result = self.kernel.run_sync(
            self.codes[names[0]],
            names[0],
            params,
            grants=ALL,
            agents=Agents(self.resolve),
            limits=Limits(memory=memory),
        ).value
        while type(result) is Case:
            result = result.arg
        return result


@pytest.fixture
def chain(kernel: Kernel, guest: Any) -> Chain:
    return Chain(kernel, guest)


@pytest.mark.parametrize("taker", ["deep", "init"])
def test_nested_runs_take_from_one_purse(chain: Chain, taker: str) -> None:
    """Whether they grow in their entry, or begin with the memory of their init, new or restored."""
    for _ in range(3):
        assert chain.run([taker, taker, taker, "echo"], 14 * MIB) == 1
        assert all(14 * MIB - left >= EACH * n for n, left in enumerate(chain.left, 1))
        assert chain.states[-1].budget.purse[0] == 14 * MIB, "all is given back"
        error = chain.run([taker] * 6 + ["echo"], 14 * MIB)
        assert "limit memory of 14680064 bytes exceeded" in error
        assert len(chain.left) == 3, "the fourth has no room"


def test_what_a_nested_run_took_is_there_again_for_the_next(kernel: Kernel, chain: Chain) -> None:
    assert chain.run(["deep", "deep", "deep", "echo"], 14 * MIB) == 1
    assert chain.run(["deep", "deep", "deep", "echo"], 14 * MIB) == 1


def test_the_state_of_an_init_that_was_refused_memory_is_not_kept_for_others(
    kernel: Kernel, guest: Any
) -> None:
    """Code that makes do with less when it begins must not be frozen like that for runs that have more."""
    chain = Chain(kernel, guest)
    modest = """(global $got (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $got (memory.grow (i32.const 64))))"""
    answer = "(if (i32.eq (global.get $got) (i32.const -1)) (then (unreachable))) (call $pair (local.get $p) (local.get $n))"
    chain.codes["modest"] = guest(modest, modest=answer)
    assert "unreachable" in chain.run(["deep", "modest"], 6 * MIB)
    assert chain.run(["modest"], 14 * MIB) == 1
    assert chain.run(["deep", "modest"], 14 * MIB) == 1


def test_what_the_host_keeps_for_nested_runs_counts(kernel: Kernel, guest: Any) -> None:
    """Parameters that are handed on are held at every level, in several copies."""
    chain = Chain(kernel, guest)
    chain.codes["deep"] = guest(CALL, deep=CALLS)
    text = "x" * (3 * MIB)
    for _ in range(2):
        assert chain.run(["deep", "echo"], 15 * MIB, text) == text
        assert chain.states[-1].budget.spent("memory") == 0
        assert "limit memory" in chain.run(["deep", "deep", "echo"], 15 * MIB, text)
        assert chain.states[-1].budget.spent("memory") == 0


# -- on the event loop -------------------------------------------------------------------------------

TURNS = """(if (i32.eq (i32.load8_u (local.get $p)) (i32.const 2)) (then (if (i32.load8_u offset=1 (local.get $p)) (then %s))))
  (call $pair (local.get $p) (local.get $n))"""
FILLS = """(if (i32.eq (memory.grow (i32.const 500)) (i32.const -1)) (then (unreachable)))
  (memory.fill (i32.const 131072) (i32.const 1) (i32.const 32000000))"""
LARGE = "(return (call $pair (i32.const 0) (i32.const 131072)))"


async def test_code_that_has_had_much_memory_is_entered_in_a_thread(
    kernel: Kernel, guest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had after init would have to be copied on the event loop."""
    program = kernel.load(guest(turn=TURNS % FILLS))
    await kernel.run(program, "turn", False)
    threads = _threads(monkeypatch, "step")
    assert (await kernel.run(program, "turn", False)).value is False
    assert set(threads) == {"MainThread"}
    assert (await kernel.run(program, "turn", True)).value is True
    threads.clear()
    assert (await kernel.run(program, "turn", False)).value is False
    assert all(name.startswith("mixkit-run") for name in threads)


async def test_a_large_result_is_not_decoded_on_the_event_loop(
    kernel: Kernel, guest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = kernel.load(guest(turn=TURNS % LARGE))
    await kernel.run(program, "turn", False)
    seen: list[str] = []
    check = Budget.check_values

    def spy(self: Budget, *args: Any) -> None:
        seen.append(threading.current_thread().name)
        check(self, *args)

    monkeypatch.setattr(Budget, "check_values", spy)
    with pytest.raises(RunError, match="no value"):
        await kernel.run(program, "turn", True)
    assert seen[-1].startswith("mixkit-run")


def _threads(monkeypatch: pytest.MonkeyPatch, method: str) -> list[str]:
    """Names of the threads in which guests run from now on."""
    seen: list[str] = []
    original = getattr(SuspendedMachine, method)

    def spy(self: Any, *args: Any) -> Any:
        seen.append(threading.current_thread().name)
        return original(self, *args)

    monkeypatch.setattr(SuspendedMachine, method, spy)
    return seen
