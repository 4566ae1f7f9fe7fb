"""A bus inside the process, and what of it is one in another shape: its limits, and who gets what."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

import msgspec

from mixkit.bus import (
    Beginning,
    BusError,
    BusFull,
    BusLost,
    Filters,
    Message,
    Subscription,
    check_filter,
    check_topic,
    covers,
)
from mixkit.rings import DEFAULT_ROOM, Rings, Room

__all__ = ["DEFAULT_LIMITS", "BusLimits", "Exchange", "LocalBus"]

T = TypeVar("T")
MIB: Final = 1024 * 1024


class BusLimits(msgspec.Struct, frozen=True):
    """How much a bus of ours takes.

    Attributes:
        queue: messages that wait for one subscriber.
        queue_bytes: bytes of them.
        max_message_bytes: bytes of one payload.
        max_subscriptions: of all subscribers together.
        max_retained: topics with a retained message.
        max_retained_bytes: bytes of all of them.
        share: how many times one owner fits into each of these three, so that no one takes them all.
        rings: what is kept of all topics for those who follow them.
    """

    queue: int = 1_000
    queue_bytes: int = 2 * MIB
    max_message_bytes: int = MIB
    max_subscriptions: int = 10_000
    max_retained: int = 10_000
    max_retained_bytes: int = 64 * MIB
    share: int = 10
    rings: Room = DEFAULT_ROOM

    def check(self, topic: str, payload: bytes) -> None:
        """Raise `BusError` unless that can be published."""
        check_topic(topic)
        if len(payload) > self.max_message_bytes:
            raise BusError(
                f"a message has at most {self.max_message_bytes} bytes, found {len(payload)} on topic {topic!r:.100}"
            )


DEFAULT_LIMITS: Final = BusLimits()


class Exchange(Generic[T]):
    """Who is subscribed to what, what is retained, and the rings: a bus without its queues. Not thread-safe.

    Subscribers are anything hashable.
    """

    def __init__(self, limits: BusLimits) -> None:
        self._limits = limits
        self._filters: Filters[T] = Filters()
        self._subscribers: dict[T, tuple[str, Hashable]] = {}
        self._retained: dict[str, tuple[Message, Hashable]] = {}
        self._rings = Rings(limits.rings)
        self._following: dict[T, str] = {}
        # By owner.
        self._subscribed: Counter[Hashable] = Counter()
        self._kept: Counter[Hashable] = Counter()
        self._kept_bytes: Counter[Hashable] = Counter()

    @property
    def subscribers(self) -> list[T]:
        """All there are."""
        return list(self._subscribers)

    def __len__(self) -> int:
        return len(self._subscribers)

    def matching(self, topic: str) -> list[T]:
        """Who gets a message on that topic."""
        return self._filters.matching(topic)

    def subscribe(self, filter: str, subscriber: T, owner: Hashable) -> list[Message]:
        """Add a subscriber; answers the retained messages that it gets first.

        Raises:
            BusFull: there are too many.
        """
        self._check_room("subscriptions", self._subscribed, owner, 1, self._limits.max_subscriptions)
        self._enter(filter, subscriber, owner)
        return [message for topic, (message, _) in self._retained.items() if covers(filter, topic)]

    def follow(self, topic: str, subscriber: T, owner: Hashable) -> list[Message]:
        """The same for who follows a topic: the messages of its ring, behind where that begins."""
        self._check_room("subscriptions", self._subscribed, owner, 1, self._limits.max_subscriptions)
        self._enter(topic, subscriber, owner)
        self._following[subscriber] = topic
        ring = self._rings.of(topic, owner)
        return [Beginning(topic, b"", id=str(ring.begin)), *(ring.after(ring.begin) or ())]

    def _enter(self, filter: str, subscriber: T, owner: Hashable) -> None:
        self._subscribers[subscriber] = filter, owner
        self._subscribed[owner] += 1
        self._filters.add(filter, subscriber)

    def renew(self) -> list[tuple[T, Message]]:
        """Begin all rings anew; answers what those are to be told who follow."""
        self._rings = Rings(self._limits.rings)
        return [
            (
                subscriber,
                Beginning(topic, b"", id=str(self._rings.of(topic, self._subscribers[subscriber][1]).begin)),
            )
            for subscriber, topic in self._following.items()
        ]

    def add(self, message: Message, owner: Hashable) -> Message:
        """Keep a message in the ring of its topic; answers it with its position."""
        return self._rings.add(message, owner)

    def leave(self, subscriber: T) -> None:
        """Forget a subscriber; one that is not there is ignored."""
        if subscriber in self._subscribers:
            filter, owner = self._subscribers.pop(subscriber)
            _take(self._subscribed, owner, 1)
            self._filters.remove(filter, subscriber)
            self._following.pop(subscriber, None)

    def retain(
        self, message: Message, owner: Hashable, keep: Callable[[Message], None] = lambda message: None
    ) -> None:
        """Keep a message in place of the one that its topic had; one without a payload only forgets that.

        Args:
            keep: called when there is room, before anything changes.

        Raises:
            BusFull: there is no room.
        """
        limits = self._limits
        known = self._retained.get(message.topic)
        if message.payload:
            # What it replaces gives its room to its own owner only.
            mine = known[0] if known and known[1] == owner else None
            size = message.size - (mine.size if mine else 0)
            self._check_room("retained messages", self._kept, owner, 0 if mine else 1, limits.max_retained)
            self._check_room(
                "bytes of retained messages", self._kept_bytes, owner, size, limits.max_retained_bytes
            )
        keep(message)
        if known:
            _take(self._kept, known[1], 1)
            _take(self._kept_bytes, known[1], known[0].size)
            del self._retained[message.topic]
        if message.payload:
            self._retained[message.topic] = (msgspec.structs.replace(message, retained=True), owner)
            self._kept[owner] += 1
            self._kept_bytes[owner] += message.size

    def _check_room(self, what: str, of: Counter[Hashable], owner: Hashable, more: int, most: int) -> None:
        share = max(1, most // self._limits.share)
        if more > 0 and of[owner] + more > share:
            raise BusFull(f"you have {of[owner]} {what} on the bus, and {share} is the limit; give some back")
        if more > 0 and of.total() + more > most:
            raise BusFull(f"there are {of.total()} {what} on the bus, and {most} is the limit")


def _take(of: Counter[Hashable], owner: Hashable, amount: int) -> None:
    """Owners who have nothing are not remembered."""
    of[owner] -= amount
    if not of[owner]:
        del of[owner]


class LocalBus:
    """A bus inside this process, for all threads and event loops of it."""

    def __init__(self, limits: BusLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._exchange: Exchange[Subscription] = Exchange(limits)
        self._closed = False
        self._lock = threading.Lock()

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self._exchange)

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, text: bool = False, owner: Hashable = None
    ) -> None:
        self._limits.check(topic, payload)
        message = Message(topic, payload, text=text)
        # Under the lock, so that all subscribers get the messages of a topic in one order.
        with self._lock:
            self._check_open()
            if retain:
                self._exchange.retain(message, owner)
            placed = self._exchange.add(message, owner)
            for subscription in self._exchange.matching(topic):
                subscription.offer(placed if subscription.follows else message)

    async def subscribe(self, filter: str, *, owner: Hashable = None) -> Subscription:
        check_filter(filter)
        return self._subscribed(filter, False, self._exchange.subscribe, owner)

    async def follow(self, topic: str, *, owner: Hashable = None) -> Subscription:
        check_topic(topic)
        return self._subscribed(topic, True, self._exchange.follow, owner)

    def _subscribed(
        self,
        filter: str,
        follows: bool,
        enter: Callable[[str, Subscription, Hashable], list[Message]],
        owner: Hashable,
    ) -> Subscription:
        limits = self._limits
        subscription = Subscription(
            filter,
            messages=limits.queue,
            size=limits.queue_bytes,
            closed=self._forget,
            follows=follows,
        )
        with self._lock:
            self._check_open()
            for message in enter(filter, subscription, owner):
                subscription.offer(message)
        return subscription

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            subscriptions = self._exchange.subscribers
        for subscription in subscriptions:
            subscription.finish("the bus is closed")

    def _check_open(self) -> None:
        if self._closed:
            raise BusLost("the bus is closed")

    def _forget(self, subscription: Subscription) -> None:
        with self._lock:
            self._exchange.leave(subscription)
