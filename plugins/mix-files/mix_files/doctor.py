"""What `mixkit doctor` says of files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from mix_files import ledger
from mix_files.ledger import Totals
from mix_files.settings import FilesSettings
from mixkit.contracts import Check
from mixkit.errors import NotFound

__all__ = ["checks"]


def checks(kernel: Any) -> list[Check]:
    """Which file system the profile names, how much an app may have, and whether the disk does what it must."""
    name: str | None = kernel.profile.filesystem
    if name is None:
        return [
            Check(
                "file system",
                "warning",
                "the profile names no file system, so $file_* fail",
                'set filesystem = "async"',
            )
        ]
    if name == "noop":
        return []
    settings: FilesSettings = kernel.settings("files")
    most = f"{settings.max_bytes} bytes" if settings.max_bytes else "any number of bytes"
    found = [Check("file system", "ok", f"{name}; an app has at most {most}")]
    if name == "s3":
        from mix_files.s3 import doctor

        return found + doctor.checks(settings)
    if name not in ("std", "async"):
        return found
    if name == "std" and "server" in kernel.profile.plugins:
        found.append(
            Check(
                "waiting",
                "warning",
                "with the file system std, requests wait while the disk does for another one",
                'set filesystem = "async"',
            )
        )
    try:
        ws_dir: str | None = kernel.settings("server").ws_dir
    except (NotFound, AttributeError):
        ws_dir = None
    if ws_dir is not None and Path(ws_dir).is_dir():
        found.append(_disk(ws_dir))
    return found


def _disk(folder: str) -> Check:
    """Whether names that differ in case alone are two, and a lock keeps others out."""
    name = "disk"
    try:
        with tempfile.TemporaryDirectory(prefix=".mixkit-doctor-", dir=folder) as scratch:
            (Path(scratch) / "a.f").touch()
            if (Path(scratch) / "A.f").exists():
                return Check(
                    name,
                    "error",
                    f"the file system of {folder!r} takes /a and /A for one file, which are two everywhere else",
                    "keep the workspaces on a file system that tells capital letters from small ones",
                )
            here = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with ledger.locked(here, lambda: Totals(0, 0)):
                    excluded = not _locked_again(Path(scratch))
            finally:
                os.close(here)
    except OSError as exc:
        return Check(
            name,
            "error",
            f"files cannot be kept in {folder!r}: {exc.strerror or exc}",
            "keep the workspaces in a folder that can be written, on a file system with flock",
        )
    if not excluded:
        return Check(
            name,
            "error",
            f"the file system of {folder!r} gives one lock to two holders: conditions and quotas do not hold",
            "keep the workspaces on a local disk",
        )
    return Check(name, "ok", f"names and locks in {folder!r} are as they must be")


def _locked_again(scratch: Path) -> bool:
    import fcntl

    with (scratch / "state").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
