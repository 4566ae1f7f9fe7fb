"""A program: compiled guest code with its entries, and the instances that wait for its next run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from mixkit.contracts import HostImports, Instance, Module, Snapshot, WasmEngine
from mixkit.errors import GuestError, NotFound
from mixkit.limits import Limits
from mixkit.near import meant
from mixkit.schema import ANY
from mixkit.shape import Declared
from mixkit.vm import interface
from mixkit.vm.guest import HOST_IMPORTS, GuestMachine, SuspendedMachine
from mixkit.vm.idle import IdleInstances
from mixkit.vm.loop import Run, Steps, Where
from mixkit.vm.manifest import Entry, Manifest, read_manifest
from mixkit.vm.pool import InstancePool
from mixkit.vm.snapshot import SnapshotCache, snapshot_key

__all__ = ["Program"]

_MUCH_MEMORY = 16 << 20
"""Bytes of memory with which a guest is run in a thread: to make one may copy as much."""


class _InitHost:
    """What a guest may do before its entry: log, within the run's limits, and nothing that a snapshot freezes."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def call(self, name: bytes, words: bytes) -> bytes:
        raise GuestError(
            f"{name.decode('utf-8', 'replace')} was called while the guest initialises or resumes; "
            "FFIs are for entries, since what init does is frozen and shared",
            trap="interface",
        )

    def call_quick(self, name: bytes, words: bytes) -> bytes:
        return self.call(name, words)

    def log(self, level: int, message: str) -> None:
        self._run.log(level, message)

    def sleep(self, seconds: float) -> None:
        self._run.sleep(seconds)


class Program:
    """Compiled code, usable from any thread for any number of runs.

    Attributes:
        name: for people: a file, or `app/agent`.
        hash: SHA-256 of the code, hex.
        manifest: entries, description, requested grants.
        answers: checks of results, of those entries that declare one.
        suspends: whether its runs hold no thread while they wait.
    """

    _imports: HostImports = HOST_IMPORTS

    def __init__(
        self,
        engine: WasmEngine,
        module: Module,
        name: str,
        snapshots: SnapshotCache,
        profile: str,
        kept: int,
        idle: IdleInstances,
    ) -> None:
        self.engine = engine
        self.module = module
        self.name = name
        self.hash = module.hash
        self.manifest: Manifest = self._read_manifest()
        self._resumes = "mix_resume" in module.exports
        self._snapshots = snapshots
        self._profile = profile
        self._kept = kept
        self._idle = idle
        self._pools: dict[tuple[int, int, int, int], InstancePool] = {}
        self._keys: dict[bytes, str] = {}
        self.suspends = self._instances_suspend = engine.suspends
        self._has_much = False
        self._lock = threading.Lock()
        self.answers: dict[str, Declared] = {
            entry.name: Declared(entry.result)
            for entry in self.manifest.entries.values()
            if entry.result != ANY
        }
        self._params: dict[str, Declared] = {
            entry.name: Declared(entry.params)
            for entry in self.manifest.entries.values()
            if entry.params != ANY
        }

    def _read_manifest(self) -> Manifest:
        manifest = read_manifest(self.module)
        interface.check(self.module)
        return manifest

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries by name. Empty for a guest without a manifest that dispatches names by itself."""
        return dict(self.manifest.entries)

    def entry(self, name: str) -> Entry:
        """The entry of that name. `NotFound` lists the others."""
        entry = self.manifest.entries.get(name)
        if entry is None:
            if not self.manifest.entries:
                return Entry(name)
            known = ", ".join(sorted(self.manifest.entries))
            near = meant(name, self.manifest.entries)
            raise NotFound(f"{self.name or 'the code'} has no entry {name!r}; it has {known}{near}")
        return entry

    def action(self, entry: str, name: str, *, queued: bool) -> Entry:
        """What an action of that name enters, of an entry that answered it, or whose run has `queued` it.

        Raises:
            NotFound: it is none of the entry's. Other entries are no actions of it, unless the code itself queued
                them: who may run one agent may not for that run another one.
        """
        if name != entry and not queued:
            raise NotFound(f"the entry {entry!r} has no action {name!r:.80}; an action of it enters it again")
        return self.entry(name)

    def check_params(self, name: str, params: object) -> object:
        """The parameters as the entry's declared types want them, or `Mismatch`."""
        declared = self._params.get(name)
        return params if declared is None else declared(params)

    def takes(self, name: str, words: bytes) -> bool:
        """Whether codec words are parameters as the entry's declared types want them; if not, `check_params` says."""
        declared = self._params.get(name)
        return declared is None or declared.fits(words)

    def steps(self, run: Run, entry: Entry, words: bytes, env: bytes, limits: Limits) -> Steps[bytes]:
        """Run an entry in an instance that equals the state after init.

        Args:
            run: its deadline and its FFIs.
            words: codec words of the parameters.
            env: codec words of the static environment, which init has seen.

        Returns:
            Codec words of the result.
        """
        pool = self._pool(limits)
        key = self._key(env, limits)
        known, snapshot = True, self._snapshots.at_hand(key)
        if snapshot is None or self._resumes or self._has_much:
            # The guest runs before its entry, or much memory is copied, or a file is read.
            yield Where.THREAD
            known, snapshot = self._snapshots.get(key, self.engine)
        machine, frozen = self._machine(pool, run, env, key, known, snapshot, direct=entry.direct)
        try:
            self._connect(machine, run)
            result: bytes = yield from run.steps(machine, entry.name, words)
        except BaseException:
            machine.leave()
            raise
        finally:
            # A stop that came just after the last step has marked the instance: its next call would trap. Without
            # a snapshot every run takes a fresh instance, and nothing would ever take this one.
            healthy = frozen and machine.healthy and run.stopped is None
            if pool.release(machine.instance, healthy=healthy) > _MUCH_MEMORY:
                self._has_much = True
        return result

    def close(self) -> None:
        """Free the waiting instances."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def _pool(self, limits: Limits) -> InstancePool:
        key = (limits.memory, limits.table, limits.stack, limits.result_size)
        pool = self._pools.get(key)
        if pool is None:
            with self._lock:
                pool = self._pools.get(key)
                if pool is None:
                    pool = InstancePool(
                        self.engine,
                        self.module,
                        limits,
                        self._imports,
                        self._kept,
                        self._idle,
                        max_result=limits.result_size,
                        suspends=self._instances_suspend,
                    )
                    self._pools[key] = pool
        return pool

    def _key(self, env: bytes, limits: Limits) -> str:
        """Under which the snapshot is kept of what init makes of that environment, whatever the limits are."""
        key = self._keys.get(env)
        if key is None:
            key = snapshot_key(self.hash, self.engine, self._profile, env)
            if len(self._keys) < 1000:
                self._keys[env] = key
        return key

    def _machine(
        self,
        pool: InstancePool,
        run: Run,
        env: bytes,
        key: str,
        known: bool,
        snapshot: Snapshot | None,
        *,
        direct: bool,
    ) -> tuple[Any, bool]:
        """A machine after init, and whether there is a snapshot to which its instance can be reset."""
        instance = pool.fresh() if snapshot is None else pool.acquire(snapshot)
        try:
            run.charge(instance)
            machine = self._new_machine(instance, run, env, snapshot is None, direct)
            # Where memory was refused, init may have made do with less than another run has.
            frozen = snapshot is not None or (not (known or run.purse[1]) and self._freeze(key, machine))
            if self._resumes:
                self._prepare(machine, run, machine.resume)
        except BaseException:
            pool.release(instance, healthy=False)
            raise
        return machine, frozen

    def _new_machine(self, instance: Instance, run: Run, env: bytes, fresh: bool, direct: bool) -> Any:
        """A machine on an instance; on a fresh one after its init."""
        machine = (SuspendedMachine if self.suspends else GuestMachine)(instance, run, direct=direct)
        if fresh:
            self._prepare(machine, run, partial(machine.initialize, env))
        return machine

    def _connect(self, machine: Any, run: Run) -> None:
        """The run is what the machine's calls of its host go to."""
        machine.host = run

    def _freeze(self, key: str, machine: Any) -> bool:
        # Random numbers drawn in init, and seeds made from the clock, would be the same in every run that starts
        # from the snapshot, unless the guest makes new ones when it resumes.
        repeats = machine.unique and not self._resumes
        return self._snapshots.put(key, None if repeats else machine.instance.freeze())

    @classmethod
    def _prepare(cls, machine: Any, run: Run, work: Callable[[], None]) -> None:
        """Run guest code that comes before the entry: stopped with the run, and without its FFIs."""
        if isinstance(machine, GuestMachine):
            machine.host = _InitHost(run)
        run.attach(machine.instance)
        try:
            work()
        except GuestError:
            if run.stopped is not None:
                raise run.stopped from None
            raise
        finally:
            run.attach(None)
