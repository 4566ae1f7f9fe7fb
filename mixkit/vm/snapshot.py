"""The cache of snapshots: machines frozen after init, so that a run begins with a copy and not with work."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

from mixkit.contracts import Snapshot, WasmEngine
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
        directory: where they are kept for other workers and the next start, or None. Its files are as trusted
            as the code cache: it must belong to this user alone.
    """

    def __init__(self, count: int, size: int, directory: Path | None = None) -> None:
        self._count = count
        self._limit = size
        self._directory = directory
        self._entries: OrderedDict[SnapshotKey, Snapshot | None] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes that are held in memory."""
        return self._bytes

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

    def put(self, key: SnapshotKey, snapshot: Snapshot | None) -> None:
        """Keep a snapshot, or (None) that there can be none."""
        self._keep(key, snapshot)
        if snapshot is not None and self._directory is not None:
            self._save(key, snapshot, self._directory)

    def clear(self) -> None:
        """Forget everything in memory."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _keep(self, key: SnapshotKey, snapshot: Snapshot | None) -> None:
        size = snapshot.size if snapshot is not None else 0
        if size > self._limit:
            return
        with self._lock:
            self._drop(key)
            self._entries[key] = snapshot
            self._bytes += size
            while len(self._entries) > self._count or self._bytes > self._limit:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: SnapshotKey) -> None:
        if key in self._entries:
            snapshot = self._entries.pop(key)
            self._bytes -= snapshot.size if snapshot is not None else 0

    def _load(self, key: SnapshotKey, engine: WasmEngine) -> Snapshot | None:
        if self._directory is None:
            return None
        path = self._directory / f"{key}.snapshot"
        try:
            return engine.load_snapshot(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, EngineError) as exc:
            _log.warning("discarding the snapshot %s: %s", path, exc)
            path.unlink(missing_ok=True)
            return None

    def _save(self, key: SnapshotKey, snapshot: Snapshot, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=directory)
            with os.fdopen(handle, "wb") as file:
                file.write(snapshot.to_bytes())
            os.replace(name, directory / f"{key}.snapshot")
        except OSError as exc:
            # A run does not fail because a cache cannot be written.
            _log.warning("cannot keep a snapshot in %s: %s", directory, exc)
