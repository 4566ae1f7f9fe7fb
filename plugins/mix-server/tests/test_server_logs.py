"""`mixkit logs`: what is done is shown and followed, beside a server and by asking it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from mix_server.server import Server

from mixkit.activities import Activities, Activity, Kind, now
from mixkit.kernel_settings import KernelSettings

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

COMMAND = [sys.executable, "-m", "mixkit", "logs"]
APP = "/v1/ws/w/app/demo"
LINE = 16 << 20
"""Bytes of a line: the agent chatter writes a page of memory at once."""


def shown(*options: str, status: int = 0, token: str = "") -> str:
    done = subprocess.run(
        [*COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "MIXKIT_SERVER_TOKEN": token},
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def _hear() -> None:
    """Ctrl-C ends the child: a script that runs the tests behind itself has them, and what they start, ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def followed(*options: str) -> Iterator[subprocess.Popen[str]]:
    """It runs within, and is ended if it has not."""
    with subprocess.Popen(
        [*COMMAND, "-f", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
async def busy(make_server: Make, connect: Connect) -> Server:
    """A server that has done something."""
    server = make_server()
    async with connect(server) as client:
        await client.post(f"{APP}/agent/echo", json={})
        await client.post(f"{APP}/agent/panic", json={})
        await client.post(f"{APP}/agent/delegate", json=["chatter", {}])
        await client.put("/v1/ws/w/app/other")
        await client.delete("/v1/ws/nobodys")
    return server


async def test_what_was_done_is_shown(busy: Server, ws_dir: Path) -> None:
    directory = ("--ws-dir", str(ws_dir))
    lines = shown("w", *directory).splitlines()
    kinds = [line.split()[2] for line in lines]
    assert kinds[:2] == ["run", "run"] and kinds[-1] == "create" and len(kinds) > 4
    assert "w/demo/panic run by operator: failed in " in lines[1]
    # The run that it began, and what that wrote for it.
    assert "w/demo/chatter run by operator: failed in " in lines[3] and "called_by=demo/delegate" in lines[3]
    assert "w/demo/delegate" in lines[4] and " info | " in lines[4]
    assert len(shown("w/demo/echo", *directory).splitlines()) == 1
    assert len(shown("w/other", *directory).splitlines()) == 1
    assert len(shown("w", *directory, "--kind", "create", "--kind", "grant").splitlines()) == 1
    assert len(shown("w", *directory, "--result", "failed").splitlines()) == 2
    assert shown("w", *directory, "--kind", "output", "--limit", "2").count("\n") == 2
    assert shown("w", *directory, "--since", "1h") == shown("w", *directory)
    assert shown("w", *directory, "--since", "2999-01-01T00:00:00Z") == ""
    everything = json.loads(shown(*directory, "--json"))
    assert len(everything) == len(lines) + 1
    assert everything[-1]["workspace"] == "nobodys" and everything[-1]["result"] == "refused"
    assert {each["run"] for each in everything if each.get("agent") == "echo"} == {
        lines[0].rpartition("[")[2].strip("]")
    }


@pytest.mark.parametrize(
    ("options", "said", "status"),
    [
        (("x",), "no workspace 'x'", 1),
        (("w/a/b/c",), "expected WS, WS/APP or WS/APP/AGENT", 2),
        (("w//b",), "expected WS, WS/APP or WS/APP/AGENT", 2),
        (("w", "--since", "yesterday"), "expected how long ago", 2),
        (("w", "--server", "http://127.0.0.1:1"), "give one of them", 2),
    ],
)
async def test_what_is_wrong(
    busy: Server, ws_dir: Path, options: tuple[str, ...], said: str, status: int
) -> None:
    assert said in shown(*options, "--ws-dir", str(ws_dir), status=status)


def test_a_server_that_cannot_be_asked() -> None:
    assert "cannot be asked" in shown("w", "--server", "http://127.0.0.1:1", status=1)
    assert "expected the URL of a server" in shown("w", "--server", "127.0.0.1:1", status=2)


def _write(server: Server, agent: str) -> None:
    """As another process does."""
    activities = Activities(server.store, KernelSettings())
    activities.record(
        Activity(kind=Kind.RUN, subject="operator", time=now(), workspace="w", app="demo", agent=agent)
    )
    activities.listener("w", subject="operator", app="demo", agent=agent, run="r1")(1, f"hello of {agent}")
    activities.close()


def test_what_is_done_is_followed(make_server: Make, ws_dir: Path) -> None:
    server = make_server()
    _write(server, "first")
    with followed("w/demo", "--ws-dir", str(ws_dir), "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        first = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert {each["agent"] for each in first} == {"first"}
        for number in range(3):
            _write(server, f"agent{number}")
            found = [json.loads(process.stdout.readline()) for _ in range(2)]
            assert {each["agent"] for each in found} == {f"agent{number}"}
            assert {each.get("text") for each in found} == {None, f"hello of agent{number}"}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stdout.read() == process.stderr.read().strip() == ""


def test_it_ends_with_who_reads_it(make_server: Make, ws_dir: Path) -> None:
    server = make_server()
    _write(server, "first")
    with followed("w", "--ws-dir", str(ws_dir)) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "first" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) in (0, 1)
        assert process.stderr.read() == ""


async def test_a_server_is_asked(make_server: Make, served: Connect, token: str) -> None:
    async with served(make_server()) as client:
        await client.post(f"{APP}/agent/echo", json={})
        url = str(client.base_url)
        lines = await asyncio.to_thread(shown, "--server", url, token=token)
        assert "w/demo/echo run by operator: ok in " in lines
        refused = await asyncio.to_thread(shown, "w", "--server", url, token="wrong-token-0123456", status=1)
        assert "answered 401" in refused
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "-f", "w", "--server", url, "--kind", "run", "--kind", "output", "--json",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "MIXKIT_SERVER_TOKEN": token},
            preexec_fn=_hear,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert json.loads(await process.stdout.readline())["agent"] == "echo"
            await client.put("/v1/ws/w/app/other")
            await client.post(f"{APP}/agent/chatter", json={})
            found = json.loads(await process.stdout.readline())
            while "text" in found:
                assert found["agent"] == "chatter"
                found = json.loads(await process.stdout.readline())
            assert (found["kind"], found["agent"], found["workspace"]) == ("run", "chatter", "w")
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 20) == 130
        finally:
            if process.returncode is None:
                process.kill()
