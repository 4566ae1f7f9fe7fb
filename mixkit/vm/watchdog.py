"""One thread that stops runs whose deadline has passed, wherever they are."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable

__all__ = ["Watchdog", "watchdog"]

_log = logging.getLogger("mixkit.vm")

_LINGER = 0.004
"""Seconds for which the thread sleeps when there was something to watch a moment ago."""


class Watchdog:
    """Calls functions at points of `time.monotonic()`, unless they are cancelled before.

    The thread starts with the first deadline and sleeps until the earliest one, so that adding a deadline which
    is not the earliest costs a heap push and no wake-up. Cancelled entries leave the heap when their time
    comes, or when they are the majority.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        # PERF: the lock of the condition, because a condition's own `with` is Python code.
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._heap: list[tuple[float, int]] = []
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._ids = itertools.count()
        self._thread: threading.Thread | None = None
        self._wakes = float("inf")
        self._added = -1

    def add(self, when: float, callback: Callable[[], None]) -> int:
        """Have `callback()` called at `when`; answers an id for `cancel`."""
        ident = next(self._ids)
        with self._lock:
            self._added = ident
            self._callbacks[ident] = callback
            heapq.heappush(self._heap, (when, ident))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mixkit-watchdog", daemon=True)
                self._thread.start()
            elif when < self._wakes:
                self._condition.notify()
        return ident

    def cancel(self, ident: int) -> None:
        """Forget a deadline. A callback that has begun is not waited for."""
        # PERF: without the lock, as each run comes by here.
        self._callbacks.pop(ident, None)
        if len(self._heap) <= 64 or len(self._heap) <= 2 * len(self._callbacks):
            return
        with self._lock:
            if len(self._heap) > 2 * len(self._callbacks):
                self._heap = [entry for entry in self._heap if entry[1] in self._callbacks]
                heapq.heapify(self._heap)

    def _run(self) -> None:
        seen = -1
        while True:
            with self._condition:
                while self._heap and self._heap[0][1] not in self._callbacks:
                    heapq.heappop(self._heap)
                now = time.monotonic()
                if not self._heap or self._heap[0][0] > now:
                    if self._heap:
                        self._wakes = self._heap[0][0]
                    else:
                        # PERF: short runs come and go; as long as they do, look again soon, and none of them needs
                        # to wake this thread.
                        self._wakes = now + _LINGER if self._added != seen else float("inf")
                    seen = self._added
                    self._condition.wait(self._wakes - now if self._wakes != float("inf") else None)
                    self._wakes = float("-inf")
                    continue
                callback = self._callbacks.pop(heapq.heappop(self._heap)[1], None)
            try:
                if callback is not None:
                    callback()
            except BaseException:
                # It may come down to a plugin's engine; without this thread no limit of time would hold any more.
                _log.exception("a watchdog callback failed")
            # It leads to a run with all that it was given, and the next deadline to pass may be hours away.
            del callback


watchdog = Watchdog()
"""The process's watchdog. A forked child begins with an empty one."""

os.register_at_fork(after_in_child=watchdog._reset)
