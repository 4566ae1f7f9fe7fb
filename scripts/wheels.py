"""Builds the wheels of the kernel and of all plugins, straight from the tree, into a folder.

Not through source distributions: the kernel's `profiles/` and the guest SDKs stand outside of the packages that
ship them, for their readers. Usage: `python scripts/wheels.py [FOLDER]`, by default dist/wheels.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IGNORED = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "build",
    "dist",
    "*.egg-info",
    "*.so",
    "*.o",
    "uv.lock",
)


def distributions() -> list[Path]:
    """Folders of all distributions, the kernel first, relative to the root."""
    return [Path(), *sorted(path.parent.relative_to(ROOT) for path in ROOT.glob("plugins/*/pyproject.toml"))]


def build(target: Path, folders: Sequence[Path] | None = None, *, quiet: bool = False) -> list[Path]:
    """Build the wheels of the distributions and answer their paths.

    Builds in a copy of the tree, so that no stale `build/` slips into a wheel, and two builds at once do not meet.

    Args:
        target: folder for the wheels; made if missing.
        folders: what to build, relative to the root or absolute; everything unless given.
        quiet: no progress on stdout.

    Raises:
        RuntimeError: a build failed; the message holds its output.
    """
    target.mkdir(parents=True, exist_ok=True)
    folders = distributions() if folders is None else folders
    wheels: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="mixkit-wheels-") as scratch:
        tree = Path(scratch, "tree")
        shutil.copytree(ROOT, tree, ignore=IGNORED, symlinks=True)
        for number, folder in enumerate(folders, 1):
            if not quiet:
                print(f"[{number}/{len(folders)}] {folder.name or 'mixkit'} …", end=" ", flush=True)
            started = time.monotonic()
            wheel = _build_one(tree / folder, Path(scratch, f"out-{number}"))
            wheels.append(Path(shutil.copy2(wheel, target)))
            if not quiet:
                print(f"{wheel.name} ({time.monotonic() - started:.1f} s)", flush=True)
    return wheels


def _build_one(source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the build of {source} failed:\n{done.stdout}")
    return next(out.glob("*.whl"))


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / "wheels"
    for old in target.glob("mix*.whl"):
        old.unlink()
    try:
        build(target)
    except RuntimeError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"install with: pip install --find-links {target} 'mixkit[agent_server]'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
