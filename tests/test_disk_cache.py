"""The folder of derived files: owned by one user, bounded, whole files only, damage thrown away."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mixkit.disk_cache import CacheError, DiskCache, default_directory


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", 1 << 20, ".x")


def kept(cache: DiskCache, content: bytes = b"content") -> Path:
    """The file of a fresh entry `k`."""
    cache.put("k", content)
    return cache.directory / "k.x"


def test_content_is_kept_for_the_owner_alone(cache: DiskCache) -> None:
    path = kept(cache)
    assert cache.get("k") == b"content"
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache.get("other") is None


@pytest.mark.parametrize("at", [0, 7, 8, 39, 40, -1])
def test_every_damaged_byte_is_noticed(cache: DiskCache, at: int) -> None:
    path = kept(cache)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)
    assert cache.get("k") is None
    assert not path.exists()


def test_every_cut_is_noticed(cache: DiskCache) -> None:
    for size in range(len(kept(cache).read_bytes())):
        path = kept(cache)
        path.write_bytes(path.read_bytes()[:size])
        assert cache.get("k") is None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_not_used(cache: DiskCache, mode: int) -> None:
    path = kept(cache)
    cache.directory.chmod(mode)
    assert cache.get("k") is None
    with pytest.raises(CacheError, match="written by others"):
        cache.check()
    cache.put("l", b"x")
    assert list(cache.directory.iterdir()) == [path]


def test_a_file_that_others_can_write_or_a_link_is_not_used(cache: DiskCache, tmp_path: Path) -> None:
    path = kept(cache)
    path.chmod(0o622)
    assert cache.get("k") is None
    path.chmod(0o600)
    assert cache.get("k") is not None
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.get("k") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_what_belongs_to_another_user_is_not_used(cache: DiskCache) -> None:
    path = kept(cache)
    os.chown(path, 12345, -1)
    assert cache.get("k") is None
    os.chown(path, os.geteuid(), -1)
    os.chown(cache.directory, 12345, -1)
    assert cache.get("k") is None


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 3500, ".x")

    def names() -> list[str]:
        return sorted(path.stem for path in tmp_path.iterdir())

    for index in range(3):
        cache.put(f"k{index}", bytes(1000))
        os.utime(tmp_path / f"k{index}.x", (index, index))
    assert cache.get("k0") is not None
    cache.put("k3", bytes(1000))
    assert names() == ["k0", "k2", "k3"]
    cache.put("huge", bytes(4000))
    assert names() == ["k0", "k2", "k3"]


def test_writers_at_the_same_time_leave_whole_files(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 200_000, ".x")
    wrong: list[bytes] = []

    def work(number: int) -> None:
        for turn in range(30):
            cache.put(f"k{turn % 5}", bytes([turn % 5]) * 20_000)
            found = cache.get(f"k{(turn + number) % 5}")
            if found is not None and found != bytes([(turn + number) % 5]) * 20_000:
                wrong.append(found[:10])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_cache_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    cache = DiskCache(tmp_path / "file" / "cache", 1000, ".x")
    for _ in range(3):
        cache.put("k", b"x")
        assert cache.get("k") is None
    assert caplog.text.count("is not used") == 1


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_directory("wasmtime") == Path("/somewhere/mixkit/wasmtime")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_directory("wasmtime") == Path("/home/somebody/.cache/mixkit/wasmtime")
