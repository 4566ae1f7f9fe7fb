"""What is waited for from clients: the rest of a body, and whether they are still there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

from mix_server.errors import Disconnected, Stopping

__all__ = ["Clients", "Watch"]

_ROUND: Final = 0.025
"""Seconds. Whether a client is still there is asked after one or two of them: most runs are over by then."""


class Clients:
    """Those of one server, on its event loop."""

    def __init__(self) -> None:
        self._stopping = False
        self._waits: set[asyncio.Timeout] = set()
        # PERF: one timer for all requests instead of one for each, and nothing to cancel.
        self._new: dict[Watch, None] = {}
        self._old: dict[Watch, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def next(self, more: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        """The next part of a body. A server that stops waits for none.

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
        """Let nobody wait for a body any more."""
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)

    def enter(self, watch: Watch) -> dict[Watch, None]:
        """Have `watch.begin()` called in a while, unless it is taken out of the answer before."""
        self._new[watch] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_ROUND, self._look)
        return self._new

    def _look(self) -> None:
        due = self._old
        self._old, self._new = self._new, {}
        self._timer = asyncio.get_running_loop().call_later(_ROUND, self._look) if self._old else None
        for watch in due:
            watch.begin()


class Watch:
    """Cancels the task that entered it when the client goes away; leaving raises `Disconnected` then.

    A cancellation that comes from elsewhere is that of a server which stops: leaving raises `Stopping`.

    Args:
        clients: of which it is one.
        receive: the rest of what the client sends; its body must have been read.
    """

    __slots__ = ("_among", "_clients", "_gone", "_receive", "_task", "_watcher")

    def __init__(self, clients: Clients, receive: Callable[[], Awaitable[Any]]) -> None:
        self._clients = clients
        self._receive = receive
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._among = self._clients.enter(self)
        return self

    def begin(self) -> None:
        """Wait for the client to go away."""
        self._watcher = self._task.get_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._among.pop(self, None)
        if self._watcher is not None:
            self._watcher.cancel()
        if exc is not None and self._task.cancelling():
            self._task.uncancel()
            raise (Disconnected if self._gone else Stopping)() from exc
