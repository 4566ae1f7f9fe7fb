"""Compiled code on disk: kept, shared, bounded, and never run when others could have written it."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest
import wasmtime
from mix_wasmtime.cache import CodeCache, default_directory
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.errors import EngineError
from mixkit.limits import Limits


def code(number: int) -> bytes:
    return bytes(wasmtime.wat2wasm(f'(module (func (export "f") (result i32) i32.const {number}))'))


def run(directory: Path, number: int = 7) -> object:
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir=str(directory)))
    instance = engine.instantiate(engine.compile(code(number)), Limits(), {})
    answer = instance.call("f")
    instance.close()
    return answer


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.cwasm"))


def test_compiled_code_is_kept_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "a" / "cache"
    assert run(directory) == 7
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (kept,) = files(directory)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    os.utime(kept, (1, 1))
    import mix_wasmtime.backend

    def refuse(*args: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(mix_wasmtime.backend.Compiled, "compile", refuse)
    assert run(directory) == 7
    assert kept.stat().st_mtime > time.time() - 60, "use is noted"
    with pytest.raises(AssertionError):
        run(directory, 8)


@pytest.mark.parametrize("at", [0, 7, 8, 39, 40, 41, 500, -1])
def test_a_damaged_file_is_discarded_and_written_again(tmp_path: Path, at: int) -> None:
    run(tmp_path)
    (kept,) = files(tmp_path)
    good = kept.read_bytes()
    bad = bytearray(good)
    bad[at] ^= 0x40
    kept.write_bytes(bad)
    assert run(tmp_path) == 7
    assert kept.read_bytes()[:8] == good[:8]
    assert run(tmp_path) == 7


@pytest.mark.parametrize("size", [0, 7, 40, 41, 300])
def test_a_cut_off_file_is_discarded(tmp_path: Path, size: int) -> None:
    run(tmp_path)
    (kept,) = files(tmp_path)
    kept.write_bytes(kept.read_bytes()[:size])
    assert run(tmp_path) == 7


def test_code_of_another_configuration_is_compiled_again(tmp_path: Path) -> None:
    run(tmp_path)
    (kept,) = files(tmp_path)
    cache = CodeCache(tmp_path, 1 << 30)
    cache.put(kept.stem, b"\x7fELF, but not what Wasmtime wrote" * 10, True)
    assert run(tmp_path) == 7


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_is_not_used(tmp_path: Path, mode: int) -> None:
    run(tmp_path)
    (kept,) = files(tmp_path)
    cache = CodeCache(tmp_path, 1 << 30)
    assert cache.get(kept.stem) is not None
    tmp_path.chmod(mode)
    assert cache.get(kept.stem) is None
    with pytest.raises(EngineError, match="written by others"):
        cache.check()
    assert run(tmp_path, 8) == 8
    assert files(tmp_path) == [kept]


def test_a_file_that_others_can_write_or_a_link_is_not_used(tmp_path: Path) -> None:
    run(tmp_path)
    (kept,) = files(tmp_path)
    cache = CodeCache(tmp_path, 1 << 30)
    kept.chmod(0o622)
    assert cache.get(kept.stem) is None
    kept.chmod(0o600)
    assert cache.get(kept.stem) is not None
    other = tmp_path / "elsewhere"
    kept.rename(other)
    kept.symlink_to(other)
    assert cache.get(kept.stem) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_not_used(tmp_path: Path) -> None:
    run(tmp_path)
    (kept,) = files(tmp_path)
    cache = CodeCache(tmp_path, 1 << 30)
    os.chown(kept, 12345, -1)
    assert cache.get(kept.stem) is None
    os.chown(kept, os.geteuid(), -1)
    os.chown(tmp_path, 12345, -1)
    assert cache.get(kept.stem) is None


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path, 3500)
    for index in range(3):
        cache.put(f"k{index}", bytes(1000), True)
        os.utime(tmp_path / f"k{index}.cwasm", (index, index))
    assert cache.get("k0") is not None
    cache.put("k3", bytes(1000), True)
    assert [path.stem for path in files(tmp_path)] == ["k0", "k2", "k3"]
    cache.put("huge", bytes(4000), True)
    assert [path.stem for path in files(tmp_path)] == ["k0", "k2", "k3"]


def test_writers_at_the_same_time_leave_whole_files(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path, 200_000)
    wrong: list[object] = []

    def work(number: int) -> None:
        for round_ in range(30):
            cache.put(f"k{round_ % 5}", bytes([round_ % 5]) * 20_000, round_ % 2 == 0)
            found = cache.get(f"k{(round_ + number) % 5}")
            if found is not None and found[0] != bytes([(round_ + number) % 5]) * 20_000:
                wrong.append(found[0][:10])

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
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    assert run(blocked / "cache") == 7
    assert "not used" in caplog.text


def test_the_default_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_directory() == Path("/somewhere/mixkit/wasmtime")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_directory() == Path("/home/somebody/.cache/mixkit/wasmtime")
