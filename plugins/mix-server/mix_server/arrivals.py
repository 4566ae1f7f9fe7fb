"""Bodies that are still arriving: a server that stops waits for none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mix_server.errors import Stopping

__all__ = ["Arrivals"]


class Arrivals:
    """All bodies of which a part is being waited for."""

    def __init__(self) -> None:
        self._stopping = False
        self._waits: set[asyncio.Timeout] = set()

    async def next(self, more: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        """The next part.

        Args:
            more: waits for it.
            seconds: time in which it must have come.

        Raises:
            TimeoutError: it has not.
            Stopping: the server stops.
        """
        if self._stopping:
            raise Stopping
        wait = asyncio.timeout(seconds)
        try:
            async with wait:
                self._waits.add(wait)
                return await more()
        except TimeoutError:
            if self._stopping:
                raise Stopping from None
            raise
        finally:
            self._waits.discard(wait)

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)
