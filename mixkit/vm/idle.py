"""All instances of a kernel that wait for their next run, whatever the engine: what they may take together.

Each program keeps some, and what they hold is held for nobody: memory, and mappings, of which the system gives a
process only so many. When it is too much, those go first that take the largest share, of these the one that is there
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
        size, mappings: what is taken now, by those that wait, and those that have waited and are in use again.
    """

    def __init__(self, most_bytes: int, most_mappings: int) -> None:
        self.most_bytes = most_bytes
        self.most_mappings = most_mappings
        self.size = 0
        self.mappings = 0
        # By identity of the instance, oldest first. Who is in use again stays here, and has its place at home no more.
        self._known: dict[int, _Waiting] = {}
        self._lock = threading.Lock()
        _ledgers.add(self)

    def keep(self, instance: Instance, footprint: tuple[int, int], home: Home, most: int) -> None:
        """Let it wait at home with at most so many; what has no place is closed, be it this one or others."""
        waiting = self._known.get(id(instance))
        if waiting is not None and len(home) < most and waiting[2] == footprint[0]:
            # PERF: without the lock, as each run comes by here. Nobody else removes what does not wait.
            home.append(waiting)
            return
        if waiting is not None:
            self._forget(waiting)
        waiting = (instance, home, *footprint)
        with self._lock:
            self._known[id(instance)] = waiting
            self.size += waiting[2]
            self.mappings += waiting[3]
            home.append(waiting)
            surplus = self._surplus(home, most)
        for gone in surplus:
            gone.close()

    def take(self, home: Home) -> Instance | None:
        """The one used last of those at home: its memory is most likely still in the processor's caches."""
        try:
            return home.pop()[0]
        except IndexError:
            return None

    def drop(self, instance: Instance) -> None:
        """Close one that is in use, whether it has waited or not."""
        waiting = self._known.get(id(instance))
        if waiting is not None:
            self._forget(waiting)
        instance.close()

    def clear(self, home: Home) -> None:
        """Close all that wait there."""
        while (instance := self.take(home)) is not None:
            self.drop(instance)

    def _surplus(self, home: Home, most: int) -> list[Instance]:
        """Those that have to go, taken out. Under the lock."""
        gone = []
        if len(home) > most:
            gone += self._removed(home[0])
        if self.size > self.most_bytes or self.mappings > self.most_mappings:
            # A little more than has to: the next ones shall not have to look through all again.
            least_bytes, least_mappings = self.most_bytes * 7 // 8, self.most_mappings * 7 // 8
            for waiting in sorted(self._known.values(), key=self._share, reverse=True):
                if self.size <= least_bytes and self.mappings <= least_mappings:
                    break
                gone += self._removed(waiting)
        return gone

    def _share(self, waiting: _Waiting) -> int:
        """What it takes of the whole, as a power of two: of those that take about as much the oldest goes first."""
        return max(waiting[2] * self.most_mappings, waiting[3] * self.most_bytes).bit_length()

    def _removed(self, waiting: _Waiting) -> list[Instance]:
        """It alone, if it waits; nothing, if it is in use. Under the lock."""
        try:
            waiting[1].remove(waiting)
        except ValueError:
            return []
        self._subtract(waiting)
        return [waiting[0]]

    def _forget(self, waiting: _Waiting) -> None:
        """One that does not wait."""
        with self._lock:
            self._subtract(waiting)

    def _subtract(self, waiting: _Waiting) -> None:
        del self._known[id(waiting[0])]
        self.size -= waiting[2]
        self.mappings -= waiting[3]

    def _renew(self) -> None:
        """In a forked child: the thread that may have held the lock is not here."""
        self._lock = threading.Lock()


_ledgers: WeakSet[IdleInstances] = WeakSet()


def _renew() -> None:
    for ledger in list(_ledgers):
        ledger._renew()


os.register_at_fork(after_in_child=_renew)
