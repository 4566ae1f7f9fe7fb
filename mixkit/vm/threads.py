"""Threads for what may hold one: guests that compute, and code of plugins that blocks."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

__all__ = ["Threads", "in_own_thread"]

T = TypeVar("T")

Work: TypeAlias = "Callable[[], Callable[[], object] | None]"
"""What is done, and answers what is called when the thread is free again: whoever hears of the end may submit more."""


_NICE = 5
"""By how much the system is to think less of them than of the rest of the process: a third as much processor."""


class Threads:
    """At most `count` threads, started when they are needed, and a queue before them. A forked child begins with none.

    Work must not raise.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._reset()
        self._pid = os.getpid()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._work = 0

    @property
    def crowded(self) -> bool:
        """Whether work waits for a thread."""
        return not self._queue.empty()

    def submit(self, work: Work) -> None:
        """Have it done by the next thread that is free."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._reset()
        self._queue.put(work)
        with self._lock:
            self._work += 1
            if self._work > len(self._threads) < self._count:
                name = f"{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._run, args=(self._queue,), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, queue: SimpleQueue[Work | None]) -> None:
        _stand_back()
        while (work := queue.get()) is not None:
            ended = work()
            with self._lock:
                self._work -= 1
            if ended is not None:
                ended()
            # They lead to a run with all that it was given, and the next work may be hours away.
            del work, ended

    def close(self) -> None:
        """Wait for what was submitted, and end the threads."""
        if self._pid != os.getpid():
            return
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()


def _stand_back() -> None:
    """Let the event loop go first where there are not enough processors: it has what is quick (measured)."""
    if sys.platform == "linux":
        # A thread has a priority of its own there.
        with contextlib.suppress(OSError):
            usual = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), usual + _NICE)


def in_own_thread(function: Callable[..., T], *args: Any) -> concurrent.futures.Future[T]:
    """Load code, say, which is waited for no longer than a run may take, and ends by its own limits only."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*args))
            except BaseException as exc:
                future.set_exception(exc)

    threading.Thread(target=work, name="mixkit-loading", daemon=True).start()
    return future
