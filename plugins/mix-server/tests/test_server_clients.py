"""Whether clients are still there: one timer for all, and nobody is asked whose request is over soon."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mix_server.agent_headers import AgentHeaders
from mix_server.clients import Clients, Watch
from mix_server.errors import Disconnected, Stopping
from mix_server.metrics import Metrics


class Client:
    """What an ASGI server says of a client."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.asked = 0

    async def receive(self) -> Any:
        self.asked += 1
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_requests_that_are_over_soon_cost_no_timer_and_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    clients, client = Clients(), Client()
    timers: list[float] = []
    call_later = asyncio.get_running_loop().call_later

    def counted(delay: float, *args: Any, **options: Any) -> Any:
        timers.append(delay)
        return call_later(delay, *args, **options)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", counted)
    for _ in range(1000):
        with Watch(clients, client.receive):
            pass
    assert len(timers) == 1
    async with asyncio.timeout(20):
        while clients._timer is not None:  # noqa: ASYNC110 - nobody says so
            await asyncio.sleep(0.01)
    assert client.asked == 0
    assert not clients._new and not clients._old


async def test_each_client_that_goes_away_ends_its_own_request() -> None:
    clients = Clients()
    going, staying = Client(), Client()
    ended = asyncio.Event()

    async def request(client: Client) -> str:
        with Watch(clients, client.receive):
            await ended.wait()
        return "answered"

    async with asyncio.timeout(20):
        one, other = asyncio.create_task(request(going)), asyncio.create_task(request(staying))
        while not (going.asked and staying.asked):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        going.gone.set()
        with pytest.raises(Disconnected):
            await one
        ended.set()
        assert await other == "answered"
        late = asyncio.create_task(request(staying))
        ended.clear()
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(Stopping):
            await late
    assert not clients._new and not clients._old


def test_headers_are_what_an_agent_may_see() -> None:
    raw = [
        (b"host", b"a"), (b"cookie", b"s=1"), (b"authorization", b"Bearer x"), (b"x-a", b"\xe9"),
        (b"content-encoding", b"gzip"), (b"content-length", b"3"), (b"proxy-authorization", b"y"), (b"x-a", b"last"),
    ]  # fmt: skip
    seen = AgentHeaders(raw, decompressed=False)
    assert dict(seen) == {"host": "a", "x-a": "last", "content-encoding": "gzip", "content-length": "3"}
    assert (len(seen), seen["host"], "cookie" in seen) == (4, "a", False)
    assert dict(AgentHeaders(raw, decompressed=True)) == {"host": "a", "x-a": "last"}
    assert not AgentHeaders([], decompressed=False)


async def test_what_was_counted_is_handed_over_in_a_moment() -> None:
    metrics = Metrics()
    metrics.expose()
    for status in (200, 200, 404):
        metrics.count("GET", "/x", status, 0.001)
    metrics.runs(3, 2, 1)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    async with asyncio.timeout(20):
        while value("mixkit_http_request_seconds_count", route="/x") is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert value("mixkit_http_requests_total", method="GET", route="/x", status="200") == 2
    assert value("mixkit_http_requests_total", method="GET", route="/x", status="404") == 1
    assert value("mixkit_http_request_seconds_count", route="/x") == 3
    assert value("mixkit_http_request_seconds_bucket", route="/x", le="0.001") == 3
    assert [value(f"mixkit_runs_{kind}") for kind in ("active", "waiting", "paused")] == [3, 2, 1]
    metrics.count("GET", "/x", 200, 0.001)
    metrics.flush()
    assert value("mixkit_http_requests_total", method="GET", route="/x", status="200") == 3
