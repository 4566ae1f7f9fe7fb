"""Instances of one module that wait for their next run, whatever the engine."""

from __future__ import annotations

from collections import deque

from mixkit.contracts import HostImports, Instance, Module, Snapshot, WasmEngine
from mixkit.errors import EngineError
from mixkit.limits import Limits
from mixkit.vm.idle import Home, IdleInstances

__all__ = ["InstancePool"]


class InstancePool:
    """Keeps up to `size` idle instances. Safe under threads; an instance belongs to one user at a time.

    Args:
        engine, module, limits, imports, max_result, suspends: as `WasmEngine.instantiate` takes them.
        size: how many idle instances are kept; 0 for a fresh one every time.
        idle: bounds what the instances of all pools take together.
    """

    def __init__(
        self,
        engine: WasmEngine,
        module: Module,
        limits: Limits,
        imports: HostImports,
        size: int,
        idle: IdleInstances,
        *,
        max_result: int | None = None,
        suspends: bool = False,
    ) -> None:
        self._engine = engine
        self._module = module
        self._limits = limits
        self._imports = imports
        self._size = size
        self._max_result = max_result
        self._suspends = suspends
        self._idle = idle
        self._home: Home = deque()
        self._restorable = 0

    def fresh(self) -> Instance:
        """A new instance, in the state right after instantiation.

        Raises:
            EngineError, LimitExceeded: as `WasmEngine.instantiate`.
        """
        return self._engine.instantiate(
            self._module,
            self._limits,
            self._imports,
            max_result=self._max_result,
            suspends=self._suspends,
        )

    def acquire(self, snapshot: Snapshot | None = None) -> Instance:
        """An instance whose readable state equals the snapshot, or the state right after instantiation.

        Raises:
            EngineError: the snapshot does not fit the module, or as `fresh`.
        """
        # Restored here and not in `release`: whoever gives one back has its answer and should not wait.
        while (instance := self._idle.take(self._home)) is not None:
            if self._restored(instance, snapshot):
                self._restorable = self._restorable or instance.footprint()[0]
                return instance
        instance = self.fresh()
        if snapshot is not None and not self._restored(instance, snapshot):
            raise EngineError("a fresh instance cannot be given the state of its own module's snapshot")
        self._restorable = max(self._restorable, instance.footprint()[0])
        return instance

    def release(self, instance: Instance, *, healthy: bool = True) -> int:
        """Give an instance back; answers the bytes of its memories.

        One that was interrupted or in which a call raised is not healthy: freed.
        """
        instance.owner = None
        footprint = instance.footprint()
        # Memories never shrink: one that has grown can be given no state of before.
        if not healthy or not self._size or footprint[0] > self._restorable > 0:
            self._idle.drop(instance)
            return footprint[0]
        instance.charge(None)
        self._idle.keep(instance, footprint, self._home, self._size)
        if not self._size:
            # The pool was closed meanwhile.
            self._idle.clear(self._home)
        return footprint[0]

    def __len__(self) -> int:
        """How many instances wait."""
        return len(self._home)

    def close(self) -> None:
        """Free the idle instances; those in use are freed when they are released."""
        self._size = 0
        self._idle.clear(self._home)

    def _restored(self, instance: Instance, snapshot: Snapshot | None) -> bool:
        try:
            if instance.reset(snapshot):
                return True
        except BaseException:
            self._idle.drop(instance)
            raise
        self._idle.drop(instance)
        return False
