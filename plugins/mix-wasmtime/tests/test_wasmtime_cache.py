"""Compiled code on disk: kept, found again, and compiled anew when what is there cannot be used."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
import wasmtime
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.disk_cache import DiskCache
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
    DiskCache(tmp_path, 1 << 30, ".cwasm").put(kept.stem, b"\x01\x7fELF, but not what Wasmtime wrote" * 10)
    assert run(tmp_path) == 7


def test_a_cache_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    assert run(blocked / "cache") == 7
    assert "not used" in caplog.text
