"""Programs whose code is no Wasm module, and runs in one of its interpreter's."""

from __future__ import annotations

import hashlib
from functools import partial
from types import MappingProxyType
from typing import Any

from mixkit.contracts import Compiled, HostImports, Instance, Interpreter
from mixkit.limits import Limits
from mixkit.vm.idle import IdleInstances
from mixkit.vm.loop import Run
from mixkit.vm.manifest import Entry, Manifest, manifest_of
from mixkit.vm.program import Program
from mixkit.vm.snapshot import SnapshotCache

__all__ = ["InterpretedProgram"]


class InterpretedProgram(Program):
    """Code with its interpreter. Instances are those of the interpreter's module, frozen with the code in them, after
    its init, which is not told of an environment. A run gives way after each slice, and while it waits holds no thread.
    """

    _imports: HostImports = MappingProxyType({})

    def __init__(
        self,
        interpreter: Interpreter,
        code: bytes,
        compiled: Compiled,
        name: str,
        snapshots: SnapshotCache,
        profile: str,
        kept: int,
        idle: IdleInstances,
    ) -> None:
        self._interpreter = interpreter
        self._data = code
        self._code = interpreter.read(code)
        super().__init__(compiled.engine, compiled.module, name, snapshots, profile, kept, idle)
        self.hash = hashlib.sha256(code).hexdigest()
        self.suspends, self._instances_suspend = True, False

    def _read_manifest(self) -> Manifest:
        return manifest_of(self._interpreter.manifest(self._code), self.name or self._interpreter.name)

    def action(self, entry: str, name: str, *, queued: bool) -> Entry:
        """Actions have names of their own, which the machine knows."""
        known = name in self.manifest.entries
        return super().action(entry, name, queued=queued) if known else Entry(name)

    def _key(self, env: bytes, limits: Limits) -> str:
        # PERF: the machine was told its limit before it loaded the code, and need not be told in each run.
        return super()._key(f"{self.module.hash} {limits.memory}".encode(), limits)

    def _new_machine(self, instance: Instance, run: Run, env: bytes, fresh: bool, direct: bool) -> Any:
        machine = self._interpreter.machine(instance, self._code)
        if fresh:
            self._prepare(machine, run, partial(machine.load, self._data))
        return machine

    def _connect(self, machine: Any, run: Run) -> None:
        """Its calls are events."""

    def _freeze(self, key: str, machine: Any) -> bool:
        return self._snapshots.put(key, machine.instance.freeze())
