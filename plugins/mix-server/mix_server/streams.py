"""Answers that are sent part by part: how many at once, how many of one caller, and how each of them ends.

One ends when all is sent, when the client goes away, when it takes nothing for too long, and, if it has no end of
its own, when the server stops. What goes wrong in the middle cannot change the status any more: the connection is
cut off, so that nobody takes a part for the whole.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Final, Self

from mix_server.errors import Overloaded, Stopping
from mix_server.rates import bucket_of
from mix_server.shares import share_of

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = ["CutOff", "Stream", "Streams"]

_STALLED: Final = "the client takes nothing"


class CutOff(Exception):
    """Raised by the parts of a stream to end it without its end."""


class Streams:
    """All streams of a process.

    Args:
        most: streams at once.
        stall: seconds that a client may take nothing.
        share: part of them that one caller may have.
    """

    def __init__(self, most: int, stall: float, share: float) -> None:
        self._most = most
        self._each = share_of(most, share)
        self.stall = stall
        self.stopping = False
        # NOTE: an answer that is never begun, because its client has gone, is not closed by anybody either.
        self._open: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._of: dict[str, weakref.WeakSet[Stream]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def check(self, req: Request) -> None:
        """Whether there is room for one more, for who asks.

        Raises:
            Overloaded, Stopping: there is none.
        """
        self._check(bucket_of(req, req.caller))

    def _check(self, whose: str | None) -> None:
        if self.stopping:
            raise Stopping
        if len(self._open) >= self._most:
            raise Overloaded(f"{self._most} answers are being streamed already")
        if whose is not None and len(self._of.get(whose, ())) >= self._each:
            raise Overloaded(f"{self._each} answers are being streamed to you already")

    def enter(self, stream: Stream) -> None:
        """Count one more. Raises as `check` does."""
        self._check(stream.whose)
        self._open.add(stream)
        if stream.whose is not None:
            self._of.setdefault(stream.whose, weakref.WeakSet()).add(stream)

    def leave(self, stream: Stream) -> None:
        """Count it no more."""
        self._open.discard(stream)
        if stream.whose is not None and (own := self._of.get(stream.whose)) is not None:
            own.discard(stream)
            if not own:
                del self._of[stream.whose]

    def stop(self) -> None:
        """End those that have no end of their own, and let none begin."""
        self.stopping = True
        for stream in list(self._open):
            if stream.endless:
                stream.end()


class Stream:
    """What Falcon sends as a body, part by part, asking for the next when the client has taken the last.

    Args:
        parts: makes the parts. May raise `CutOff`.
        release: called once, when no part will be asked for any more.
        endless: it has no end of its own, so none of its parts is the last.

    Attributes:
        endless: as given.
        whose: the caller that it is counted for; None for who may have all.

    Raises:
        Overloaded, Stopping: there are too many already. `release` was called then.
    """

    def __init__(
        self,
        streams: Streams,
        req: Request,
        parts: AsyncGenerator[bytes, None],
        release: Callable[[], None],
        *,
        endless: bool = False,
    ) -> None:
        self.endless = endless
        self.whose = bucket_of(req, req.caller)
        self._streams = streams
        self._req = req
        self._parts = parts
        self._release: Callable[[], None] | None = release
        self._waits: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        try:
            streams.enter(self)
        except BaseException:
            release()
            raise

    def ended(self) -> bool:
        """Whether no further part is sent."""
        return self._ended

    def end(self) -> None:
        """Let no further part be sent."""
        if not self._ended:
            self._ended = True
            if self._waits is not None:
                self._waits.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._timer is not None:
            self._timer.cancel()
        if self.ended():
            raise StopAsyncIteration
        loop = asyncio.get_running_loop()
        if self._watcher is None:
            self._watcher = loop.create_task(self._watch())
        task = asyncio.current_task()
        assert task is not None
        # PERF: with a task of its own for each part, those who hear a message cost twice as much.
        self._waits = task
        try:
            part = await anext(self._parts, None)
        except asyncio.CancelledError:
            # By `end`, unless somebody else has cancelled the task as well.
            if self.ended() and not task.uncancel():
                raise StopAsyncIteration from None
            raise
        finally:
            self._waits = None
        if part is None or self.ended():
            raise StopAsyncIteration
        self._timer = loop.call_later(self._streams.stall, task.cancel, _STALLED)
        return part

    async def _watch(self) -> None:
        await self._req.disconnected()
        self.end()

    async def close(self) -> None:
        """Free everything. Falcon calls it, however the answer ended."""
        self._streams.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        await self._parts.aclose()
        release, self._release = self._release, None
        if release is not None:
            release()
