"""A bus over a broker: one connection, opened when it is needed and again when it was lost."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from typing import Final

from mix_mqtt.link import Link
from mix_mqtt.settings import MqttSettings
from mixkit.bus import BusError, BusFull, BusLost, Message, Subscription, check_filter, check_topic, covers

__all__ = ["BrokerBus"]

_PAUSE: Final = (0.1, 5.0)
"""Seconds before the second attempt to connect, doubled for each further one; and at most."""

_IDENTIFIERS: Final = 268_435_455
_KEPT: Final = 64
"""Former identifiers of a filter under which messages may still be on their way."""


class _Filter:
    """One subscription at the broker, for all of ours to the same filter.

    Each of ours subscribes anew under an identifier of its own, which replaces the former. What the broker sends then
    says which of us retained messages are for.
    """

    def __init__(self, filter: str) -> None:
        self.filter = filter
        self.members: dict[Subscription, int] = {}
        self.identifiers: deque[int] = deque()


class BrokerBus:
    """A `mixkit.bus.Bus`. Belongs to the thread of its event loop; subscriptions may be closed from any.

    It keeps no shares by owner: a connection is of one app, and what is retained is the broker's.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._filters: dict[str, _Filter] = {}
        self._by_identifier: dict[int, _Filter] = {}
        self._identifier = 0
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link] | None = None
        self._failures = 0
        self._failed = 0.0
        self._waiting = 0
        self._used = self._loop.time()
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nobody has used it for a while, and no connection is open."""
        in_use = self._link or self._filters or self._waiting or self._trying
        return not in_use and self._loop.time() - self._used > self._settings.idle

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def filters(self) -> int:
        """Subscriptions at the broker."""
        return len(self._filters)

    @property
    def _trying(self) -> bool:
        return self._connecting is not None and not self._connecting.done()

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, text: bool = False, owner: Hashable = None
    ) -> None:
        check_topic(topic)
        settings = self._settings
        if len(payload) > settings.max_message_bytes:
            raise BusError(
                f"a message has at most {settings.max_message_bytes} bytes, found {len(payload)} on topic "
                f"{topic!r:.100}; the setting mqtt.max_message_bytes raises it"
            )
        if self._waiting >= settings.queue:
            raise BusFull(
                f"{self._waiting} messages wait to be sent to the broker, which is the limit; "
                "the setting mqtt.queue raises it"
            )
        self._waiting += 1
        try:
            link = await self._linked()
            await link.publish(topic, payload, retain, text)
        finally:
            self._waiting -= 1
            self._used = self._loop.time()

    async def subscribe(self, filter: str, *, owner: Hashable = None) -> Subscription:
        check_filter(filter)
        self._waiting += 1
        try:
            link = await self._linked()
        finally:
            self._waiting -= 1
        subscription = Subscription(
            filter,
            messages=self._settings.inbox,
            size=self._settings.inbox_bytes,
            closed=self._leave_soon,
        )
        entry = self._filters.setdefault(filter, _Filter(filter))
        entry.members[subscription] = identifier = self._new_identifier(entry)
        try:
            await link.subscribe(filter, identifier)
        except BaseException:
            subscription.close()
            self._leave(subscription)
            raise
        return subscription

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None and self._trying:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for entry in list(self._filters.values()):
            for subscription in list(entry.members):
                subscription.finish("the bus is closed")
        if self._link is not None:
            await self._link.close()

    # -- the connection -------------------------------------------------------------------------

    async def _linked(self) -> Link:
        if self._closed:
            raise BusLost("the bus is closed")
        if self._link is not None:
            return self._link
        attempt = self._attempt()
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if attempt.cancelled():
                raise BusLost("the bus is closed") from None
            raise

    def _attempt(self) -> asyncio.Task[Link]:
        if self._connecting is None or self._connecting.done():
            self._connecting = self._loop.create_task(self._connect())
            self._connecting.add_done_callback(self._tried)
        return self._connecting

    async def _connect(self) -> Link:
        if self._failures:
            first, most = _PAUSE
            pause = min(most, first * 2.0 ** min(self._failures, 16))
            # All who lost the same broker must not come back at the same time.
            ready = self._failed + pause * random.uniform(0.5, 1.0)
            await asyncio.sleep(max(0.0, ready - self._loop.time()))
        link = Link(self._settings, self._received, self._ended, self._tick)
        await link.open()
        for entry in list(self._filters.values()):
            if self._filters.get(entry.filter) is not entry:
                continue
            # What is retained comes again: it may have changed meanwhile.
            identifier = self._new_identifier(entry)
            entry.members = dict.fromkeys(entry.members, identifier)
            try:
                await link.subscribe(entry.filter, identifier)
            except BusLost:
                raise
            except BusError as exc:
                for subscription in list(entry.members):
                    subscription.finish(str(exc))
            if self._filters.get(entry.filter) is not entry:
                link.unsubscribe(entry.filter)  # Its last subscriber left meanwhile.
        if link.end is not None:
            raise BusLost(f"the connection to the broker was lost: {link.end}")
        self._link = link
        self._failures = 0
        self._used = self._loop.time()
        return link

    def _tried(self, attempt: asyncio.Task[Link]) -> None:
        if not attempt.cancelled() and attempt.exception() is None:
            return
        self._failures += 1
        self._failed = self._loop.time()
        if self._filters and not self._closed:
            self._attempt()

    def _ended(self, link: Link, reason: str) -> None:
        if self._link is not link:
            return
        self._link = None
        for entry in self._filters.values():
            for subscription in entry.members:
                subscription.interrupted(f"the connection to the broker was lost, {reason}")
        if self._filters and not self._closed:
            self._attempt()

    def _tick(self) -> None:
        if (
            self._link is not None
            and not self._filters
            and not self._waiting
            and self._loop.time() - self._used > self._settings.idle
        ):
            closing = self._loop.create_task(self._link.close())
            closing.add_done_callback(lambda _: None)

    # -- subscriptions --------------------------------------------------------------------------

    def _new_identifier(self, entry: _Filter) -> int:
        while True:
            self._identifier = self._identifier % _IDENTIFIERS + 1
            if self._identifier not in self._by_identifier:
                break
        self._by_identifier[self._identifier] = entry
        entry.identifiers.append(self._identifier)
        if len(entry.identifiers) > _KEPT:
            del self._by_identifier[entry.identifiers.popleft()]
        return self._identifier

    def _leave_soon(self, subscription: Subscription) -> None:
        with suppress(RuntimeError):  # The loop has ended, and the connection with it.
            self._loop.call_soon_threadsafe(self._leave, subscription)

    def _leave(self, subscription: Subscription) -> None:
        entry = self._filters.get(subscription.filter)
        if entry is None or entry.members.pop(subscription, None) is None:
            return
        self._used = self._loop.time()
        if not entry.members:
            del self._filters[entry.filter]
            for identifier in entry.identifiers:
                del self._by_identifier[identifier]
            if self._link is not None:
                self._link.unsubscribe(entry.filter)

    def _received(self, message: Message, identifiers: list[int]) -> None:
        for identifier in identifiers:
            entry = self._by_identifier.get(identifier)
            if entry is not None:
                for subscription, own in entry.members.items():
                    if own == identifier or not message.retained:
                        subscription.offer(message)
        if not identifiers:
            # A broker without identifiers: filters that overlap may get a message more than once.
            for entry in self._filters.values():
                if covers(entry.filter, message.topic):
                    for subscription in entry.members:
                        subscription.offer(message)
