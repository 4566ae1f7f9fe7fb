"""What the clients of event streams have not taken yet: bounded for the process, the oldest goes first."""

from __future__ import annotations

import itertools
import logging
import time
import weakref
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from mix_server.follower import Event

__all__ = ["Held", "Holding"]

log = logging.getLogger("mixkit.server")

_EVENT: Final = 512
"""Bytes that an event counts beside its data."""
_QUIET: Final = 60.0
"""Seconds between two lines of the log that say the same."""


class Holding(Protocol):
    """Something whose followers hold events."""

    def drop(self, event: Event) -> None:
        """Take an event from all followers."""
        ...


class Held:
    """All events that followers of this process hold. Belongs to its event loop.

    Args:
        most: bytes of them; the newest is kept anyway.

    Attributes:
        by: whose followers hold them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.by: set[Holding] = set()
        self._numbers = itertools.count()
        # By age.
        self._events: dict[int, tuple[weakref.ref[Event], int]] = {}
        self._size = 0
        self._warn_again = 0.0

    def count(self, event: Event) -> None:
        """Count an event as long as anybody has it, and take the oldest away where all are too much."""
        number, size = next(self._numbers), len(event.data) + _EVENT
        self._events[number] = weakref.ref(event, lambda _: self._gone(number)), size
        self._size += size
        while self._size > self.most and len(self._events) > 1:
            oldest = next(iter(self._events))
            found = self._events[oldest][0]()
            self._gone(oldest)
            if found is not None:
                for holding in list(self.by):
                    holding.drop(found)
                self._warn()

    def _gone(self, number: int) -> None:
        _, size = self._events.pop(number, (None, 0))
        self._size -= size

    def _warn(self) -> None:
        now = time.monotonic()
        if now >= self._warn_again:
            self._warn_again = now + _QUIET
            log.warning(
                "clients of event streams have not taken more than %d bytes of events, and the slowest begin anew; "
                "settings.server.live_memory allows more",
                self.most,
            )
