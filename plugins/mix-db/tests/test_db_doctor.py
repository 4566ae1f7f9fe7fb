"""What `mixkit doctor` says of the database, where something is missing too."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import Any

import crc32c
import pytest
from mix_db.doctor import EXTENSIONS, checks

from mixkit import Kernel
from mixkit.contracts import Check


def found(ws_dir: Path | None = None) -> dict[str, Check]:
    overrides = {} if ws_dir is None else {"settings.server.ws_dir": str(ws_dir)}
    profile = "test" if ws_dir is None else "agent_server"
    with Kernel(profile, overrides=overrides, environ={}) as kernel:
        plugins = kernel.manager.hook.mix_doctor(kernel=kernel)
        return {
            check.name.removeprefix("database "): check
            for answer in plugins
            for check in answer
            if check.name.startswith("database ")
        }


def test_all_is_well(tmp_path: Path) -> None:
    said = found(tmp_path)
    assert list(said) == ["extensions", "bitmaps", "checksums", "Parquet", "locks"]
    assert {check.level for name, check in said.items() if name not in ("extensions", "checksums")} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_locks_are_tried_where_the_workspaces_are(tmp_path: Path) -> None:
    assert "locks" not in found()
    assert "locks" not in found(tmp_path / "not yet")
    assert not (tmp_path / "not yet").exists()


@pytest.mark.parametrize("name", EXTENSIONS)
def test_what_was_not_built_is_a_warning(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # None is how Python marks a module that is not to be had.
    monkeypatch.setitem(sys.modules, name, None)
    check = found()["extensions"]
    assert (check.level, name in check.message) == ("warning", True)
    assert check.remedy


@pytest.mark.parametrize("name", ["pyroaring", "crc32c"])
def test_a_library_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    wrong = [check for check in found().values() if check.level == "error"]
    assert [check.remedy for check in wrong] == [f"pip install {name}"]


def test_checksums_in_software_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crc32c, "hardware_based", False)
    check = found()["checksums"]
    assert check.level == "warning"
    assert "SSE 4.2" in check.remedy


def test_parquet_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert "mix-db[parquet]" in found()["Parquet"].message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        check = found(tmp_path)["locks"]
    finally:
        tmp_path.chmod(0o700)
    assert check.level == "error"
    assert "Permission denied" in check.message


def test_a_file_system_whose_locks_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: None)
    check = checks(_Serving(tmp_path))[-1]
    assert (check.name, check.level) == ("database locks", "error")
    assert "local disk" in check.remedy


class _Serving:
    """A kernel, as far as the checks ask it: loading a real one takes locks of its own."""

    def __init__(self, ws_dir: Path) -> None:
        self.ws_dir = str(ws_dir)

    def settings(self, plugin: str) -> Any:
        assert plugin == "server"
        return self
