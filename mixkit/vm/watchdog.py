"""One thread that stops runs whose deadline has passed, wherever they are."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, cast

__all__ = ["Watchdog", "watchdog"]

_log = logging.getLogger("mixkit.vm")

_NEVER = float("inf")
_LINGER = 0.004
"""Seconds for which the thread sleeps when there was something to watch a moment ago."""


class _Stack(list["list[Any]"]):
    """What a thread does now, the innermost last: each with when it is too long, and what is called then."""

    __slots__ = ("__weakref__",)


class Watchdog:
    """Calls functions at points of `time.monotonic()`, unless they are cancelled before.

    There are two ways: `add` and `cancel` for what waits, and `begin` and `end`, which cost less, around what a thread
    does from beginning to end.

    The thread starts with the first deadline and sleeps until the earliest one, so that adding a deadline which
    is not the earliest costs no wake-up. Cancelled entries leave the heap when their time comes, or when they are the
    majority.
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
        self._wakes = _NEVER
        self._seen = 0
        self._added = 0
        self._stacks: weakref.WeakValueDictionary[int, _Stack] = weakref.WeakValueDictionary()
        self._local = threading.local()

    def begin(self, when: float, callback: Callable[[], None]) -> None:
        """Have `callback()` called, once, if it is `when` before this thread has called `end`."""
        # PERF: without the lock, as each turn of each run comes by here. Either this thread sees that the other one
        # sleeps for longer, or that one sees what is written here before it does.
        try:
            stack = self._local.stack
        except AttributeError:
            stack = self._watched()
        stack.append([when, callback])
        self._added += 1
        if when < self._wakes:
            self._wake()

    def end(self) -> None:
        """What this thread has begun last is over. A callback that has begun is not waited for."""
        self._local.stack.pop()

    def add(self, when: float, callback: Callable[[], None]) -> int:
        """Have `callback()` called at `when`; answers an id for `cancel`."""
        ident = next(self._ids)
        with self._lock:
            self._added += 1
            self._callbacks[ident] = callback
            heapq.heappush(self._heap, (when, ident))
        if when < self._wakes:
            self._wake()
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

    def _watched(self) -> _Stack:
        stack = self._local.stack = _Stack()
        with self._lock:
            self._stacks[id(stack)] = stack
        return stack

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mixkit-watchdog", daemon=True)
                self._thread.start()
            else:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                callback = self._next_due()
                if callback is None:
                    left = self._wakes - time.monotonic()
                    self._condition.wait(None if left == _NEVER else left)
                # It looks again anyhow.
                self._wakes = -_NEVER
            if callback is None:
                continue
            try:
                callback()
            except BaseException:
                # It may come down to a plugin's engine; without this thread no limit of time would hold any more.
                _log.exception("a watchdog callback failed")
            # It leads to a run with all that it was given, and the next deadline to pass may be hours away.
            del callback

    def _next_due(self) -> Callable[[], None] | None:
        """What is to be called now; if nothing is, `_wakes` says when to look again."""
        # Whoever begins something from here on sees that it may have to wake this thread.
        self._wakes = _NEVER
        now = time.monotonic()
        earliest = _NEVER
        for stack in self._stacks.values():
            for entry in tuple(stack):
                if entry[0] <= now:
                    entry[0] = _NEVER
                    return cast("Callable[[], None]", entry[1])
                earliest = min(earliest, entry[0])
        while self._heap and self._heap[0][0] <= now:
            callback = self._callbacks.pop(heapq.heappop(self._heap)[1], None)
            if callback is not None:
                return callback
        while self._heap and self._heap[0][1] not in self._callbacks:
            heapq.heappop(self._heap)
        if self._heap:
            earliest = min(earliest, self._heap[0][0])
        if self._added != self._seen:
            # PERF: short runs come and go; as long as they do, look again soon, and none of them needs to wake this
            # thread.
            self._seen = self._added
            earliest = min(earliest, now + _LINGER)
        self._wakes = earliest
        return None


watchdog = Watchdog()
"""The process's watchdog. A forked child begins with an empty one."""

os.register_at_fork(after_in_child=watchdog._reset)
