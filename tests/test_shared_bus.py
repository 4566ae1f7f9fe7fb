"""The bus that processes share."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mixkit.bus import Beginning, BusError, BusFull, BusLost, Message, MessagesMissed
from mixkit.local_bus import BusLimits
from mixkit.shared_bus import SharedBus
from mixkit.shared_bus.frames import (
    Answer,
    Deliver,
    Frames,
    FromHub,
    Missed,
    Publish,
    Subscribe,
    frame,
    most_bytes,
)
from mixkit.shared_bus.kept import Kept
from mixkit.shared_bus.meeting import lead, reach
from mixkit.testing.bus_suite import MESSAGE, QUEUE, FollowedBusSuite

LIMITS = BusLimits(queue=QUEUE, max_message_bytes=MESSAGE)


class TestSharedBus(FollowedBusSuite):
    @pytest.fixture
    async def bus(self, tmp_path: Path) -> AsyncIterator[SharedBus]:
        bus = SharedBus(tmp_path / "bus", LIMITS)
        yield bus
        await bus.close()


class TestSharedBusOfAnother(FollowedBusSuite):
    """Another one carries the messages."""

    @pytest.fixture
    async def bus(self, tmp_path: Path) -> AsyncIterator[SharedBus]:
        carrier, bus = SharedBus(tmp_path / "bus", LIMITS), SharedBus(tmp_path / "bus", LIMITS)
        await carrier.publish("first", b"x")
        assert carrier.leads
        yield bus
        assert not bus.leads
        await bus.close()
        await carrier.close()


# -- several processes ------------------------------------------------------------------------------

_WORKER = """
import asyncio, json, os, sys
from pathlib import Path
from mixkit.bus import BusError, MessagesMissed
from mixkit.shared_bus import SharedBus, bus

bus._ANSWER = 2.0

def say(**what):
    os.write(1, json.dumps(what).encode() + b"\\n")

async def listen(subscription):
    while True:
        try:
            message = await subscription.next()
        except MessagesMissed:
            say(missed=True)
            continue
        say(got=message.payload.decode(), retained=message.retained)

async def main():
    bus = SharedBus(Path(sys.argv[1]))
    listening = asyncio.create_task(listen(await bus.subscribe("news/#")))
    say(ready=True, leads=bus.leads)
    for line in iter(await_line, None):
        line = await line
        if not line:
            break
        topic, payload, *flags = line.split()
        if topic == "leads":
            say(leads=bus.leads)
            continue
        try:
            await bus.publish(topic, payload.encode(), retain=bool(flags))
            say(done=payload)
        except BusError as exc:
            say(failed=exc.code)
    await bus.close()
    os._exit(0)

def await_line():
    return asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


class Worker:
    """A process that shares the bus, prints what it hears and publishes what it is told to."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.heard: list[str] = []
        self.retained: list[str] = []
        self.missed = 0

    def next(self) -> dict[str, Any]:
        """The next thing that it says; messages are noted as well."""
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        if "got" in said:
            (self.retained if said["retained"] else self.heard).append(said["got"])
        self.missed += "missed" in said
        return said

    def until(self, key: str) -> Any:
        """What it says under that key, after all that comes before."""
        while True:
            said = self.next()
            if key in said:
                return said[key]

    def ask(self, line: str) -> dict[str, Any]:
        """Tell it a line; how it went."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        while True:
            said = self.next()
            if said.keys() & {"done", "failed", "leads"}:
                return said

    def publish(self, line: str) -> None:
        assert self.ask(line) == {"done": line.split()[1]}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    """Four; the first carries the messages."""
    workers = [Worker(tmp_path / "bus")]
    workers[0].until("ready")
    workers += [Worker(tmp_path / "bus") for _ in range(3)]
    for worker in workers[1:]:
        worker.until("ready")
    assert workers[0].ask("leads -") == {"leads": True}
    yield workers
    for worker in workers:
        worker.kill()


def test_four_processes_hear_each_other_once(workers: list[Worker]) -> None:
    expected = []
    for turn in range(5):
        for number, worker in enumerate(workers):
            worker.publish(f"news/{number} {number}-{turn}")
            expected.append(f"{number}-{turn}")
    for worker in workers:
        while len(worker.heard) < len(expected):
            worker.next()
        assert worker.heard == expected
        assert worker.missed == 0


def test_another_takes_over_from_one_that_is_killed(workers: list[Worker]) -> None:
    first, *others = workers
    first.publish("news/kept before retain")
    for worker in others:
        worker.until("got")
    first.kill()
    began = time.monotonic()
    for worker in others:
        while not worker.retained:
            worker.next()
        assert worker.retained == ["before"] and worker.missed
    # A second is the promise; this machine may be busy.
    assert time.monotonic() - began < 10
    assert sum(worker.ask("leads -")["leads"] for worker in others) == 1
    for number, worker in enumerate(others):
        worker.publish(f"news/{number} after-{number}")
    for worker in others:
        while len(worker.heard) < 4:
            worker.next()
        assert worker.heard == ["before", "after-0", "after-1", "after-2"], "nothing twice"


def test_one_that_is_stopped_is_an_error_in_time(workers: list[Worker]) -> None:
    first, second, *_ = workers
    os.kill(first.process.pid, signal.SIGSTOP)
    while ") T " not in Path(f"/proc/{first.process.pid}/stat").read_text():
        time.sleep(0.01)
    assert second.ask("news/a lost") == {"failed": "bus_lost"}
    os.kill(first.process.pid, signal.SIGCONT)
    second.publish("news/a again")
    while "again" not in second.heard:
        second.next()


async def test_one_that_closes_hands_out_what_it_has(tmp_path: Path) -> None:
    first, second = SharedBus(tmp_path / "bus"), SharedBus(tmp_path / "bus")
    await first.publish("a", b"0")
    subscription = await second.subscribe("a")
    for number in range(100):
        await first.publish("a", b"%d" % number)
    await first.close()
    assert [int((await subscription.next(15)).payload) for _ in range(100)] == list(range(100))
    with pytest.raises(MessagesMissed, match="has changed"):
        await subscription.next(15)
    await second.publish("a", b"mine")
    while True:
        try:
            assert (await subscription.next(15)).payload == b"mine"
            break
        except MessagesMissed:
            continue
    assert second.leads
    await second.close()


async def test_a_forked_process_has_a_connection_of_its_own(tmp_path: Path) -> None:
    bus = SharedBus(tmp_path / "bus")
    subscription = await bus.subscribe("a")
    child = await asyncio.to_thread(_publishes, bus)
    assert (await subscription.next(15)).payload == b"child"
    # What it was before the fork is nobody's there: the lock is given back when its holder ends.
    await bus.close()
    other = SharedBus(tmp_path / "bus")
    await other.publish("a", b"x")
    os.kill(child, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, child, 0)
    await other.publish("a", b"x")
    await other.close()


def _publishes(bus: SharedBus) -> int:
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(bus.publish("a", b"child"))
            time.sleep(60)
        finally:
            os._exit(1)
    return child


async def test_a_directory_that_is_removed(tmp_path: Path) -> None:
    first, second = SharedBus(tmp_path / "bus"), SharedBus(tmp_path / "bus")
    await first.publish("a", b"x")
    await second.publish("a", b"x")
    shutil.rmtree(tmp_path / "bus")
    third = SharedBus(tmp_path / "bus")
    subscription = await third.subscribe("a")
    for bus in (first, second):
        for _ in range(100):
            with suppress(BusError):
                await bus.publish("a", b"again")
            with suppress(TimeoutError, MessagesMissed):
                assert (await subscription.next(0.2)).payload == b"again"
                break
        else:
            raise AssertionError("they do not meet again")
    for bus in (first, second, third):
        await bus.close()


# -- what is refused --------------------------------------------------------------------------------


async def test_a_directory_that_others_may_use(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir(mode=0o755)
    (tmp_path / "bus").chmod(0o755)
    bus = SharedBus(tmp_path / "bus")
    with pytest.raises(BusError, match=r"expected one of user \d+ with mode 0700, found .* 0755"):
        await bus.publish("a", b"x")
    (tmp_path / "bus").chmod(0o700)
    for _ in range(100):
        with suppress(BusError):
            await bus.publish("a", b"x")
            break
        await asyncio.sleep(0.05)
    assert bus.leads
    await bus.close()


async def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link", "none/bus"):
        bus = SharedBus(tmp_path / name)
        with pytest.raises(BusError, match="cannot be used") as caught:
            await bus.publish("a", b"x")
        assert str(tmp_path) not in str(caught.value)
        await bus.close()


async def test_what_nobody_foresaw_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Kept) -> Iterator[tuple[Message, str]]:
        raise ZeroDivisionError

    bus = SharedBus(tmp_path / "bus")
    with monkeypatch.context() as patched:
        patched.setattr(Kept, "load", fail)
        with pytest.raises(BusLost, match="joining the bus failed: ZeroDivisionError"):
            await bus.publish("a", b"x")
    assert "joining the bus failed" in caplog.text
    for _ in range(100):
        with suppress(BusLost):
            await bus.publish("a", b"x")
            break
        await asyncio.sleep(0.05)
    assert bus.leads
    await bus.close()


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bus").mkdir(mode=0o700)
    held = lead(tmp_path / "bus")  # Somebody who lets nobody in.
    assert held is not None
    held.listener.close()
    monkeypatch.setattr("mixkit.shared_bus.bus._ASKED", 3)
    monkeypatch.setattr("mixkit.shared_bus.bus._ANSWER", 0.2)
    bus = SharedBus(tmp_path / "bus")
    found = await asyncio.gather(*(bus.publish("a", b"x") for _ in range(4)), return_exceptions=True)
    assert [getattr(exc, "code", None) for exc in found] == ["bus_lost"] * 3 + ["bus_full"]
    with pytest.raises(BusFull, match="3 messages"):  # They still wait to be sent.
        await bus.publish("a", b"x")
    held.close()
    for _ in range(300):
        with suppress(BusFull):
            await bus.publish("a", b"x")
            break
        await asyncio.sleep(0.05)
    assert bus.leads
    await bus.close()


async def test_a_process_that_takes_nothing_is_told_what_it_missed(tmp_path: Path) -> None:
    limits = BusLimits(max_message_bytes=20_000)
    bus = SharedBus(tmp_path / "bus", limits)
    await bus.publish("a", b"x")
    with _connected(tmp_path / "bus") as raw:
        raw.sendall(frame(Subscribe(1, 7, "a", "")))
        frames: Frames[FromHub] = Frames(FromHub, most_bytes(20_000))  # type: ignore[arg-type]
        assert [*frames.feed(await asyncio.to_thread(raw.recv, 65536))] == [Answer(1)]
        for _ in range(300):
            await bus.publish("a", b"x" * 20_000)
        got, missed = 0, 0

        def read() -> None:
            nonlocal got, missed
            while got + missed < 300:
                for found in frames.feed(raw.recv(65536)):
                    got += isinstance(found, Deliver)
                    missed += found.counts[7] if isinstance(found, Missed) else 0

        await asyncio.to_thread(read)
        assert got + missed == 300 and missed > 50
    await bus.close()


def test_nonsense_ends_its_own_connection_alone(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    good = frame(Publish(1, "a", b"x" * 50, True, False, "me")) + frame(Subscribe(2, 2, "a/#", "me"))
    bus = SharedBus(tmp_path / "bus")
    asyncio.run(bus.publish("a", b"x"))
    for turn in range(300):
        data = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        with _connected(tmp_path / "bus") as raw, suppress(ConnectionError):
            raw.sendall(dice.randbytes(dice.randrange(200)) if turn % 3 == 0 else data)
    with _connected(tmp_path / "bus") as raw, suppress(ConnectionError):
        raw.sendall((2**31).to_bytes(4, "big"))
        assert raw.recv(1) == b"", "a frame that is too large"
    asyncio.run(_goes_on(bus))
    bus.stop()


async def _goes_on(bus: SharedBus) -> None:
    # A topic that no dice make of the other.
    subscription = await bus.subscribe("something/else")
    await bus.publish("something/else", b"still")
    assert (await subscription.next(15)).payload == b"still"


@contextmanager
def _connected(directory: Path) -> Iterator[socket.socket]:
    for _ in range(1_000):
        connection = reach(directory)
        if connection is not None:
            break
        time.sleep(0.01)  # It has not accepted those before yet.
    assert connection is not None
    connection.settimeout(15)
    with connection:
        yield connection


# -- what is retained -------------------------------------------------------------------------------


async def test_what_is_retained_outlives_all_processes(tmp_path: Path) -> None:
    bus = SharedBus(tmp_path / "bus")
    await bus.publish("a", b"old", retain=True)
    await bus.publish("a", b"kept", retain=True, text=True, owner=("w", "a"))
    await bus.publish("b", b"gone", retain=True)
    await bus.publish("b", b"", retain=True)
    await bus.close()
    kept = tmp_path / "bus" / "kept"
    (file,) = kept.iterdir()
    (kept / ("0" * 64 + ".msg")).write_bytes(file.read_bytes())
    (kept / "half.new").write_bytes(b"x")
    again = SharedBus(tmp_path / "bus", BusLimits(max_retained=1, share=1))
    subscription = await again.subscribe("#")
    assert await subscription.next(15) == Message("a", b"kept", retained=True, text=True)
    with pytest.raises(TimeoutError):
        await subscription.next(0.05)
    assert list(kept.iterdir()) == [file]
    with pytest.raises(BusFull, match="1 retained messages"):
        await again.publish("c", b"x", retain=True, owner=("w", "a"))
    await again.close()
    file.write_bytes(file.read_bytes()[:-1])
    third = SharedBus(tmp_path / "bus")
    with pytest.raises(TimeoutError):
        await (await third.subscribe("#")).next(0.05)
    await third.close()


async def test_who_follows_is_told_that_another_carries(tmp_path: Path) -> None:
    carrier, bus = SharedBus(tmp_path / "bus", LIMITS), SharedBus(tmp_path / "bus", LIMITS)
    await carrier.publish("a", b"0")
    following = await bus.follow("a")
    begin, message = await following.next(15.0), await following.next(15.0)
    assert (begin.id, message.payload) == (message.id.replace(".1", ".0"), b"0")
    await carrier.close()
    with pytest.raises(MessagesMissed):
        await following.next(15.0)
    await bus.publish("a", b"1")
    again = begin
    while again is begin:
        with suppress(MessagesMissed):
            again = await following.next(15.0)
    message = await following.next(15.0)
    assert type(again) is Beginning and type(message) is Message
    assert (again.id.partition(".")[0] != begin.id.partition(".")[0], message.payload) == (True, b"1")
    await bus.close()
