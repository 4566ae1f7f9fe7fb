"""Calls of sessions over HTTP while they are open, for their clients to cancel: by a message of its own, which may
reach another process. Clients of today close the stream of the call instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mixkit.bus import BusError, MessagesMissed

if TYPE_CHECKING:
    from mix_mcp.message import Id
    from mixkit.bus import Bus

__all__ = ["OpenCalls"]

_TOPIC: Final = "$mcp/cancelled"
"""No agent and no client of the bus can name it."""


class OpenCalls:
    """The calls of this process.

    Args:
        bus: that all processes of the server have.
    """

    def __init__(self, bus: Callable[[], Bus]) -> None:
        self._bus = bus
        self._working: dict[bytes, asyncio.Task[Any]] = {}
        self._listening: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def working(self, session: str, id: Id) -> Iterator[None]:
        """The task that has this works on the call of that id."""
        key, task = _key(session, id), asyncio.current_task()
        assert task is not None
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        self._working[key] = task
        try:
            yield
        finally:
            if self._working.get(key) is task:
                del self._working[key]

    async def cancel(self, session: str, id: Any) -> None:
        """The client of that session waits no more for a call, wherever it is worked on."""
        if not isinstance(id, str | int):
            return
        key = _key(session, id)
        if not self._end(key):
            with contextlib.suppress(BusError):
                await self._bus().publish(_TOPIC, key)

    async def close(self) -> None:
        """The process ends."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))

    def _end(self, key: bytes) -> bool:
        task = self._working.get(key)
        return task is not None and task.cancel()

    async def _listen(self) -> None:
        with contextlib.suppress(BusError):
            subscription = await self._bus().subscribe(_TOPIC, owner="mcp")
            try:
                while True:
                    # What was missed ends by the limits of its run.
                    with contextlib.suppress(MessagesMissed):
                        self._end((await subscription.next()).payload)
            finally:
                subscription.close()


def _key(session: str, id: Id) -> bytes:
    return hashlib.sha256(f"{session} {type(id).__name__} {id}".encode()).digest()
