"""The last messages of each topic, so that who was away for a moment can be told what came meanwhile.

Every message on a topic has a number, and its ring a mark that no other ring has, not even one of the same topic that
is begun later. Mark and number are a *position*, `3f9c01d24b7a5e68.17`: behind the seventeenth message. It says nothing
of other topics.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from itertools import islice
from typing import Final

import msgspec

from mixkit.bus import Message

__all__ = ["DEFAULT_ROOM", "Position", "Ring", "Rings", "Room"]

_LONGEST: Final = 64
_MESSAGE: Final = 256
"""Bytes that a message counts beside its own: what holds it takes them."""
_RING: Final = 1024
"""Bytes that a ring counts beside its messages and the name of its topic."""


class Room(msgspec.Struct, frozen=True):
    """How much rings hold.

    Attributes:
        messages: of one topic.
        size: bytes of them.
        total: bytes of all topics.
        share: how many times one owner fits into `total`, so that no one takes it all.
    """

    messages: int = 256
    size: int = 256 * 1024
    total: int = 64 * 1024 * 1024
    share: int = 4


DEFAULT_ROOM: Final = Room()


class Position(msgspec.Struct, frozen=True):
    """Behind how many messages of which ring."""

    mark: str
    number: int

    def __str__(self) -> str:
        return f"{self.mark}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """What `str` made; None for what is no position."""
        mark, _, number = text.partition(".")
        if len(text) > _LONGEST or not (number.isascii() and number.isdecimal()) or not mark.isalnum():
            return None
        return cls(mark, int(number))


class Ring:
    """The last messages of one topic, each with its position in `Message.id`. Not thread-safe.

    Args:
        begin: behind which message it begins; a new mark, and none, if it is the first of them.
    """

    def __init__(self, room: Room, begin: Position | None = None) -> None:
        self._room = room
        start = begin or Position(secrets.token_hex(8), 0)
        self.mark = start.mark
        self._last = start.number
        self._kept: deque[Message] = deque()
        self.size = 0

    @property
    def begin(self) -> Position:
        """Behind which message it begins: all that came later are here."""
        return Position(self.mark, self._last - len(self._kept))

    @property
    def end(self) -> Position:
        """Behind its last message."""
        return Position(self.mark, self._last)

    def add(self, message: Message) -> Message:
        """Keep a message; answers it with its position."""
        self._last += 1
        kept = msgspec.structs.replace(message, id=f"{self.mark}.{self._last}")
        self._kept.append(kept)
        self.size += _cost(kept)
        while len(self._kept) > self._room.messages or self.size > self._room.size:
            self.size -= _cost(self._kept.popleft())
        return kept

    def after(self, position: Position | None) -> list[Message] | None:
        """What came behind a position; None if that cannot be said: it is another ring's, or too old."""
        if position is None or position.mark != self.mark:
            return None
        known = position.number - self.begin.number
        return list(islice(self._kept, known, None)) if 0 <= known <= len(self._kept) else None


def _cost(message: Message) -> int:
    return message.size + _MESSAGE


class Rings:
    """A ring for each topic that had a message, as long as there is room for all. Not thread-safe.

    Where there is none, the ring goes that had no message for the longest time, of the owner who has more than a share,
    else of who has the most.
    """

    def __init__(self, room: Room = DEFAULT_ROOM) -> None:
        self._room = room
        self._owners: dict[str, Hashable] = {}
        # By owner, the one with the newest message last.
        self._rings: dict[Hashable, OrderedDict[str, Ring]] = {}
        self._sizes: Counter[Hashable] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self._total

    def of(self, topic: str, owner: Hashable) -> Ring:
        """The ring of a topic, begun now if there is none.

        Args:
            owner: whose share it takes if it is begun.
        """
        owner = self._owners.setdefault(topic, owner)
        mine = self._rings.setdefault(owner, OrderedDict())
        ring = mine.get(topic)
        if ring is None:
            ring = mine[topic] = Ring(self._room)
            self._count(owner, _RING + len(topic))
            self._make_room(owner, ring)
        return ring

    def add(self, message: Message, owner: Hashable) -> Message:
        """Keep a message; answers it with its position."""
        ring = self.of(message.topic, owner)
        owner = self._owners[message.topic]
        self._rings[owner].move_to_end(message.topic)
        before = ring.size
        kept = ring.add(message)
        self._count(owner, ring.size - before)
        self._make_room(owner, ring)
        return kept

    def _count(self, owner: Hashable, size: int) -> None:
        self._sizes[owner] += size
        self._total += size

    def _make_room(self, owner: Hashable, keep: Ring) -> None:
        while self._sizes[owner] > self._room.total // self._room.share and self._forget(owner, keep):
            pass
        while self._total > self._room.total:
            others = (each for each in self._sizes if each != owner or len(self._rings[each]) > 1)
            largest = max(others, key=self._sizes.__getitem__, default=None)
            if largest is None or not self._forget(largest, keep):
                break

    def _forget(self, owner: Hashable, keep: Ring) -> bool:
        """Forget the oldest ring of an owner; False if that is the one to be kept."""
        rings = self._rings[owner]
        topic, ring = next(iter(rings.items()))
        if ring is keep:
            return False
        del rings[topic], self._owners[topic]
        self._count(owner, -(ring.size + _RING + len(topic)))
        if not rings:
            del self._rings[owner], self._sizes[owner]
        return True
