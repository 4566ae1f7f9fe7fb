"""All instances of a kernel that wait for their next run, whatever the engine: what they may take together.

Each program keeps some, and what they hold is held for nobody: memory, and mappings, of which the system gives a
process only so many. When it is too much, those go first that take the largest share, of these the one that waits
longest.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TypeAlias
from weakref import WeakSet

from mixkit.contracts import Instance

__all__ = ["Home", "IdleInstances"]

# PERF: a tuple, because each run makes one: the instance, where it waits, its bytes, its mappings.
_Waiting: TypeAlias = "tuple[Instance, Home, int, int]"
Home: TypeAlias = "deque[_Waiting]"
"""Those of one pool, the one used last at the end. Only `IdleInstances` changes it."""


class IdleInstances:
    """Safe under threads and forks.

    Args:
        most_bytes: of all memories together.
        most_mappings: of the process.

    Attributes:
        size, mappings: what is taken now.
    """

    def __init__(self, most_bytes: int, most_mappings: int) -> None:
        self.most_bytes = most_bytes
        self.most_mappings = most_mappings
        self.size = 0
        self.mappings = 0
        # By identity of the instance, oldest first.
        self._waiting: dict[int, _Waiting] = {}
        self._lock = threading.Lock()
        _ledgers.add(self)

    def keep(self, instance: Instance, footprint: tuple[int, int], home: Home, most: int) -> None:
        """Let it wait at home with at most so many; what has no place is closed, be it this one or others."""
        size, mappings = footprint
        waiting = instance, home, size, mappings
        with self._lock:
            home.append(waiting)
            self._waiting[id(instance)] = waiting
            self.size += size
            self.mappings += mappings
            if len(home) <= most and self.size <= self.most_bytes and self.mappings <= self.most_mappings:
                return
            surplus = self._surplus(home, most)
        for gone in surplus:
            gone.close()

    def take(self, home: Home) -> Instance | None:
        """The one used last of those at home: its memory is most likely still in the processor's caches."""
        with self._lock:
            if not home:
                return None
            # PERF: as `_forget`, which each run would call.
            instance, _, size, mappings = home.pop()
            del self._waiting[id(instance)]
            self.size -= size
            self.mappings -= mappings
        return instance

    def clear(self, home: Home) -> None:
        """Close all that wait there."""
        while (instance := self.take(home)) is not None:
            instance.close()

    def _surplus(self, home: Home, most: int) -> list[Instance]:
        """Those that have to go, taken out. Under the lock."""
        gone = []
        if len(home) > most:
            gone.append(home.popleft())
            self._forget(gone[0])
        if self.size > self.most_bytes or self.mappings > self.most_mappings:
            # A little more than has to: the next ones shall not have to look through all again.
            least_bytes, least_mappings = self.most_bytes * 7 // 8, self.most_mappings * 7 // 8
            for waiting in sorted(self._waiting.values(), key=self._share, reverse=True):
                if self.size <= least_bytes and self.mappings <= least_mappings:
                    break
                waiting[1].remove(waiting)
                self._forget(waiting)
                gone.append(waiting)
        return [waiting[0] for waiting in gone]

    def _share(self, waiting: _Waiting) -> int:
        """What it takes of the whole, as a power of two: of those that take about as much the oldest goes first."""
        return max(waiting[2] * self.most_mappings, waiting[3] * self.most_bytes).bit_length()

    def _forget(self, waiting: _Waiting) -> None:
        instance, _, size, mappings = waiting
        del self._waiting[id(instance)]
        self.size -= size
        self.mappings -= mappings

    def _renew(self) -> None:
        """In a forked child: the thread that may have held the lock is not here."""
        self._lock = threading.Lock()


_ledgers: WeakSet[IdleInstances] = WeakSet()


def _renew() -> None:
    for ledger in list(_ledgers):
        ledger._renew()


os.register_at_fork(after_in_child=_renew)
