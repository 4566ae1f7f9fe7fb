"""What all that keeps signals must do.

Derive a test class and override the fixture `make`: it answers what makes signals of limits and a clock.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mixkit.errors import FFIError, NotFound
from mixkit.signals import CANCELED, DEFAULT_LIMITS, TIMEOUT, Owner, Settled, SignalLimits, Signals
from mixkit.value import Case, Ref, Token, error, ok

__all__ = ["ME", "Make", "SignalsSuite"]

Make = Callable[..., Signals]

ME = Owner("w", "demo", "ada@example.org", "demo.1")
OTHERS = [
    ME._replace(workspace="v"),
    ME._replace(app="other"),
    ME._replace(user="bob@example.org"),
    ME._replace(user=None),
    ME._replace(home="demo.2"),
]


class Clock:
    """Time that tests move."""

    def __init__(self) -> None:
        self.moved = 0.0

    def __call__(self) -> float:
        return time.time() + self.moved


class SignalsSuite:
    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError("override the fixture `make` with what makes signals of limits and a clock")

    @pytest.fixture
    def signals(self, make: Make) -> Signals:
        return make(DEFAULT_LIMITS, time.time)

    @pytest.mark.parametrize(
        "outcome",
        [ok(None), ok({"a": [1, "å", b"\x00", Ref("A" * 32)]}), CANCELED, error({"kind": "run_error"})],
    )
    async def test_settled_before_or_after_it_is_awaited(self, signals: Signals, outcome: Case) -> None:
        early, late = [await signals.create(ME) for _ in range(2)]
        await signals.settle(early, outcome)
        waiting = [asyncio.create_task(signals.wait([late], ME, 60)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await signals.settle(late, outcome)
        assert await asyncio.gather(*waiting) == [(late, outcome)] * 3
        # Any number of times.
        assert [await signals.wait([early], ME, 0) for _ in range(2)] == [(early, outcome)] * 2
        assert (await signals.find(late)).outcome == outcome

    async def test_once_only(self, signals: Signals) -> None:
        id = await signals.create(ME)
        await signals.settle(id, ok(1))
        for outcome in (ok(2), CANCELED):
            with pytest.raises(Settled):
                await signals.settle(id, outcome)
        assert await signals.wait([id], ME, 0) == (id, ok(1))

    async def test_what_is_no_answer_leaves_it_as_it_is(self, signals: Signals) -> None:
        form = {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name"],
        }
        id, declined, canceled = [await signals.create(ME, 60, form) for _ in range(3)]
        for wrong in ("Ada", {}, {"name": 1}, {"name": "Ada", "age": "x"}, [None]):
            with pytest.raises(FFIError, match="expected") as caught:
                await signals.settle(id, ok(wrong))
            assert not isinstance(caught.value, Settled)
            assert (await signals.find(id)).outcome is None
        for each, outcome in ((id, ok({"name": "Ada"})), (declined, ok(None)), (canceled, CANCELED)):
            await signals.settle(each, outcome)
            assert await signals.wait([each], ME, 0) == (each, outcome)
        with pytest.raises(Settled):
            await signals.settle(id, ok({"name": 1}))
        for no_form in ({}, {"properties": {"a": 1}}, {"properties": {}, "required": [1]}):
            with pytest.raises(FFIError, match="expected a JSON Schema"):
                await signals.create(ME, 60, no_form)

    async def test_one_of_many_who_settle_at_once(self, signals: Signals) -> None:
        id = await signals.create(ME)
        start = threading.Barrier(4)

        def settle(number: int) -> bool:
            start.wait()
            try:
                asyncio.run(signals.settle(id, ok(number)))
            except Settled:
                return False
            return True

        def all() -> list[bool]:
            with ThreadPoolExecutor(4) as pool:
                return list(pool.map(settle, range(4)))

        won = [number for number, did in enumerate(await asyncio.to_thread(all)) if did]
        assert len(won) == 1 and await signals.wait([id], ME, 0) == (id, ok(won[0]))

    async def test_the_first_of_several(self, signals: Signals) -> None:
        ids = [await signals.create(ME) for _ in range(3)]
        waiting = asyncio.create_task(signals.wait(ids, ME, 60))
        await asyncio.sleep(0.05)
        await signals.settle(ids[1], ok("b"))
        assert await waiting == (ids[1], ok("b"))
        await signals.settle(ids[0], ok("a"))
        # In the order in which they are given, of those that are.
        assert await signals.wait(ids, ME, 0) == (ids[0], ok("a"))

    async def test_a_wait_ends_and_the_signal_does_not(self, signals: Signals) -> None:
        id = await signals.create(ME)
        for seconds in (0, 0.05):
            with pytest.raises(TimeoutError):
                await signals.wait([id], ME, seconds)
        task = asyncio.create_task(signals.wait([id], ME, 60))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await signals.settle(id, ok(1))
        assert await signals.wait([id], ME, 0) == (id, ok(1))

    async def test_a_deadline(self, signals: Signals, make: Make) -> None:
        id = await signals.create(ME, 0.1)
        assert await signals.wait([id], ME, 60) == (id, TIMEOUT)
        with pytest.raises(Settled):
            await signals.settle(id, ok("late"))
        assert (await signals.find(id)).outcome == TIMEOUT
        for wrong in (0, -1, float("nan"), float("inf"), 31 * 86_400):
            with pytest.raises(FFIError, match="deadline"):
                await signals.create(ME, wrong)

    async def test_a_deadline_that_nobody_waited_for(self, make: Make) -> None:
        clock = Clock()
        signals = make(DEFAULT_LIMITS, clock)
        id = await signals.create(ME, 10)
        clock.moved = 11
        with pytest.raises(Settled):
            await signals.settle(id, ok("late"))
        assert await signals.wait([id], ME, 0) == (id, TIMEOUT)

    async def test_to_others_it_does_not_exist(self, signals: Signals) -> None:
        id = await signals.create(ME)
        said = set()
        wrong = [
            "",
            "x",
            "0" * 32,
            "w." + "0" * 32,
            "w.",
            id + "0",
            id[:-1],
            id.upper() + "x",
            "../" + id,
            "w.\x00",
        ]
        for other, owner in [(id, owner) for owner in OTHERS] + [(other, ME) for other in wrong]:
            with pytest.raises(NotFound) as caught:
                await signals.wait([other], owner, 0)
            said.add(str(caught.value))
        for other in wrong:
            with pytest.raises(NotFound) as caught:
                await signals.settle(other, ok(1))
            said.add(str(caught.value))
        assert len(said) == 1
        assert (await signals.find(id)).owner == ME

    async def test_what_cannot_be_kept(self, make: Make) -> None:
        signals = make(SignalLimits(size=1_000), time.time)
        id = await signals.create(ME)
        with pytest.raises(FFIError, match="at most 1000 bytes"):
            await signals.settle(id, ok("x" * 1_000))
        with pytest.raises(FFIError, match="Token"):
            await signals.settle(id, ok(Token(b"secret")))
        await signals.settle(id, ok("x"))

    async def test_how_many_there_may_be(self, make: Make) -> None:
        clock = Clock()
        signals = make(SignalLimits(signals=6, owned=3), clock)
        ids = [await signals.create(ME) for _ in range(3)]
        with pytest.raises(FFIError, match="you have 3 signals"):
            await signals.create(ME)
        await signals.settle(ids[0], ok(1))
        await signals.create(ME)
        other = ME._replace(user="bob@example.org")
        for _ in range(2):
            await signals.create(other)
        with pytest.raises(FFIError, match="there are 6 signals"):
            await signals.create(other)
        # What was settled is forgotten after a day, what was not a day after its deadline.
        clock.moved = 90_000
        with pytest.raises(NotFound):
            await signals.find(ids[0])
        clock.moved = 180_000
        await signals.create(other)
        with pytest.raises(NotFound):
            await signals.find(ids[1])

    async def test_how_many_may_wait(self, make: Make) -> None:
        signals = make(SignalLimits(waiters=2), time.time)
        id = await signals.create(ME)
        waiting = [asyncio.create_task(signals.wait([id], ME, 60)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(FFIError, match="2 calls await"):
            await signals.wait([id], ME, 60)
        await signals.settle(id, ok(1))
        assert await asyncio.gather(*waiting) == [(id, ok(1))] * 2

    def test_those_who_wait_on_several_event_loops(self, signals: Signals) -> None:
        id = asyncio.run(signals.create(ME))
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(asyncio.run, signals.wait([id], ME, 60)) for _ in range(3)]
            time.sleep(0.1)
            asyncio.run(signals.settle(id, ok("done")))
            found: list[Any] = [each.result(60) for each in waiting]
        assert found == [(id, ok("done"))] * 3
