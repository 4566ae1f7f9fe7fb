"""A process's part in a shared bus: its connection to who carries the messages, who may be itself."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from mixkit.bus import (
    QUEUE_FULL,
    Beginning,
    BusError,
    BusFull,
    BusLost,
    Message,
    Subscription,
)
from mixkit.local_bus import BusLimits
from mixkit.shared_bus.frames import (
    Answer,
    Deliver,
    FrameError,
    Frames,
    FromHub,
    Publish,
    Subscribe,
    Unsubscribe,
    frame,
    most_bytes,
)
from mixkit.shared_bus.hub import Hub
from mixkit.shared_bus.kept import Kept
from mixkit.shared_bus.meeting import lead, reach

__all__ = ["Member"]

_log = logging.getLogger("mixkit.bus")

_PAUSE: Final = (0.01, 0.25)
"""Seconds between two attempts to lead or to reach who does; doubled up to the second."""

_CHANGED: Final = "the process that carries messages has changed"

_Asked = tuple[Publish | Subscribe, Future[None]]


class _Connection(asyncio.Protocol):
    def __init__(self, member: Member, most: int) -> None:
        self._member = member
        self._frames: Frames[FromHub] = Frames(FromHub, most)  # type: ignore[arg-type]
        self.transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            for found in self._frames.feed(data):
                self._member.received(found)
        except FrameError as exc:
            _log.warning("what carries the messages of the bus is no bus: %s", exc)
            assert self.transport is not None
            self.transport.abort()


class Member:
    """One thread with an event loop of its own, so that every other loop and thread of the process can use the bus."""

    def __init__(self, directory: Path, limits: BusLimits) -> None:
        self._directory = directory
        self._limits = limits
        self._numbers = itertools.count(1)
        self._link: _Connection | None = None
        self._hub: Hub | None = None
        self._socket: socket.socket | None = None
        self._stopping: asyncio.Event | None = None
        # Asked and not answered; and what is to be asked when there is somebody to ask.
        self._asked: dict[int, Future[None]] = {}
        self._waiting: dict[int, _Asked] = {}
        self._subscriptions: dict[int, tuple[Subscription, str]] = {}
        self._by_subscription: dict[Subscription, int] = {}
        self._problem = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="mixkit-bus", daemon=True)
        self._thread.start()

    @property
    def leads(self) -> bool:
        """Whether this process carries the messages."""
        return self._hub is not None

    # -- for every thread -----------------------------------------------------------------------

    def publish(self, message: Message, retain: bool, owner: str) -> Future[None]:
        """Answers when the message is carried. Errors as those of a bus."""
        what = Publish(next(self._numbers), message.topic, message.payload, retain, message.text, owner)
        return self._ask(what)

    def subscribe(self, subscription: Subscription, owner: str) -> Future[None]:
        """Offer it what matches from now on."""
        number = next(self._numbers)
        what = Subscribe(number, number, subscription.filter, owner, subscription.follows)
        return self._ask(what, subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Offer it nothing more."""
        self._soon(self._unsubscribe, subscription)

    def renew_rings(self) -> None:
        """Begin all rings anew, if this process carries the messages."""
        self._soon(self._renew)

    def _renew(self) -> None:
        if self._hub is not None:
            self._hub.renew_rings()

    def stop(self) -> None:
        """End it, after what was acknowledged was handed out."""
        self._soon(self._stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def forget(self) -> None:
        """In a forked child, where its thread does not exist: nothing of it is ours."""
        if self._hub is not None:
            self._hub.forget()
        if self._socket is not None:
            self._socket.close()

    def _ask(self, what: Publish | Subscribe, subscription: Subscription | None = None) -> Future[None]:
        answer: Future[None] = Future()
        self._soon(self._send, what, answer, subscription)
        return answer

    def _soon(self, do: object, *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(do, *args)  # type: ignore[arg-type]
        except RuntimeError:  # It has stopped.
            for arg in args:
                if isinstance(arg, Future):
                    _fail(arg, BusLost("the bus is closed"))

    # -- in its own thread ----------------------------------------------------------------------

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
            # What came in the meantime is answered too.
            self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._lose("the bus is closed")
            self._loop.close()

    async def _live(self) -> None:
        self._stopping = asyncio.Event()
        stopping = asyncio.ensure_future(self._stopping.wait())
        pause, most = _PAUSE
        while not self._stopping.is_set():
            if await self._joined():
                pause = _PAUSE[0]
                assert self._link is not None
                ends: list[asyncio.Future[Any]] = [self._link.lost, stopping]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if self._stopping.is_set():
                    break
                self._link = None
                await self._end_hub()
                self._lose(_CHANGED)
            # Those who lost the same process must not all come at once.
            await asyncio.wait([stopping], timeout=pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, most)
        if self._link is not None and self._link.transport is not None:
            self._link.transport.close()
            await self._link.lost
        await self._end_hub()

    async def _joined(self) -> bool:
        """As `_join`; what nobody foresaw must not leave a process without messages for ever."""
        try:
            return await self._join()
        except Exception as exc:
            _log.exception("joining the bus failed")
            self._link = None
            await self._end_hub()
            self._say(f"joining the bus failed: {type(exc).__name__}")
            return False

    async def _join(self) -> bool:
        """Lead, or reach who does; False if neither can be now."""
        try:
            if self._hub is not None and not self._hub.leads:
                await self._end_hub()
            if self._hub is None:
                found = lead(self._directory)
                if found is not None:
                    try:
                        self._hub = Hub(found, Kept(self._directory / "kept"), self._limits)
                    except BaseException:
                        found.close()
                        raise
            connection = reach(self._directory)
            if connection is None:
                return False
        except BusError as exc:
            self._say(str(exc))
            return False
        except OSError as exc:  # Without the path: guests see it.
            self._say(
                f"the directory of the bus, {self._directory.name!r}, cannot be used: {exc.strerror or exc}"
            )
            return False
        self._socket = connection
        link = _Connection(self, most_bytes(self._limits.max_message_bytes))
        await self._loop.create_connection(lambda: link, sock=connection)
        self._link = link
        self._problem = ""
        for number, (subscription, owner) in list(self._subscriptions.items()):
            if number in self._waiting:  # Asked for below, for the first time.
                continue
            # What is retained comes again: it may have changed meanwhile.
            subscription.interrupted(_CHANGED)
            again = Subscribe(next(self._numbers), number, subscription.filter, owner, subscription.follows)
            answer: Future[None] = Future()
            answer.add_done_callback(lambda done, of=subscription: _finish(of, done))  # type: ignore[misc]
            self._write(again, answer)
        waiting, self._waiting = self._waiting, {}
        for what, asked in waiting.values():
            self._write(what, asked)
        return True

    def _say(self, problem: str) -> None:
        """Nobody can be reached, and that will not pass by itself."""
        if self._problem != problem:
            _log.error("messages are not carried: %s", problem)
        self._problem = problem
        self._lose(problem)

    async def _end_hub(self) -> None:
        if self._hub is not None:
            await self._hub.close()
            self._hub = None

    def _stop(self) -> None:
        if self._stopping is not None:
            self._stopping.set()

    def _send(
        self, what: Publish | Subscribe, answer: Future[None], subscription: Subscription | None
    ) -> None:
        if isinstance(what, Subscribe):
            assert subscription is not None
            number = what.subscription
            # Before it is asked for, so that no message is early.
            self._by_subscription[subscription] = number
            self._subscriptions[number] = subscription, what.owner
        if self._link is not None:
            self._write(what, answer)
        elif self._problem:
            _fail(answer, BusLost(self._problem))
        else:
            self._waiting[what.number] = what, answer

    def _write(self, what: Publish | Subscribe, answer: Future[None]) -> None:
        assert self._link is not None and self._link.transport is not None
        self._asked[what.number] = answer
        self._link.transport.write(frame(what))

    def _unsubscribe(self, subscription: Subscription) -> None:
        number = self._by_subscription.pop(subscription, None)
        if number is None:
            return
        known = self._subscriptions.pop(number, None)
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            _fail(waiting[1], BusLost("the subscription is closed"))
        if known is not None and self._link is not None and self._link.transport is not None:
            self._link.transport.write(frame(Unsubscribe(number)))

    def _lose(self, reason: str) -> None:
        """Nothing that was asked is answered any more."""
        asked, self._asked = self._asked, {}
        waiting, self._waiting = self._waiting, {}
        for answer in [*asked.values(), *(answer for _, answer in waiting.values())]:
            _fail(answer, BusLost(f"{reason}; a message on its way may have been delivered or not"))
        for subscription, _ in list(self._subscriptions.values()):
            subscription.interrupted(reason)

    def received(self, what: FromHub) -> None:
        """What who carries the messages says."""
        if isinstance(what, Deliver):
            message = Message(what.topic, what.payload, what.retained, what.text)
            kind = Beginning if what.begins else Message
            placed = kind(what.topic, what.payload, False, what.text, what.id)
            for number in what.subscriptions:
                if number in self._subscriptions:
                    subscription = self._subscriptions[number][0]
                    subscription.offer(placed if subscription.follows else message)
        elif isinstance(what, Answer):
            answer = self._asked.pop(what.number, None)
            if answer is not None and what.error:
                _fail(answer, (BusFull if what.full else BusError)(what.error))
            elif answer is not None and answer.set_running_or_notify_cancel():
                answer.set_result(None)
        else:
            for number, count in what.counts.items():
                if number in self._subscriptions:
                    self._subscriptions[number][0].interrupted(QUEUE_FULL, count)


def _fail(answer: Future[None], error: BusError) -> None:
    if answer.set_running_or_notify_cancel():
        answer.set_exception(error)


def _finish(subscription: Subscription, done: Future[None]) -> None:
    """A subscription that is not let in again ends; if the connection was lost once more, it waits."""
    error = done.exception()
    if error is not None and not isinstance(error, BusLost):
        subscription.finish(str(error))
