"""A bus: messages on topics, to whoever subscribes, with the rules of MQTT. Its contract.

`mixkit.local_bus` is what there is without a broker, `mixkit.shared_bus` the same for several processes; `mix-mqtt` has
one over a broker. `mixkit.testing.bus_suite` is what all must pass. What they share stands here as well: which topics
and filters there may be, what a filter matches, and a `Subscription` with its bounded queue.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from mixkit.errors import FFIError

__all__ = [
    "MAX_LEVELS",
    "QUEUE_FULL",
    "Beginning",
    "Bus",
    "BusError",
    "BusFull",
    "BusLost",
    "Filters",
    "FollowedBus",
    "Message",
    "MessagesMissed",
    "Subscription",
    "check_filter",
    "check_topic",
    "covers",
    "overlap",
]

T = TypeVar("T")

MAX_LEVELS: Final = 200
_MAX_BYTES: Final = 65_535
# Controls, surrogates and noncharacters: MQTT 5, section 1.5.4, lets a peer end the connection for each of them.
# PERF: compiled by the first who needs it.
_FORBIDDEN: Final = (
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000))
    + "]"
)
QUEUE_FULL: Final = "the queue was full"


class BusError(FFIError):
    """A bus refuses, or cannot do, what was asked for."""

    code = "bus"


class BusFull(BusError):
    """A queue or a store of the bus is full: an error at once, never a wait."""

    code = "bus_full"


class BusLost(BusError):
    """The bus is closed, or its connection was lost. What was not acknowledged may have been delivered or not."""

    code = "bus_lost"


class MessagesMissed(BusError):
    """A subscription has a gap here; it goes on behind it."""

    code = "bus_missed"


# -- topics and filters -----------------------------------------------------------------------------


def check_topic(topic: str) -> None:
    """Raise `BusError` unless messages can be published on that topic, on any bus."""
    _check("topic", topic)
    if "+" in topic or "#" in topic:
        raise BusError(f"topic {topic!r:.100}: expected no + and no #, which only filters have")


def check_filter(filter: str) -> None:
    """Raise `BusError` unless that is a filter: `+` stands for one level, `#` at the end for all that follow."""
    _check("filter", filter)
    levels = filter.split("/")
    if levels[0] == "$share":
        raise BusError(f"filter {filter!r:.100}: shared subscriptions are not offered")
    for number, level in enumerate(levels, 1):
        wild = "+" in level or "#" in level
        if (wild and len(level) > 1) or (level == "#" and number < len(levels)):
            raise BusError(
                f"filter {filter!r:.100}: expected + as a whole level and # as the last one, "
                f"found level {number} {level!r:.40}"
            )


def _check(what: str, text: str) -> None:
    if found := re.search(_FORBIDDEN, text):
        raise BusError(f"{what} {text!r:.100}: it has the character U+{ord(found[0]):04X}")
    size = len(text.encode())
    if not 0 < size <= _MAX_BYTES:
        raise BusError(f"{what} {text!r:.100}: expected 1 to {_MAX_BYTES} bytes, found {size}")
    if (levels := text.count("/") + 1) > MAX_LEVELS:
        raise BusError(f"{what} {text!r:.100}: expected at most {MAX_LEVELS} levels, found {levels}")


def covers(pattern: str, filter: str) -> bool:
    """Whether a filter matches every topic that another filter, or a topic, stands for."""
    if filter[:1] == "$" and pattern[:1] in ("+", "#"):
        return False
    wide, narrow = pattern.split("/"), filter.split("/")
    for number, level in enumerate(wide):
        if level == "#":  # Also for what it stands behind: "a/#" matches "a".
            return True
        if number == len(narrow) or narrow[number] == "#" or level not in ("+", narrow[number]):
            return False
    return len(wide) == len(narrow)


def overlap(one: str, other: str) -> bool:
    """Whether there may be a topic that both filters match."""
    if "$" in (one[:1], other[:1]) and {one[:1], other[:1]} & {"+", "#"}:
        return False
    left, right = one.split("/"), other.split("/")
    for a, b in zip(left, right, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = max(left, right, key=len)
    return len(left) == len(right) or longer[min(len(left), len(right))] == "#"


class _Node(Generic[T]):
    __slots__ = ("below", "items")

    def __init__(self) -> None:
        self.below: dict[str, _Node[T]] = {}
        self.items: dict[T, None] = {}


class Filters(Generic[T]):
    """Things by filter, found by the topics that their filters match. Not thread-safe."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, filter: str, item: T) -> None:
        node = self._root
        for level in filter.split("/"):
            node = node.below.setdefault(level, _Node())
        node.items[item] = None

    def remove(self, filter: str, item: T) -> None:
        """Forget it; what is not there is ignored."""
        path = [self._root]
        levels = filter.split("/")
        for level in levels:
            if level not in path[-1].below:
                return
            path.append(path[-1].below[level])
        path[-1].items.pop(item, None)
        for level, node, above in zip(reversed(levels), reversed(path), reversed(path[:-1]), strict=False):
            if node.items or node.below:
                break
            del above.below[level]

    def matching(self, topic: str) -> list[T]:
        """What was added under filters that match, each once for every such filter."""
        found: list[T] = []
        nodes = [self._root]
        wild = not topic.startswith("$")
        for level in topic.split("/"):
            further: list[_Node[T]] = []
            for node in nodes:
                if level in node.below:
                    further.append(node.below[level])
                if wild and "+" in node.below:
                    further.append(node.below["+"])
                if wild and "#" in node.below:
                    found += node.below["#"].items
            nodes, wild = further, True
            if not nodes:
                return found
        for node in nodes:
            found += node.items
            if "#" in node.below:
                found += node.below["#"].items
        return found


# -- messages and subscriptions ---------------------------------------------------------------------


class Message(msgspec.Struct, frozen=True):
    """What arrives.

    Attributes:
        retained: it was there before the subscription.
        text: whoever published it said that it is UTF-8 text.
        id: where it is on its topic, for who follows that; see `mixkit.rings`.
    """

    topic: str
    payload: bytes
    retained: bool = False
    text: bool = False
    id: str = ""

    @property
    def size(self) -> int:
        """What it counts, about in bytes."""
        return len(self.payload) + len(self.topic)


class Beginning(Message, frozen=True):
    """No message, but where a topic begins that is followed: all messages behind its `id` come next."""


@dataclass(slots=True)
class _Gap:
    reason: str
    missed: int = 0


class Subscription:
    """Messages of one filter for one subscriber, in a bounded queue. Thread-safe.

    What does not fit into the queue is left out and counted; the subscriber is told in its place. So a slow
    subscriber takes no more memory and holds up nobody.

    Args:
        messages: that wait at most.
        size: bytes of payloads and topics that wait at most; a single message may have more.
        closed: told once, from any thread, when nobody wants messages any more.
        follows: it gets messages with their positions.
    """

    def __init__(
        self,
        filter: str,
        *,
        messages: int,
        size: int,
        closed: Callable[[Subscription], None],
        follows: bool = False,
    ) -> None:
        self.filter = filter
        self.follows = follows
        self._messages = messages
        self._size = size
        self._on_close = closed
        self._queue: deque[Message | _Gap] = deque()
        self._waiting = 0
        self._bytes = 0
        self._end = ""
        self._waiters: set[Future[None]] = set()
        self._lock = threading.Lock()

    def offer(self, message: Message) -> None:
        """Queue a message, or note that there was no room for it."""
        size = message.size
        with self._lock:
            if self._end:
                return
            full = self._waiting >= self._messages or self._bytes + size > self._size
            if full and self._waiting:
                self._note(QUEUE_FULL).missed += 1
            else:
                self._queue.append(message)
                self._waiting += 1
                self._bytes += size
            waiters, self._waiters = self._waiters, set()
        _wake(waiters)

    def interrupted(self, reason: str, missed: int = 0) -> None:
        """So many messages were missed here; 0: some may have been, nobody knows how many."""
        with self._lock:
            if self._end:
                return
            self._note(reason).missed += missed
            waiters, self._waiters = self._waiters, set()
        _wake(waiters)

    def _note(self, reason: str) -> _Gap:
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Gap) and last.reason == reason:
            return last
        gap = _Gap(reason)
        self._queue.append(gap)
        return gap

    async def next(self, seconds: float | None = None) -> Message:
        """The next message; waits for it as long as that, or for ever.

        Raises:
            TimeoutError: none came in time.
            MessagesMissed: there is a gap here; asked again, it goes on behind it.
            BusLost: the subscription or the bus is closed, and everything that came before was read.
        """
        import asyncio

        async with asyncio.timeout(seconds):
            while True:
                with self._lock:
                    if self._queue:
                        entry = self._queue.popleft()
                        break
                    if self._end:
                        raise BusLost(self._end)
                    waiter: Future[None] = Future()
                    self._waiters.add(waiter)
                try:
                    await asyncio.wrap_future(waiter)
                finally:
                    with self._lock:
                        self._waiters.discard(waiter)
        if isinstance(entry, _Gap):
            count = f"{entry.missed} messages were" if entry.missed else "messages may have been"
            raise MessagesMissed(f"{count} missed: {entry.reason}")
        with self._lock:
            self._waiting -= 1
            self._bytes -= entry.size
        return entry

    def close(self) -> None:
        """No more messages. Twice is harmless."""
        self.finish("the subscription is closed")

    def finish(self, reason: str) -> None:
        """Close it and say why; what it has may still be read."""
        with self._lock:
            if self._end:
                return
            self._end = reason
            waiters, self._waiters = self._waiters, set()
        _wake(waiters)
        self._on_close(self)


def _wake(waiters: Iterable[Future[None]]) -> None:
    for waiter in waiters:
        if waiter.set_running_or_notify_cancel():
            waiter.set_result(None)


class Bus(Protocol):
    """What carries messages. All that pass `mixkit.testing.bus_suite.BusSuite` can stand for one another.

    Messages of one publisher on one topic arrive in their order. A message that several of a subscriber's filters
    match arrives once for each of its subscriptions. Publishers hear their own messages.
    """

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, text: bool = False, owner: Hashable = None
    ) -> None:
        """Give a message to all who are subscribed now; answers when the bus has it.

        Args:
            retain: keep it for later subscribers, in place of the one that the topic had; an empty payload only
                forgets that one.
            text: the payload is UTF-8 text.
            owner: whose share of the bus it takes, where the bus keeps shares.

        Raises:
            BusError: the topic or the payload cannot be, or the bus refuses them.
            BusFull: it has no room.
            BusLost: it is closed, or was lost before it said that it has the message.
        """
        ...

    async def subscribe(self, filter: str, *, owner: Hashable = None) -> Subscription:
        """Messages that match from now on, after the retained ones.

        Raises:
            BusError: the filter cannot be, or the bus refuses it.
            BusFull: it has too many subscriptions.
            BusLost: it is closed or lost.
        """
        ...

    async def close(self) -> None:
        """End it and all of its subscriptions. Twice is harmless."""
        ...


class FollowedBus(Bus, Protocol):
    """A bus that keeps the last messages of each topic (`mixkit.rings`), whether anybody listens or not."""

    async def follow(self, topic: str, *, owner: Hashable = None) -> Subscription:
        """Messages of one topic, those first that are kept, each with its position as `id`; before them a `Beginning`.

        What is kept has been queued when this answers. Behind a `MessagesMissed` there may be another `Beginning`, as
        where another process carries the messages now; whoever follows anew has missed nothing if it begins with the
        same mark and not behind what was seen last. There are no retained messages.

        Raises: as `subscribe`.
        """
        ...
