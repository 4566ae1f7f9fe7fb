"""The C library is in the wheel, whether that is built from the tree or by way of an sdist."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1]
SDK = PLUGIN.parents[1] / "sdk" / "c"

pytestmark = pytest.mark.slow


def run_backend(source: Path, out: Path, kind: str) -> Path:
    """Run the build backend on a folder, without network and without a fresh environment."""
    out.mkdir()
    code = f"import sys; from setuptools import build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(out.iterdir())


def library_in(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("mix_wasm/_sdk/")]
        return {Path(name).name: archive.read(name) for name in names}


def test_library_is_in_the_wheel_both_ways(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    tree = tmp_path / "tree" / "plugins" / "mix-wasm"
    shutil.copytree(PLUGIN, tree, ignore=ignored)
    shutil.copytree(SDK, tmp_path / "tree" / "sdk" / "c")
    expected = {path.name: path.read_bytes() for path in SDK.iterdir()}
    assert "mix.h" in expected
    assert library_in(run_backend(tree, tmp_path / "wheel", "wheel")) == expected

    shutil.unpack_archive(
        run_backend(tree, tmp_path / "sdist", "sdist"), tmp_path / "unpacked", filter="data"
    )
    unpacked = next((tmp_path / "unpacked").iterdir())
    assert library_in(run_backend(unpacked, tmp_path / "again", "wheel")) == expected
