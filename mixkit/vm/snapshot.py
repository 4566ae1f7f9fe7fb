"""The cache of snapshots: machines frozen after init, so that a run begins with a copy and not with work."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict

from mixkit.contracts import Snapshot, WasmEngine
from mixkit.disk_cache import DiskCache
from mixkit.errors import EngineError

__all__ = ["SnapshotCache", "SnapshotKey", "snapshot_key"]

_log = logging.getLogger("mixkit.vm")
SnapshotKey = str


def snapshot_key(code_hash: str, engine: WasmEngine, profile: str, env: bytes) -> SnapshotKey:
    """What a snapshot belongs to: code, engine and its version, profile, and the environment seen by init."""
    digest = hashlib.sha256()
    for part in (code_hash, engine.name, engine.version, profile):
        digest.update(part.encode() + b"\0")
    digest.update(env)
    return digest.hexdigest()


class SnapshotCache:
    """Least recently used first out, bounded by count and bytes, safe under threads.

    Args:
        count: how many snapshots are kept in memory.
        size: how many bytes they may have together.
        disk: where they are kept for other workers and the next start, or None.
    """

    def __init__(self, count: int, size: int, disk: DiskCache | None = None) -> None:
        self._count = count
        self._limit = size
        self._disk = disk
        self._entries: OrderedDict[SnapshotKey, Snapshot | None] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes that are held in memory."""
        return self._bytes

    def at_hand(self, key: SnapshotKey) -> Snapshot | None:
        """The snapshot, if it is in memory."""
        try:
            # PERF: without the lock, as each run comes by here.
            self._entries.move_to_end(key)
            return self._entries[key]
        except KeyError:
            return None

    def get(self, key: SnapshotKey, engine: WasmEngine) -> tuple[bool, Snapshot | None]:
        """(known, snapshot). Known without a snapshot means that this code cannot be frozen."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return True, self._entries[key]
        loaded = self._load(key, engine)
        if loaded is not None:
            self._keep(key, loaded)
        return loaded is not None, loaded

    def put(self, key: SnapshotKey, snapshot: Snapshot | None) -> bool:
        """Keep a snapshot, or (None) that there can be none. Answers whether a later run can start from one."""
        kept = self._keep(key, snapshot)
        if snapshot is None:
            return False
        if self._disk is not None:
            self._disk.put(key, snapshot.to_bytes())
        return kept or self._disk is not None

    def clear(self) -> None:
        """Forget everything in memory."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _keep(self, key: SnapshotKey, snapshot: Snapshot | None) -> bool:
        size = snapshot.size if snapshot is not None else 0
        if size > self._limit:
            return False
        with self._lock:
            self._drop(key)
            self._entries[key] = snapshot
            self._bytes += size
            while len(self._entries) > self._count or self._bytes > self._limit:
                self._drop(next(iter(self._entries)))
        return True

    def _drop(self, key: SnapshotKey) -> None:
        if key in self._entries:
            snapshot = self._entries.pop(key)
            self._bytes -= snapshot.size if snapshot is not None else 0

    def _load(self, key: SnapshotKey, engine: WasmEngine) -> Snapshot | None:
        data = self._disk.get(key) if self._disk is not None else None
        if data is None:
            return None
        try:
            return engine.load_snapshot(data)
        except EngineError as exc:
            assert self._disk is not None
            _log.warning("discarding a snapshot: %s", exc)
            self._disk.discard(key)
            return None
