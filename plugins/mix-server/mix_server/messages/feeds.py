"""All topics that streams of this process follow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mix_server.follower import Follower
from mix_server.messages.feed import Feed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from mix_server.held import Held
    from mix_server.messages.message_event import MessageEvent
    from mixkit.bus import FollowedBus

__all__ = ["Feeds"]


class Feeds:
    """The feeds of a process: one for each topic, for all who follow it.

    Args:
        bus: answers the bus that carries the messages.
        held: counts the events; the rings may have as many bytes beside them.
    """

    def __init__(self, bus: Callable[[], FollowedBus], held: Held) -> None:
        self._bus = bus
        self._held = held
        self._open: dict[str, Feed] = {}
        self._running: set[Feed] = set()
        self._size = 0

    def __len__(self) -> int:
        return len(self._running)

    async def join(self, topic: str, since: str | None, owner: Hashable) -> Follower:
        """Follow a topic.

        Args:
            topic: as the bus has it.
            since: the id of the last event that the client has seen.
            owner: whose share of the bus a feed takes that is begun.

        Raises:
            BusError: it cannot be followed.
        """
        feed = self._open.get(topic)
        if feed is None:
            feed = self._open[topic] = Feed(self, self._bus(), topic, owner)
            self._running.add(feed)
            self._held.by.add(feed)
        follower = Follower(feed, since)
        try:
            await feed.begun()
        except BaseException:
            follower.close()
            raise
        return follower

    def made(self, event: MessageEvent) -> MessageEvent:
        """Count an event."""
        self._held.count(event)
        return event

    def grown(self, size: int) -> None:
        """The ring of a feed has so many bytes more; where all have too many, the largest is given up."""
        self._size += size
        while size > 0 and self._size > self._held.most:
            largest = max(self._running, key=lambda feed: feed.size, default=None)
            if largest is None or not largest.size:
                break
            largest.forget()

    def retire(self, feed: Feed) -> None:
        """Let nobody join it any more."""
        if self._open.get(feed.topic) is feed:
            del self._open[feed.topic]

    def ended(self, feed: Feed) -> None:
        """Forget it."""
        self.retire(feed)
        self._running.discard(feed)
        self._held.by.discard(feed)

    async def stop(self) -> None:
        """End all."""
        tasks = [feed.end() for feed in self._running]
        if tasks:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)
