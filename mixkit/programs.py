"""Programs: code, compiled once by the engine that is to run it, and kept for the runs to come."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from mixkit.contracts import Compiled
from mixkit.disk_cache import DiskCache
from mixkit.errors import NotFound
from mixkit.kernel_settings import KernelSettings
from mixkit.vm.idle import IdleInstances
from mixkit.vm.program import Program
from mixkit.vm.snapshot import SnapshotCache

__all__ = ["Code", "Programs"]

Code: TypeAlias = "Program | bytes | str | Path"


class Programs:
    """The programs of one kernel, the latest `settings.kernel.programs` of them. Thread-safe.

    Args:
        compile: `Kernel.compile`.
        own: how many there are to be, of instances and snapshots too.
        profile: its name; snapshots belong to it.

    Attributes:
        snapshots: what init made of them.
        idle: the instances that wait, and what they take together.
    """

    def __init__(self, compile: Callable[[bytes], Compiled], own: KernelSettings, profile: str) -> None:
        disk = None
        if own.snapshot_dir:
            disk = DiskCache(Path(own.snapshot_dir), own.snapshot_bytes, ".snapshot")
        self.snapshots = SnapshotCache(own.snapshots, own.snapshot_bytes, disk)
        self.idle = IdleInstances(own.idle_bytes, own.idle_mappings)
        self._compile = compile
        self._own = own
        self._profile = profile
        self._known: OrderedDict[str, Program] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, code: Code, name: str = "") -> Program:
        """See `Kernel.load`."""
        if isinstance(code, Program):
            return code
        if isinstance(code, str | Path):
            name = name or Path(code).name
            try:
                code = Path(code).read_bytes()
            except OSError as exc:
                raise NotFound(f"cannot read {str(name)!r}: {exc.strerror}") from None
        compiled = self._compile(code)
        module = compiled.module
        with self._lock:
            known = self._known.get(module.hash)
            if known is not None:
                self._known.move_to_end(module.hash)
                return known
        own = self._own
        made = Program(
            compiled.engine, module, name, self.snapshots, self._profile, own.idle_instances, self.idle
        )
        dropped: list[Program] = []
        with self._lock:
            program = self._known.setdefault(module.hash, made)
            while len(self._known) > own.programs:
                dropped.append(self._known.popitem(last=False)[1])
        for old in dropped:
            old.close()
        return program

    def close(self) -> None:
        """Free all instances, and forget everything."""
        for program in self._known.values():
            program.close()
        self._known.clear()
        self.snapshots.clear()
