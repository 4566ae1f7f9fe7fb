"""Instances of one module that wait for their next run, whatever the engine."""

from __future__ import annotations

import threading
from collections import deque

from mixkit.contracts import HostImports, Instance, Module, Snapshot, WasmEngine
from mixkit.errors import EngineError
from mixkit.limits import Limits

__all__ = ["InstancePool"]


class InstancePool:
    """Keeps up to `size` idle instances. Safe under threads; an instance belongs to one user at a time.

    Args:
        engine, module, limits, imports, max_result: as `WasmEngine.instantiate` takes them.
        size: how many idle instances are kept; 0 for a fresh one every time.
    """

    def __init__(
        self,
        engine: WasmEngine,
        module: Module,
        limits: Limits,
        imports: HostImports,
        size: int,
        *,
        max_result: int | None = None,
    ) -> None:
        self._engine = engine
        self._module = module
        self._limits = limits
        self._imports = imports
        self._size = size
        self._max_result = max_result
        self._idle: deque[Instance] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def fresh(self) -> Instance:
        """A new instance, in the state right after instantiation.

        Raises:
            EngineError, LimitExceeded: as `WasmEngine.instantiate`.
        """
        return self._engine.instantiate(
            self._module, self._limits, self._imports, max_result=self._max_result
        )

    def acquire(self, snapshot: Snapshot | None = None) -> Instance:
        """An instance whose readable state equals the snapshot, or the state right after instantiation.

        Raises:
            EngineError: the snapshot does not fit the module, or as `fresh`.
        """
        # Restored here and not in `release`: whoever gives one back has its answer and should not wait.
        while (instance := self._take()) is not None:
            if self._restored(instance, snapshot):
                return instance
        instance = self.fresh()
        if snapshot is not None and not self._restored(instance, snapshot):
            raise EngineError("a fresh instance cannot be given the state of its own module's snapshot")
        return instance

    def release(self, instance: Instance, *, healthy: bool = True) -> None:
        """Give an instance back. One that was interrupted or in which a call raised is not healthy: freed."""
        instance.owner = None
        if healthy:
            with self._lock:
                if not self._closed and len(self._idle) < self._size:
                    self._idle.append(instance)
                    return
        instance.close()

    def __len__(self) -> int:
        """How many instances wait."""
        return len(self._idle)

    def close(self) -> None:
        """Free the idle instances; those in use are freed when they are released."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, deque()
        for instance in idle:
            instance.close()

    def _take(self) -> Instance | None:
        with self._lock:
            # The one used last: its memory is most likely still in the processor's caches.
            return self._idle.pop() if self._idle else None

    @staticmethod
    def _restored(instance: Instance, snapshot: Snapshot | None) -> bool:
        try:
            if instance.reset(snapshot):
                return True
        except BaseException:
            instance.close()
            raise
        instance.close()
        return False
