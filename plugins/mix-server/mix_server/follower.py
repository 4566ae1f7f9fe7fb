"""One stream among those that follow the same, a live query or a topic: what it is sending, and what waits for it."""

from __future__ import annotations

import asyncio
import weakref
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Protocol, Self

from mix_server.streams import CutOff

__all__ = ["LAG", "PIECE", "Dropped", "Event", "Followed", "Follower"]

LAG: Final = 1_048_576
"""Bytes of events that wait for a stream. One more may be longer: it is the others' too."""
_EVENT: Final = 64
"""Bytes that an event in the queue counts beside its data."""
PIECE: Final = 65_536
"""Bytes of an event that are handed on at once: the HTTP server keeps a copy until the client has taken them."""


class Dropped(Exception):
    """The state in which a following is cannot be read any more: history was dropped."""


class Event(Protocol):
    """An event as those who send it share it; can be referred to weakly."""

    @property
    def data(self) -> bytes:
        """What is sent, without its head and without the empty line behind it."""
        ...

    @property
    def all(self) -> bool:
        """Whether the client is to forget what it knows."""
        ...

    def head(self, knows: bool) -> bytes:
        """What stands before the data for a client that knows something, or nothing yet."""
        ...


class Followed(ABC):
    """What streams follow together: a task from its first follower until its last has left."""

    def __init__(self) -> None:
        # NOTE: a stream that is never begun, because its client has gone, is not closed by anybody either.
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    def enter(self, follower: Follower) -> None:
        """Tell a follower of all that comes from now on."""
        self._followers.add(follower)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            # Also where it is cancelled before it has begun.
            self._task.add_done_callback(self._ended)

    def leave(self, follower: Follower) -> None:
        """Tell it nothing more; without followers it ends."""
        self._followers.discard(follower)
        if not self._followers:
            self.end()

    def end(self) -> asyncio.Task[None]:
        """Follow no more; the task is done when that has happened."""
        assert self._task is not None
        self._retire()
        self._task.cancel()
        return self._task

    def drop(self, event: Event) -> None:
        """Take an event from all followers."""
        for follower in self._followers:
            follower.drop(event)

    async def begun(self) -> None:
        """Wait until it is followed. Raises why it cannot be."""
        await asyncio.shield(self._begun)

    @abstractmethod
    async def beginning(self, since: str | None) -> Event:
        """What brings a client to the state that is followed now, from that of `since` if it knows one. `Dropped` if
        that state cannot be read any more."""

    @abstractmethod
    def lagging(self, follower: Follower) -> None:
        """A follower lags too far behind to get all that there is: `fall_behind` or `cut_off`."""

    @abstractmethod
    async def another(self) -> Self:
        """One of the same query that begins anew."""

    @abstractmethod
    def _retire(self) -> None:
        """Let nobody join it any more."""

    @abstractmethod
    async def _run(self) -> None:
        """Tell the followers, until there is nothing more."""

    @abstractmethod
    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task is done, or was cancelled."""


class Follower:
    """Takes the events of a following, and gives them on in pieces.

    Args:
        following: what it follows.
        since: the id of the last event that the client has seen, before it came.

    Attributes:
        behind: it wants none of the events that come: it begins when it is ready for that.
    """

    def __init__(self, following: Followed, since: str | None) -> None:
        self.behind = True
        self._since = since
        self._knows = since is not None
        self._following = following
        self._waiting: deque[Event] = deque()
        self._waiting_bytes = 0
        self._sending: Event | None = None
        self._sent = 0
        self._head = b""
        self._woken = asyncio.Event()
        self._teller: asyncio.Future[bool] | None = None
        self._coming: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        following.enter(self)

    def close(self) -> None:
        """Follow no more."""
        self._following.leave(self)
        if self._coming is not None:
            self._coming.cancel()

    async def ready(self, seconds: float) -> bool:
        """Whether there is an event to send, after at most so many seconds.

        Raises:
            Exception: why there will be no more.
        """
        if self._coming is None and not self.behind and self._sending is None:
            # PERF: as a rule nothing has to be made for it, and a task costs more than all else.
            if not (self._waiting or self._error) and not await self._told(seconds):
                return False
            if self._waiting:
                self._take()
                return True
        if self._coming is None:
            self._coming = asyncio.get_running_loop().create_task(self._next())
            self._coming.add_done_callback(_retrieve)
        # NOTE: the wait is bounded, not the task: an event must not be lost with a cancelled one.
        await asyncio.wait([self._coming], timeout=seconds)
        if not self._coming.done():
            return False
        coming, self._coming = self._coming, None
        coming.result()
        return True

    def piece(self) -> bytes:
        """The next part of the event that is being sent; empty behind its last.

        Raises:
            CutOff: the rest was taken away, since the process holds too much.
        """
        event = self._sending
        if event is None and self._sent:
            raise CutOff("the client takes too little while others wait")
        if event is None:
            return b""
        part = event.data[self._sent : self._sent + PIECE]
        head, self._head = self._head, b""
        self._sent += len(part)
        if self._sent < len(event.data):
            return head + part
        self._sending, self._sent = None, 0
        return head + part + b"\n\n"

    def put(self, event: Event) -> None:
        """Let an event wait for what is before it."""
        if event.all and self.behind and self._since is None:
            # The following begins, and so does this one.
            self.behind = False
        if self.behind or self._error is not None:
            return
        size = len(event.data) + _EVENT
        if self._waiting and self._waiting_bytes + size > LAG:
            self._following.lagging(self)
        else:
            self._waiting.append(event)
            self._waiting_bytes += size
        self._wake()

    def fall_behind(self) -> None:
        """Let it begin anew, with all rows, when it is ready for them."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self.behind, self._since, self._knows = True, None, True
        self._wake()

    def cut_off(self) -> None:
        """Let the client come back for what it lacks."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self.fail(CutOff("the client takes too little"))

    def drop(self, event: Event) -> None:
        """Give an event up, if it is here."""
        if event is self._sending and self._sent:
            # In the middle of an event nothing else can be said.
            self._sending = None
        elif event is self._sending or event in self._waiting:
            self._sending = None
            self._following.lagging(self)

    def fail(self, error: Exception) -> None:
        """Let this be the last that is heard."""
        self._error = error
        self._wake()

    async def _next(self) -> None:
        """Begin to send the next event, as soon as there is one."""
        while self._sending is None:
            if self._waiting:
                self._take()
            elif self._error is not None:
                raise self._error
            elif self.behind:
                await self._begin()
            else:
                self._woken.clear()
                await self._woken.wait()

    async def _told(self, seconds: float) -> bool:
        """Wait until something is new; False if nothing is after so many seconds."""
        loop = asyncio.get_running_loop()
        teller: asyncio.Future[bool] = loop.create_future()
        self._teller = teller
        timer = loop.call_later(seconds, _tell, teller, False)
        try:
            return await teller
        finally:
            timer.cancel()

    def _wake(self) -> None:
        self._woken.set()
        _tell(self._teller, True)

    def _take(self) -> None:
        event = self._waiting.popleft()
        self._waiting_bytes -= len(event.data) + _EVENT
        self._send(event)

    async def _begin(self) -> None:
        """Send what the client lacks to be where the following is."""
        await self._following.begun()
        if not self.behind or self._error is not None:
            return
        # What comes from here on waits behind the event that is made.
        self.behind, since, self._since = False, self._since, None
        try:
            event = await self._following.beginning(since)
        except Dropped:
            another = await self._following.another()
            self._following.leave(self)
            self._waiting.clear()
            self._waiting_bytes = 0
            self.behind, self._following = True, another
            another.enter(self)
        else:
            self._send(event)

    def _send(self, event: Event) -> None:
        self._head = event.head(self._knows)
        self._sending = event
        if not self.behind:
            self._knows = False


def _retrieve(done: asyncio.Task[None]) -> None:
    # Nobody else may ask: the client may have gone.
    if not done.cancelled():
        done.exception()


def _tell(teller: asyncio.Future[bool] | None, what: bool) -> None:
    if teller is not None and not teller.done():
        teller.set_result(what)
