"""Places for runs: how many, who waits, who is turned away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from typing import Any, TypeVar

import httpx
import pytest
from mix_server.admission import Admission
from mix_server.errors import Overloaded, Stopping
from mix_server.server import Server
from mix_server.shares import ASKING, share_of

from mixkit.errors import ProfileError

T = TypeVar("T")

RUNNER = [("runner", "workspace")]
DEMO = "/v1/ws/w/app/demo/agent/"


def nobody(active: int, waiting: int, paused: int) -> None:
    pass


async def hold(admission: Admission, until: asyncio.Event) -> None:
    async with admission:
        await until.wait()


def by(whose: str | None, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Do something for somebody."""
    context = copy_context()
    context.run(ASKING.set, whose)
    return asyncio.get_running_loop().create_task(work, context=context)


async def test_first_come_first_served_and_never_more_than_places() -> None:
    admission = Admission(2, 10, 10, 5, 0.5, nobody)
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
    admission, done = Admission(1, 10, 1, 0.05, 0.5, nobody), asyncio.Event()
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


async def test_callers_take_turns_and_none_fills_the_queue() -> None:
    admission, order = Admission(1, 10, 8, 5, 0.5, nobody), list[str]()

    async def run(whose: str | None, number: int) -> None:
        async with admission:
            order.append(f"{whose}{number}")
            await asyncio.sleep(0.001)

    async with admission:
        greedy = [by("a", run("a", number)) for number in range(6)]
        await asyncio.sleep(0)
        assert admission.waiting == 4
        others = [by("b", run("b", number)) for number in range(2)]
        await asyncio.sleep(0)
        # The operator has no share, only what is left.
        others += [by(None, run(None, number)) for number in range(2)]
        await asyncio.sleep(0)
        assert admission.waiting == 8
        with pytest.raises(Overloaded, match="8 runs are waiting already"):
            await by("c", run("c", 0))
    refused = await asyncio.gather(*greedy, return_exceptions=True)
    assert [str(each) for each in refused if each] == [
        "4 runs of yours are waiting already; try again in a second"
    ] * 2
    await asyncio.gather(*others)
    assert order == ["a0", "b0", "None0", "a1", "b1", "None1", "a2", "a3"]
    # What they had is theirs again.
    async with admission:
        again = [by("a", run("a", number)) for number in range(4)]
        await asyncio.sleep(0)
    await asyncio.gather(*again)


async def test_no_caller_has_all_runs_that_wait_for_what_they_called() -> None:
    admission, called = Admission(4, 4, 4, 5, 0.5, nobody), asyncio.Event()

    async def run() -> None:
        async with admission:
            pause = admission.pauses()
            pause(True)
            await called.wait()
            pause(False)

    waiting = [by("a", run()), by("a", run()), by("b", run())]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="2 runs of yours wait for what they called"):
        await by("a", run())
    waiting.append(by("b", run()))
    await asyncio.sleep(0)
    assert admission.paused == 4
    called.set()
    await asyncio.gather(*waiting)
    await by("a", run())
    assert (admission.active, admission.paused) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_whoever_gives_up_when(seed: int) -> None:
    chance = random.Random(seed)
    admission = Admission(3, 100, 100, 5, 0.5, nobody)

    async def run() -> None:
        async with admission:
            assert admission.active <= 3
            await asyncio.sleep(chance.random() / 1000)

    tasks = [by(chance.choice(("a", "b", None)), run()) for _ in range(60)]
    for task in chance.sample(tasks, 30):
        await asyncio.sleep(chance.random() / 2000)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (admission.active, admission.waiting) == (0, 0)


async def test_stopping_waits_and_lets_nobody_in() -> None:
    admission, done = Admission(1, 10, 1, 5, 0.5, nobody), asyncio.Event()
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


async def test_a_run_that_waits_for_what_it_called_gives_its_place_to_others() -> None:
    admission, called, done = Admission(1, 2, 1, 5, 0.5, nobody), asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with admission:
            pause = admission.pauses()
            pause(True)
            await called.wait()
            # A nested run works for it, and waits itself.
            for begins in (False, True, False, True):
                pause(begins)
            pause(False)
            await done.wait()

    first, second = asyncio.create_task(run()), asyncio.create_task(run())
    await asyncio.sleep(0.01)
    assert (admission.active, admission.paused, admission.waiting) == (0, 2, 0)
    with pytest.raises(Overloaded, match="2 runs wait for what they called, of at most 2"):
        await run()
    called.set()
    await asyncio.sleep(0.01)
    assert (admission.active, admission.paused) == (2, 0)
    stopping = asyncio.create_task(admission.stop(5))
    await asyncio.sleep(0)
    done.set()
    assert await stopping == 0
    await asyncio.gather(first, second)
    assert (admission.active, admission.paused) == (0, 0)


@pytest.mark.parametrize("seed", range(10))
async def test_no_place_is_lost_whoever_pauses_when(seed: int) -> None:
    chance = random.Random(seed)
    admission = Admission(3, 1000, 100, 5, 0.5, nobody)

    async def run() -> None:
        async with admission:
            pause = admission.pauses()
            for _ in range(3):
                pause(True)
                try:
                    await asyncio.sleep(chance.random() / 1000)
                finally:
                    pause(False)
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(run()) for _ in range(60)]
    for task in chance.sample(tasks, 20):
        await asyncio.sleep(chance.random() / 2000)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (admission.active, admission.paused, admission.waiting) == (0, 0, 0)


async def test_runs_that_wait_do_not_keep_others_out(
    make_server: Callable[..., Server],
    connect: Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]],
) -> None:
    server = make_server(max_runs=1, max_waiting_runs=10, max_waiting=3)
    async with connect(server) as client:
        assert (await client.post(f"{DEMO}echo", json=1)).json() == 1
        sleeping = []
        async with asyncio.timeout(20):
            # One after the other: a run whose turn ends before it waits has a place for longer.
            for number in range(10):
                request = ("sleep", [3500]) if number else ("delegate", ["sleep", [3500]])
                sleeping.append(asyncio.create_task(client.post(f"{DEMO}{request[0]}", json=request[1])))
                while server.admission.paused <= number:  # noqa: ASYNC110 - nobody says so
                    await asyncio.sleep(0.01)
        assert server.admission.active == 0
        assert "mixkit_runs_paused 10.0" in (await client.get("/metrics")).text
        late = await client.post(f"{DEMO}echo", json=1)
        assert late.status_code == 429
        assert "10 runs wait for what they called, of at most 10" in late.text
        assert {answer.status_code for answer in await asyncio.gather(*sleeping)} == {200}
        assert (await client.post(f"{DEMO}echo", json=1)).json() == 1
    assert (server.admission.active, server.admission.paused) == (0, 0)


async def test_no_run_is_let_in_while_guests_have_all_memory(
    make_server: Callable[..., Server],
    connect: Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = make_server()
    async with connect(server) as client:
        assert (await client.post(f"{DEMO}echo", json=1)).status_code == 200
        assert 128 * 1024 <= server.kernel.memory_in_use < server.settings.max_memory
        most = server.settings.max_memory
        monkeypatch.setattr(type(server.kernel), "memory_in_use", most)
        refused = await client.post(f"{DEMO}echo", json=1)
        assert refused.status_code == 429
        assert f"the guests have {most} bytes of memory, of at most {most}" in refused.text


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


async def test_a_greedy_caller_is_told_to_wait_and_the_others_have_their_turn(
    make_server: Callable[..., Server],
    connect: Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]],
) -> None:
    server = make_server(max_runs=1, max_waiting=6, limits_wall_time=0.5)
    async with connect(server) as client:
        ada, bob = [
            {"Authorization": f"Bearer {server.grants.make_machine('w', name, RUNNER, None, None)[1]}"}
            for name in ("ada", "bob")
        ]
        flood = [asyncio.create_task(client.post(f"{DEMO}spin", headers=ada)) for _ in range(6)]
        async with asyncio.timeout(20):
            while server.admission.waiting < 3:  # noqa: ASYNC110 - nobody says so
                await asyncio.sleep(0.005)
        other = await client.post(f"{DEMO}echo", json=1, headers=bob)
        assert (other.status_code, other.text) == (200, "1")
        # Before what was asked for earlier by who asks for so much.
        assert server.admission.waiting > 0
        answers = await asyncio.gather(*flood)
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) == 2
        assert all("3 runs of yours are waiting" in answer.text for answer in refused)
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan"), "half"])
def test_what_is_no_share_is_refused_at_start(make_server: Callable[..., Server], share: object) -> None:
    with pytest.raises(ProfileError, match="caller_share"):
        make_server(caller_share=share)


def test_a_share_is_one_at_least() -> None:
    assert [share_of(most, part) for most, part in ((0, 0.5), (1, 0.01), (7, 0.5), (8, 1.0))] == [1, 1, 3, 8]
