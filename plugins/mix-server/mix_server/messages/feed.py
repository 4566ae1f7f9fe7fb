"""One topic as this process hears it, for all streams that follow it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from mix_server.follower import Followed
from mix_server.messages.message_event import MessageEvent, joined, message, position, resync
from mixkit.bus import Beginning, BusLost, MessagesMissed
from mixkit.rings import DEFAULT_ROOM, Position, Ring

if TYPE_CHECKING:
    from collections.abc import Hashable

    from mix_server.follower import Follower
    from mixkit.bus import FollowedBus, Message, Subscription

__all__ = ["Feed", "Home"]

_PAUSE: Final = 0.2
"""Seconds before the bus is asked again that was lost."""
_MADE: Final = 16
"""Events for those who come back that are kept for others who come back from the same."""


class Home(Protocol):
    """What a feed wants of those that it is among."""

    def made(self, event: MessageEvent) -> MessageEvent:
        """Count an event."""
        ...

    def grown(self, size: int) -> None:
        """The ring of a feed has so many bytes more."""
        ...

    def retire(self, feed: Feed) -> None:
        """Let nobody join it any more."""
        ...

    def ended(self, feed: Feed) -> None:
        """Forget it."""
        ...


class Feed(Followed):
    """A topic, followed in a task as long as streams follow it.

    It has a ring of its own, which is like that of who carries the messages: so who comes back asks nobody else.

    Args:
        topic: as the bus has it.
        owner: whose share of the bus it takes.
    """

    def __init__(self, home: Home, bus: FollowedBus, topic: str, owner: Hashable) -> None:
        super().__init__()
        self.topic = topic
        self._home = home
        self._bus = bus
        self._owner = owner
        self._ring: Ring | None = None
        self._made: dict[str, MessageEvent] = {}

    @property
    def size(self) -> int:
        """Bytes of the ring."""
        return 0 if self._ring is None else self._ring.size

    def lagging(self, follower: Follower) -> None:
        """Whoever takes too little is cut off, and told what it lacks when it comes back."""
        follower.cut_off()

    def forget(self) -> None:
        """Give up what is kept for those who come back."""
        if self._ring is not None:
            self._home.grown(-self._ring.size)
            self._ring = Ring(DEFAULT_ROOM, self._ring.end)
        self._made.clear()

    async def another(self) -> Feed:
        """This one: there is no state of it that cannot be read."""
        return self

    async def beginning(self, since: str | None) -> MessageEvent:
        """What was missed since a position, or a `resync` where that cannot be said; without one where the topic is."""
        ring = self._ring
        assert ring is not None
        if since is None:
            return position(ring.end)
        found = self._made.get(since)
        if found is None:
            missed = ring.after(Position.parse(since))
            if missed is None:
                found = resync(ring.end)
            else:
                found = joined(map(message, missed)) if missed else position(ring.end)
            self._home.made(found)
            if len(self._made) < _MADE:
                self._made[since] = found
        return found

    async def _run(self) -> None:
        while self._followers:
            subscription: Subscription | None = None
            try:
                subscription = await self._bus.follow(self.topic, owner=self._owner)
                with suppress(TimeoutError):
                    # What is kept is there already.
                    while True:
                        self._take(await subscription.next(0))
                if not self._begun.done():
                    self._begun.set_result(None)
                while True:
                    self._take(await subscription.next())
            except MessagesMissed:
                # Followed anew, it begins with what is kept: maybe nothing lacks then.
                pass
            except BusLost:
                if not self._begun.done():
                    raise
                await asyncio.sleep(_PAUSE)
            finally:
                if subscription is not None:
                    subscription.close()

    def _take(self, found: Message) -> None:
        """Pass on a message, unless it is known; what lacks before it is a `resync`."""
        at, ring = Position.parse(found.id), self._ring
        assert at is not None
        if type(found) is Beginning:
            if ring is None or ring.mark != at.mark or not at.number <= ring.end.number:
                self._begin(at)
            return
        assert ring is not None
        if ring.mark != at.mark or at.number > ring.end.number + 1:
            self._begin(Position(at.mark, at.number - 1))
            ring = self._ring
        elif at.number <= ring.end.number:
            return
        assert ring is not None
        before = ring.size
        ring.add(found)
        self._home.grown(ring.size - before)
        self._send(message(found))

    def _begin(self, at: Position) -> None:
        first = self._ring is None
        self._home.grown(-self.size)
        self._ring = Ring(DEFAULT_ROOM, at)
        if not first:
            self._send(resync(at))

    def _send(self, event: MessageEvent) -> None:
        self._made.clear()
        self._home.made(event)
        for follower in self._followers:
            follower.put(event)

    def _retire(self) -> None:
        self._home.retire(self)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._home.grown(-self.size)
        self._home.ended(self)
        error = None if task.cancelled() else task.exception()
        if error is None:
            error = BusLost("the topic is not followed any more")
        if not self._begun.done():
            self._begun.set_exception(error)
            self._begun.exception()
        for follower in self._followers:
            if isinstance(error, Exception):
                follower.fail(error)
