"""The bus that a process has of those that share it."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from mixkit.bus import BusFull, BusLost, Message, Subscription, check_filter, check_topic
from mixkit.local_bus import DEFAULT_LIMITS, BusLimits
from mixkit.shared_bus.member import Member

__all__ = ["SharedBus"]

_ANSWER: Final = 5.0
"""Seconds in which who carries the messages answers. One that has ended is replaced at once; it may be stopped."""

_ASKED: Final = 1_000
_ASKED_BYTES: Final = 32 * 1024 * 1024
"""What a process may have asked and not been answered: more is an error at once."""

_buses: weakref.WeakSet[SharedBus] = weakref.WeakSet()
_inherited: list[Member] = []
"""In a forked child: what its parent's event loop needs must not be finalized here."""


class SharedBus:
    """A `mixkit.bus.Bus` for all processes of a user on this machine that name the same directory.

    It may be made before a fork: each process joins when it first uses it. It is for all threads and event loops.
    Limits hold for all processes together, and must be the same in all. When the process that carries messages ends,
    another takes over within a second: what it had not acknowledged is `BusLost`, subscribers are told that messages
    may have been missed and get what is retained again, and rings begin anew. Retained messages stay as long as the
    directory does, but for a failure of the machine.

    Args:
        directory: where they meet; made if its parent is there.
    """

    def __init__(self, directory: Path, limits: BusLimits = DEFAULT_LIMITS) -> None:
        self._directory = directory.absolute()
        self._limits = limits
        self._member: Member | None = None
        self._process = os.getpid()
        self._closed = False
        self._subscriptions: set[Subscription] = set()
        self._pending = 0
        self._pending_bytes = 0
        self._lock = threading.Lock()
        _buses.add(self)

    @property
    def leads(self) -> bool:
        """Whether this process carries the messages."""
        return self._member is not None and self._member.leads

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, text: bool = False, owner: Hashable = None
    ) -> None:
        self._limits.check(topic, payload)
        member = self._joined(len(payload))
        await self._answered(
            member.publish(Message(topic, payload, text=text), retain, repr(owner)), len(payload)
        )

    async def subscribe(self, filter: str, *, owner: Hashable = None) -> Subscription:
        check_filter(filter)
        return await self._subscribed(filter, False, owner)

    async def follow(self, topic: str, *, owner: Hashable = None) -> Subscription:
        check_topic(topic)
        return await self._subscribed(topic, True, owner)

    async def _subscribed(self, filter: str, follows: bool, owner: Hashable) -> Subscription:
        limits = self._limits
        member = self._joined(0)
        subscription = Subscription(
            filter,
            messages=limits.queue,
            size=limits.queue_bytes,
            closed=self._forget,
            follows=follows,
        )
        with self._lock:
            self._subscriptions.add(subscription)
        try:
            await self._answered(member.subscribe(subscription, repr(owner)), 0)
        except BaseException:
            subscription.close()
            raise
        return subscription

    def renew_rings(self) -> None:
        """Begin all rings anew, where this process carries the messages: whoever follows is told that some may lack."""
        if self._member is not None:
            self._member.renew_rings()

    async def close(self) -> None:
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """As `close`, and waits on this thread, for a second at most."""
        with self._lock:
            self._closed = True
            member, self._member = self._member, None
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.finish("the bus is closed")
        if member is not None:
            member.stop()

    def _joined(self, size: int) -> Member:
        with self._lock:
            if self._closed:
                raise BusLost("the bus is closed")
            if self._pending >= _ASKED or (self._pending and self._pending_bytes + size > _ASKED_BYTES):
                raise BusFull(
                    f"{self._pending} messages with {self._pending_bytes} bytes wait to be carried, and {_ASKED} with "
                    f"{_ASKED_BYTES} are the limit of a process"
                )
            if self._member is None:
                self._member = Member(self._directory, self._limits)
            self._pending += 1
            self._pending_bytes += size
            return self._member

    async def _answered(self, answer: Future[None], size: int) -> None:
        mine: Future[None] = Future()
        # It counts as long as it is not answered, whether its caller waits or not.
        answer.add_done_callback(lambda _: self._done(answer, mine, size))
        try:
            async with asyncio.timeout(_ANSWER):
                await asyncio.wrap_future(mine)
        except TimeoutError:
            raise BusLost(
                f"the process that carries messages has not answered for {_ANSWER:g} s; this one may have been "
                "delivered or not"
            ) from None

    def _done(self, answer: Future[None], mine: Future[None], size: int) -> None:
        with self._lock:
            self._pending -= 1
            self._pending_bytes -= size
        if mine.set_running_or_notify_cancel():
            error = answer.exception()
            if error is not None:
                mine.set_exception(error)
            else:
                mine.set_result(None)

    def _forget(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)
            member = self._member
        if member is not None:
            member.unsubscribe(subscription)

    def _forked(self) -> None:
        self._lock = threading.Lock()
        if self._member is not None:
            self._member.forget()
            _inherited.append(self._member)
        self._member = None
        self._subscriptions = set()
        self._pending = self._pending_bytes = 0


def _forked() -> None:
    for bus in list(_buses):
        bus._forked()


os.register_at_fork(after_in_child=_forked)
