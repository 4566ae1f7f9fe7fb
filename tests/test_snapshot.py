"""The snapshot cache: bounds, keys, the copy on disk; and that programs use it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.disk_cache import DiskCache
from mixkit.environment import Env
from mixkit.errors import EngineError
from mixkit.vm.snapshot import SnapshotCache, snapshot_key

Guest = Callable[..., bytes]


class Frozen:
    """A snapshot of so many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def to_bytes(self) -> bytes:
        return b"frozen" + bytes(self.size)


class Engine:
    """As much of an engine as the cache needs."""

    name = "scripted"
    version = "1"

    def load_snapshot(self, data: bytes) -> Frozen:
        if not data.startswith(b"frozen"):
            raise EngineError("damaged")
        return Frozen(len(data) - 6)


ENGINE: Any = Engine()


def held(cache: SnapshotCache, *keys: str) -> list[bool]:
    return [cache.get(key, ENGINE)[0] for key in keys]


def test_the_least_recently_used_goes_first() -> None:
    cache = SnapshotCache(2, 1000)
    cache.put("a", Frozen(1))
    cache.put("b", Frozen(1))
    cache.get("a", ENGINE)
    cache.put("c", Frozen(1))
    assert held(cache, "a", "b", "c") == [True, False, True]


def test_bytes_are_bounded_too() -> None:
    cache = SnapshotCache(100, 10)
    for key in "abc":
        cache.put(key, Frozen(4))
    assert held(cache, "a", "b", "c") == [False, True, True]
    assert cache.size == 8
    assert cache.put("b", Frozen(4))
    assert not cache.put("huge", Frozen(11))
    assert held(cache, "huge", "b") == [False, True]


def test_replacing_counts_once() -> None:
    cache = SnapshotCache(10, 100)
    for _ in range(5):
        cache.put("a", Frozen(40))
    assert (cache.size, len(cache)) == (40, 1)


def test_that_code_cannot_be_frozen_is_remembered() -> None:
    cache = SnapshotCache(10, 100)
    assert cache.get("a", ENGINE) == (False, None)
    assert not cache.put("a", None)
    assert cache.get("a", ENGINE) == (True, None)


def on_disk(folder: Path) -> SnapshotCache:
    return SnapshotCache(10, 100, DiskCache(folder, 1000, ".snapshot"))


def test_disk_outlives_the_cache_and_damage_is_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    on_disk(folder).put("a", Frozen(5))
    assert folder.stat().st_mode & 0o777 == 0o700
    known, snapshot = on_disk(folder).get("a", ENGINE)
    assert known and snapshot is not None and snapshot.size == 5
    (file,) = folder.iterdir()
    file.write_bytes(b"rubbish")
    assert on_disk(folder).get("a", ENGINE) == (False, None)
    assert not list(folder.iterdir())


def test_what_the_engine_refuses_is_thrown_away(tmp_path: Path) -> None:
    DiskCache(tmp_path, 1000, ".snapshot").put("a", b"of another engine")
    assert on_disk(tmp_path).get("a", ENGINE) == (False, None)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_fails_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = on_disk(tmp_path / "file" / "below")
    cache.put("a", Frozen(1))
    assert held(cache, "a") == [True]
    assert "is not used" in caplog.text


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    on_disk(tmp_path).put("a", Frozen(5))
    tmp_path.chmod(0o777)
    assert on_disk(tmp_path).get("a", ENGINE) == (False, None)


def test_the_folder_is_bounded_too(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, 300, ".snapshot")
    for n in range(10):
        disk.put(f"{n}", bytes(50))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 300
    assert disk.get("9") == bytes(50) and disk.get("0") is None


def test_keys_differ_by_everything_that_a_snapshot_belongs_to() -> None:
    keys = {
        snapshot_key("h1", ENGINE, "test", b""),
        snapshot_key("h2", ENGINE, "test", b""),
        snapshot_key("h1", ENGINE, "wasi", b""),
        snapshot_key("h1", ENGINE, "test", b"env"),
    }
    assert len(keys) == 4


def test_many_threads(tmp_path: Path) -> None:
    cache = SnapshotCache(5, 50, DiskCache(tmp_path, 10_000, ".snapshot"))
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for i in range(200):
                cache.put(f"{(n * i) % 11}", Frozen(i % 9))
                cache.get(f"{i % 11}", ENGINE)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(cache) <= 5 and 0 <= cache.size <= 50


INIT = """(func (export "mix_init") (param i32 i32)
  (call $log (i32.const 1) (i32.const 0) (i32.const 1)) (i32.store (i32.const 64) (i32.const 0x703)))"""


def test_another_process_starts_warm(guest: Guest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = guest(INIT, seven="(call $pair (i32.const 64) (i32.const 4))")
    caplog.set_level("DEBUG", "mix-vm")
    for _ in range(2):
        with Kernel("test", environ={}, overrides={"settings.kernel.snapshot_dir": str(tmp_path)}) as kernel:
            assert kernel.run_sync(code, "seven").value == 7
    assert len([record for record in caplog.records if record.name == "mix-vm"]) == 1


def test_another_environment_is_another_snapshot(kernel: Kernel, guest: Guest) -> None:
    code = guest(INIT, seven="(call $pair (i32.const 64) (i32.const 4))")
    for app in ("a", "b", "a"):
        kernel.run_sync(code, "seven", env=Env(app=app))
    assert len(kernel.programs.snapshots) == 2
