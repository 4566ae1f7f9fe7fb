"""Several workers, some of which are killed: no message lacks without a word, no signal is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from mixkit import Kernel
from mixkit.bus import BusError
from mixkit.package import WorkspaceStore
from mixkit.shared_bus import SharedBus

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-some-length-for-tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
WORKERS = 2
DEADLINE = 60.0
TOPIC = "mixkit/workspace/w/room"
PATH = "/v1/subscribe/$workspace/room?ws=w"


def workers_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()] if tasks.exists() else []


@contextmanager
def serving(ws_dir: Path) -> Iterator[tuple[int, str]]:
    """Gunicorn with several workers: its process, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    variables = {"MIXKIT_SERVER_WS_DIR": str(ws_dir), "MIXKIT_SERVER_TOKEN": TOKEN}
    command = [sys.executable, "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", str(WORKERS)]
    command += ["--bind", f"127.0.0.1:{port}", "--no-control-socket", "--preload", "mix_server.asgi:app"]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command, env=clean | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            until = time.monotonic() + DEADLINE
            while len(workers_of(child.pid)) < WORKERS or not _ready(address):
                assert child.poll() is None and time.monotonic() < until
                time.sleep(0.05)
            yield child.pid, address
        finally:
            workers = workers_of(child.pid)
            child.kill()
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)


def _ready(address: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{address}/readyz").status_code == 200
    return False


def client_of(address: str) -> httpx.AsyncClient:
    # Each request comes to any of the workers.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=address, headers=HEADERS, timeout=DEADLINE, limits=limits)


class Listener:
    """Follows the topic as a browser does, coming back whenever it is cut off."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.heard: list[Any] = []
        self.last = ""
        self._client = client

    async def run(self) -> None:
        while True:
            with suppress(httpx.HTTPError):
                headers = {"Last-Event-ID": self.last} if self.last else {}
                async with self._client.stream("GET", PATH, headers=headers) as answer:
                    kind = ""
                    async for line in answer.aiter_lines():
                        name, _, text = line.partition(": ")
                        if name == "id":
                            self.last = text
                        elif name == "event":
                            kind = text
                        elif name == "data":
                            self.heard.append(kind or json.loads(text))
                            kind = ""
            await asyncio.sleep(0.05)


async def until(holds: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)


@pytest.fixture
def ws_dir(tmp_path: Path) -> Path:
    with Kernel("agent_server", environ={}) as kernel:
        WorkspaceStore(tmp_path / "ws", kernel.databases).create("w")
    return tmp_path / "ws"


async def test_workers_that_are_killed(ws_dir: Path) -> None:
    with serving(ws_dir) as (pid, address):
        async with client_of(address) as client:
            listeners = [Listener(client) for _ in range(6)]
            running = [asyncio.create_task(listener.run()) for listener in listeners]
            await until(lambda: all(listener.last for listener in listeners))
            urls = [(await client.post("/v1/signals", json={"ws": "w"})).json()["url"] for _ in range(4)]
            waiting = asyncio.create_task(client.get(urls[0], params={"timeout": 50}))
            bus = SharedBus(ws_dir / ".bus")
            said = 0
            for victim in workers_of(pid):
                for _ in range(5):
                    await bus.publish(TOPIC, str(said).encode(), text=True)
                    said += 1
                os.kill(victim, signal.SIGKILL)
                for _ in range(5):
                    with suppress(BusError):
                        await bus.publish(TOPIC, str(said).encode(), text=True)
                    said += 1
                await until(lambda: len(workers_of(pid)) == WORKERS)
            assert (await client.post(urls[1], json="kept")).status_code == 204
            with suppress(httpx.HTTPError):
                # Unless it was at a worker that was killed.
                async with asyncio.timeout(0):
                    await waiting
            with suppress(BusError):
                await bus.publish(TOPIC, b"last", text=True)
            await until(lambda: all(listener.heard[-1:] in (["last"], ["resync"]) for listener in listeners))
            for task in running:
                task.cancel()
            await asyncio.wait([*running, waiting])
            await bus.close()
    for listener in listeners:
        before = -1
        for text in listener.heard:
            if text == "resync":
                before = -1
            elif text != "last":
                # None twice, none out of order, and none lacks but where that was said.
                assert int(text) == before + 1 or before == -1, listener.heard
                before = int(text)
    with serving(ws_dir) as (_, address):
        async with client_of(address) as client:
            states = [(await client.get(url)).json()["state"] for url in urls]
            assert states == ["pending", "ok", "pending", "pending"]
            answers = await asyncio.gather(
                client.get(urls[2], params={"timeout": 50}),
                client.get(urls[2], params={"timeout": 50}),
                client.post(urls[2], json="woken"),
            )
            assert [answer.json()["value"] for answer in answers[:2]] == ["woken"] * 2
