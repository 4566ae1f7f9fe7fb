"""Signals: sent once, awaited from any event loop, owned, bounded, and forgotten in time."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given

from mixkit.errors import FFIError, NotFound
from mixkit.signals import Signals
from mixkit.testing.strategies import identical, values
from mixkit.value import Token

ME, YOU = ("w", "a", "me"), ("w", "a", "you")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(value=values())
async def test_any_value_arrives(value: Any) -> None:
    signals = Signals()
    id = signals.create(ME)
    signals.send(id, value)
    assert identical(await signals.wait(id, ME, 1), value)


async def test_those_who_wait_and_those_who_come_later_get_copies() -> None:
    signals = Signals()
    id = signals.create(ME)
    waiting = [asyncio.create_task(signals.wait(id, ME, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    sent = {"list": [1]}
    signals.send(id, sent)
    sent["list"].append(2)
    answers = [*(await asyncio.gather(*waiting)), await signals.wait(id, ME, 0)]
    assert all(answer == {"list": [1]} for answer in answers)
    assert len({builtin_id(answer) for answer in answers}) == 4


builtin_id = id


def test_it_is_sent_once() -> None:
    signals = Signals()
    id = signals.create(ME)
    signals.send(id, None)
    with pytest.raises(FFIError, match="sent once"):
        signals.send(id, 2)
    assert asyncio.run(signals.wait(id, ME, 0)) is None


def test_of_many_senders_one_wins() -> None:
    signals = Signals()
    id = signals.create(ME)
    barrier = threading.Barrier(8)

    def send(number: int) -> bool:
        barrier.wait()
        try:
            signals.send(id, number)
        except FFIError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, fine in enumerate(pool.map(send, range(8))) if fine]
    assert len(won) == 1 and asyncio.run(signals.wait(id, ME, 0)) == won[0]


def test_who_waits_may_be_on_any_loop() -> None:
    signals = Signals()
    id = signals.create(ME)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(asyncio.run, signals.wait(id, ME, 30)) for _ in range(4)]
        while len(signals._signals[id].waiters) < 4:
            assert not any(future.done() for future in waiting)
        signals.send(id, "done")
        assert [future.result(30) for future in waiting] == ["done"] * 4


async def test_only_the_owner_awaits_and_cancels_and_all_may_send() -> None:
    signals = Signals()
    id = signals.create(ME)
    errors = set()
    for wrong_id, owner in ((id, YOU), (id, None), ("0" * 32, ME), ("", ME), (id.upper() + "!", ME)):
        with pytest.raises(NotFound) as caught:
            await signals.wait(wrong_id, owner, 0)
        errors.add(str(caught.value))
        with pytest.raises(NotFound) as caught:
            signals.cancel(wrong_id, owner)
        errors.add(str(caught.value))
    assert len(errors) == 1  # Nothing tells a stranger that the id is right.
    signals.send(id, 1)
    assert await signals.wait(id, ME, 0) == 1


async def test_cancelling_wakes_those_who_wait() -> None:
    signals = Signals()
    id = signals.create(ME)
    waiting = [asyncio.create_task(signals.wait(id, ME, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    signals.cancel(id, ME)
    for task in waiting:
        with pytest.raises(FFIError, match="was cancelled"):
            await task
    with pytest.raises(NotFound):
        signals.send(id, 1)
    with pytest.raises(NotFound):
        signals.cancel(id, ME)
    assert len(signals) == 0 and not signals._owned


async def test_waiting_ends_in_time_and_leaves_nothing() -> None:
    signals = Signals()
    id = signals.create(ME)
    with pytest.raises(TimeoutError):
        await signals.wait(id, ME, 0.01)
    task = asyncio.create_task(signals.wait(id, ME, 10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert signals._signals[id].waiters == set()
    signals.send(id, 1)
    assert await signals.wait(id, ME, 0) == 1


def test_a_loop_that_is_gone_disturbs_no_sender(caplog: pytest.LogCaptureFixture) -> None:
    signals = Signals()
    id = signals.create(ME)
    loop = asyncio.new_event_loop()
    task = loop.create_task(signals.wait(id, ME, 30))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    signals.send(id, 1)
    assert caplog.text == "" and asyncio.run(signals.wait(id, ME, 0)) == 1


def test_no_one_takes_them_all() -> None:
    signals = Signals(max_signals=5, max_owned=3)
    mine = [signals.create(ME) for _ in range(3)]
    with pytest.raises(FFIError, match="you have 3 signals, which is the limit"):
        signals.create(ME)
    signals.create(YOU)
    signals.create(YOU)
    with pytest.raises(FFIError, match="there are 5 signals"):
        signals.create(("w", "b", "them"))
    signals.cancel(mine[0], ME)
    signals.create(ME)
    assert len(signals) == 5


async def test_who_waits_is_bounded() -> None:
    signals = Signals(max_waiters=2)
    id = signals.create(ME)
    tasks = [asyncio.create_task(signals.wait(id, ME, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(FFIError, match="2 calls await this signal"):
        await signals.wait(id, ME, 10)
    signals.send(id, 1)
    assert await asyncio.gather(*tasks) == [1, 1]


def test_what_is_sent_is_bounded_and_no_token() -> None:
    signals = Signals(max_size=100)
    id = signals.create(ME)
    with pytest.raises(FFIError, match="at most 100 bytes, found 104"):
        signals.send(id, bytes(100))
    with pytest.raises(FFIError, match=r"cannot send the value: .*Token") as caught:
        signals.send(id, {"a": Token("s3cret")})
    assert "s3cret" not in str(caught.value)
    signals.send(id, bytes(96))


def test_old_ones_are_forgotten() -> None:
    clock = Clock()
    signals = Signals(max_owned=2, max_age=10, clock=clock)
    first = signals.create(ME)
    clock.now = 9.0
    second = signals.create(ME)
    signals.send(first, 1)
    clock.now = 10.0
    with pytest.raises(NotFound):
        asyncio.run(signals.wait(first, ME, 0))
    with pytest.raises(NotFound):
        signals.send(first, 1)
    third = signals.create(ME)  # There is room again.
    assert set(signals._signals) == {second, third}


async def test_waiting_ends_with_the_age_of_the_signal() -> None:
    clock = Clock()
    signals = Signals(max_age=0.05, clock=clock)
    id = signals.create(ME)
    with pytest.raises(TimeoutError):
        await signals.wait(id, ME, 30)
    task = asyncio.create_task(signals.wait(id, ME, 30))
    await asyncio.sleep(0)
    clock.now = 1.0
    signals.create(ME)
    with pytest.raises(FFIError, match="too old"):
        await task


def test_ids_are_not_to_be_guessed() -> None:
    signals = Signals()
    ids = {signals.create(ME) for _ in range(500)}
    assert len(ids) == 500 and all(len(id) == 32 and int(id, 16) >= 0 for id in ids)


async def test_what_is_kept_is_bounded_in_bytes_for_each_owner_and_for_all() -> None:
    signals = Signals(max_size=1_000, max_owned_bytes=2_100, max_bytes=3_100)
    text = "x" * 992
    mine, yours = ([signals.create(owner) for _ in range(4)] for owner in (ME, YOU))
    for id in mine[:2]:
        signals.send(id, text)
    with pytest.raises(FFIError, match="2100 bytes"):
        signals.send(mine[2], text)
    signals.send(yours[0], text)
    with pytest.raises(FFIError, match="3100 bytes"):
        signals.send(yours[1], text)
    signals.cancel(mine[0], ME)
    signals.send(mine[2], text)
    assert await signals.wait(mine[2], ME, 1) == text
