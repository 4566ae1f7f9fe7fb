"""What an agent has called gets to clean up, whether its client has gone or the server stops."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from mix_server.server import Server

from mixkit.ffi import FFIGroup, FFITable

Make = Callable[..., Server]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
SLEEP = "/v1/ws/w/app/demo/agent/sleep"


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def server(make_server: Make, events: list[str]) -> Server:
    """Where `$core_sleep` has much to tidy up."""
    group = FFIGroup("test")

    @group.register("$core_sleep")
    async def sleep(ms: float) -> None:
        events.append("begun")
        try:
            await asyncio.sleep(ms / 1000)
        finally:
            for _ in range(3):
                await asyncio.sleep(0.05)
            events.append("clean")

    server = make_server()
    server.kernel.ffis = FFITable([group])
    return server


async def until(events: list[str], event: str) -> None:
    async with asyncio.timeout(20):
        while event not in events:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_its_client_has_gone(server: Server, served: Serve, events: list[str]) -> None:
    async with served(server) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(SLEEP, json=[60_000], timeout=1)
        await until(events, "clean")
        async with asyncio.timeout(20):
            while server.admission.active + server.admission.paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert events == ["begun", "clean"]


async def test_the_server_stops(server: Server, served: Serve, events: list[str]) -> None:
    # uvicorn hears the signal in this process as in one of its own, and raises it again when it has stopped.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        async with served(server, timeout_graceful_shutdown=1) as client:
            request = asyncio.create_task(client.post(SLEEP, json=[60_000]))
            await until(events, "begun")
            os.kill(os.getpid(), signal.SIGTERM)
            answer = await request
            assert (answer.status_code, events) == (503, ["begun", "clean"])
    finally:
        signal.signal(signal.SIGTERM, before)
