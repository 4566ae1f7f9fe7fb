"""What `mixkit doctor` says of the database."""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mixkit.contracts import Check
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["checks"]

EXTENSIONS: Final = ("mix_db._files", "mix_db._given", "mix_db._index", "mix_db._native", "mix_db._version")


def checks(kernel: Any) -> list[Check]:
    """What decides how fast databases are, whether several processes can share them, and what can be imported."""
    found = [_extensions(), _bitmaps(), _checksums(), _parquet()]
    try:
        ws_dir: str | None = kernel.settings("server").ws_dir
    except (NotFound, AttributeError):
        ws_dir = None
    if ws_dir is not None and Path(ws_dir).is_dir():
        found.append(_locks(Path(ws_dir)))
    return found


def _extensions() -> Check:
    name = "database extensions"
    missing = [extension for extension in EXTENSIONS if not _is_there(extension)]
    if not missing:
        return Check(name, "ok", "the C implementations of the index and of reading rows")
    return Check(
        name,
        "warning",
        f"{' and '.join(missing)} not built: their twins in Python are several times slower",
        "install a wheel of mix-db, or a C compiler before pip builds it",
    )


def _bitmaps() -> Check:
    return _with("database bitmaps", "pyroaring", lambda module: f"CRoaring {module.__croaring_version__}")


def _checksums() -> Check:
    name = "database checksums"
    found = _with(name, "crc32c", lambda module: f"crc32c {module.__version__}, by the processor")
    if found.level == "ok" and not importlib.import_module("crc32c").hardware_based:
        return Check(
            name,
            "warning",
            "crc32c computes CRC-32C in software: opening and checking a database take longer",
            "use a processor with SSE 4.2 or the CRC instructions of ARMv8, and leave CRC32C_SW_MODE away",
        )
    return found


def _with(name: str, library: str, say: Callable[[Any], str]) -> Check:
    try:
        return Check(name, "ok", say(importlib.import_module(library)))
    except ImportError as exc:
        return Check(name, "error", f"{library} cannot be imported: {exc}", f"pip install {library}")


def _parquet() -> Check:
    name = "database Parquet"
    if importlib.util.find_spec("duckdb") is not None:
        return Check(name, "ok", "files can be imported and exported")
    return Check(
        name, "ok", 'not to be had, which only import and export miss; pip install "mix-db[parquet]"'
    )


def _locks(folder: Path) -> Check:
    """Whether what keeps two writers apart does so on the file system of the workspaces."""
    from mix_db.files.errors import LockTimeout
    from mix_db.files.lock import Hold

    name = "database locks"
    try:
        with tempfile.TemporaryDirectory(prefix=".mixkit-doctor-", dir=folder) as scratch:
            directory = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with Hold(directory, 0, "LOCK"), Hold(directory, 0, "LOCK"):
                    pass
            except LockTimeout:
                return Check(name, "ok", f"writers in {str(folder)!r} wait for each other")
            finally:
                os.close(directory)
    except OSError as exc:
        return Check(
            name,
            "error",
            f"nothing can be locked in {str(folder)!r}: {exc.strerror or exc}",
            "keep the workspaces in a folder that can be written, on a file system with flock",
        )
    return Check(
        name,
        "error",
        f"the file system of {str(folder)!r} gives one lock to two holders: two writers damage a database",
        "keep the workspaces on a local disk",
    )


def _is_there(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
