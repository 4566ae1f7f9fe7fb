"""Waiting for commits, of this process and of others.

Commits of this process wake those who wait at once. For those of others one thread of the process looks, while
somebody waits: after 5 ms at first, then more and more seldom, down to every 50 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

__all__ = ["Arrivals"]

T = TypeVar("T")

_SHORTEST: Final = 0.005
_LONGEST: Final = 0.05
_GROWTH: Final = 1.5


class Arrivals:
    """Those who wait for commits of one database.

    Args:
        look: sees what other processes have committed; answers whether there was something. None if no other
            process can commit.
    """

    def __init__(self, look: Callable[[], bool] | None) -> None:
        self._look = look
        self._mutex = threading.Lock()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._next = 0

    def wait(self, ready: Callable[[], T | None], timeout: float | None = None) -> T | None:
        """What `ready` answers, once it is not None; None after so many seconds. It may raise."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            woken = threading.Event()
            with self._registered(woken.set):
                # Asked behind registering, so that nothing can fall between.
                if (answer := ready()) is not None:
                    return answer
                left = None if end is None else end - time.monotonic()
                if (left is not None and left <= 0) or not woken.wait(left):
                    return ready()

    async def wait_async(self, ready: Callable[[], Awaitable[T | None]]) -> T:
        """The same for a task, without a thread for each that waits."""
        loop = asyncio.get_running_loop()
        while True:
            woken: asyncio.Future[None] = loop.create_future()
            with self._registered(functools.partial(_wake, loop, woken)):
                if (answer := await ready()) is not None:
                    return answer
                await woken

    @contextlib.contextmanager
    def _registered(self, call: Callable[[], None]) -> Iterator[None]:
        """Call it at the next commit, in whatever thread."""
        with self._mutex:
            number = self._next = self._next + 1
            self._waiting[number] = call
        if self._look is not None:
            _poller.watch(self)
        try:
            yield
        finally:
            with self._mutex:
                self._waiting.pop(number, None)

    def announce(self) -> None:
        """Call all that wait: there may be something new, or the database is closed."""
        if not self._waiting:
            return
        with self._mutex:
            waiting, self._waiting = self._waiting, {}
        for call in waiting.values():
            call()

    def poll(self) -> bool:
        """Whether somebody waits still, after a look at what other processes did."""
        if self._look is not None and self._waiting and self._look():
            self.announce()
        return bool(self._waiting)

    def renew(self) -> None:
        """In a forked child: whoever held a lock or waited is not here."""
        self._mutex = threading.Lock()
        self._waiting = {}


class _Poller:
    """One thread for all databases, which ends when nobody waits."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._watched: set[Arrivals] = set()
        self._running = False
        self._fresh = threading.Event()

    def watch(self, arrivals: Arrivals) -> None:
        with self._mutex:
            self._watched.add(arrivals)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="mix-db-arrivals", daemon=True).start()
        self._fresh.set()

    def _run(self) -> None:
        pause = _SHORTEST
        idle = threading.Event()
        while True:
            idle.wait(pause)
            pause = min(pause * _GROWTH, _LONGEST)
            if self._fresh.is_set():
                self._fresh.clear()
                pause = _SHORTEST
            with self._mutex:
                watched = list(self._watched)
            done = [arrivals for arrivals in watched if not arrivals.poll()]
            with self._mutex:
                # Who registered meanwhile has called `watch` again, or is seen here.
                self._watched.difference_update(a for a in done if not a._waiting)
                if not self._watched:
                    self._running = False
                    return

    def renew(self) -> None:
        self.__init__()  # type: ignore[misc]


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None]) -> None:
    # The loop may be closed when somebody commits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(lambda: None if woken.done() else woken.set_result(None))


_poller = _Poller()
os.register_at_fork(after_in_child=_poller.renew)
