"""Places for runs: how many, who waits, who is turned away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from mix_server.admission import Admission
from mix_server.errors import Overloaded, Stopping
from mix_server.server import Server

DEMO = "/v1/ws/w/app/demo/agent/"


def nobody(active: int, waiting: int) -> None:
    pass


async def hold(admission: Admission, until: asyncio.Event) -> None:
    async with admission:
        await until.wait()


async def test_first_come_first_served_and_never_more_than_places() -> None:
    admission = Admission(2, 10, 5, nobody)
    order: list[int] = []

    async def run(number: int) -> None:
        async with admission:
            assert admission.active <= 2
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(run(number) for number in range(10)))
    assert order == list(range(10))
    assert (admission.active, admission.waiting) == (0, 0)


async def test_a_full_queue_and_a_queue_that_does_not_move_turn_away() -> None:
    admission, done = Admission(1, 1, 0.05, nobody), asyncio.Event()
    holder = asyncio.create_task(hold(admission, done))
    await asyncio.sleep(0)
    waiter = asyncio.create_task(hold(admission, done))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="1 runs are waiting"):
        await hold(admission, done)
    with pytest.raises(Overloaded, match="no run ended"):
        await waiter
    done.set()
    await holder
    assert (admission.active, admission.waiting) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_whoever_gives_up_when(seed: int) -> None:
    chance = random.Random(seed)
    admission = Admission(3, 100, 5, nobody)

    async def run() -> None:
        async with admission:
            assert admission.active <= 3
            await asyncio.sleep(chance.random() / 1000)

    tasks = [asyncio.create_task(run()) for _ in range(60)]
    for task in chance.sample(tasks, 30):
        await asyncio.sleep(chance.random() / 2000)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (admission.active, admission.waiting) == (0, 0)


async def test_stopping_waits_and_lets_nobody_in() -> None:
    admission, done = Admission(1, 1, 5, nobody), asyncio.Event()
    holder = asyncio.create_task(hold(admission, done))
    await asyncio.sleep(0)
    assert await admission.stop(0.01) == 1
    with pytest.raises(Stopping):
        await hold(admission, done)
    stopping = asyncio.create_task(admission.stop(5))
    await asyncio.sleep(0)
    done.set()
    assert await stopping == 0
    await holder


async def test_a_flood_is_429_with_retry_after_and_the_server_goes_on(
    make_server: Callable[..., Server],
    connect: Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]],
) -> None:
    server = make_server(max_runs=2, max_waiting=3, limits_wall_time=1.0)
    async with connect(server) as client:
        flood = [asyncio.create_task(client.post(f"{DEMO}spin")) for _ in range(20)]
        await asyncio.sleep(0.5)
        page = (await client.get("/metrics")).text
        assert "mixkit_runs_active 2.0" in page
        assert "mixkit_runs_waiting 3.0" in page
        answers = await asyncio.gather(*flood)
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(429) == 15
        assert statuses.count(504) == 5
        turned_away = next(answer for answer in answers if answer.status_code == 429)
        assert turned_away.headers["retry-after"] == "1"
        assert turned_away.json()["kind"] == "message"
        assert (await client.post(f"{DEMO}echo", json=1)).json() == 1
        page = (await client.get("/metrics")).text
        assert "mixkit_runs_active 0.0" in page
        assert "mixkit_runs_waiting 0.0" in page
    assert (server.admission.active, server.admission.waiting) == (0, 0)
