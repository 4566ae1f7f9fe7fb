"""DuckDB, closed against what SQL may try. Imported in the processes that run it, and nowhere else."""

from __future__ import annotations

import os
import resource
from typing import Any

from mix_duckdb.settings import DuckdbSettings

__all__ = ["bound", "connect", "reason"]

MIB = 1024 * 1024


def connect(settings: DuckdbSettings, path: str = "") -> Any:
    """A new instance: in memory, or of a file that nobody else has open.

    Raises:
        duckdb.Error: the file cannot be opened.
    """
    import duckdb

    # 2.0 starts eight threads for files otherwise, before any setting can be made.
    connection = duckdb.connect(path or ":memory:", config={"threads": settings.threads, "async_threads": 0})
    steps = [
        f"memory_limit='{settings.memory_limit // 1024}KiB'",
        "temp_directory=''",  # Else it spills into the current folder.
        f"max_execution_time={max(1, round(settings.statement_time * 1000))}",
        "python_enable_replacements=false",
        "allow_persistent_secrets=false",
        "secret_directory=''",
        "TimeZone='UTC'",
    ]
    if not path:
        # Not with a file: commits need it.
        steps.append("disabled_filesystems='LocalFileSystem'")
    steps += ["enable_external_access=false", "lock_configuration=true"]
    for step in steps:
        connection.execute(f"SET {step}")
    return connection


def bound(settings: DuckdbSettings, statm: int, more: int) -> None:
    """Limit the address space of this process: to what it has, what the settings allow, and so much more.

    DuckDB's own limit does not bind all that functions of SQL make.

    Args:
        statm: a descriptor of `/proc/self/statm`.
    """
    pages = int(os.pread(statm, 64, 0).split()[0])
    size = pages * resource.getpagesize() + settings.process_memory + more
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def grow(size: int) -> None:
    """Raise that limit, for what is mapped on the server's order; below zero, when that is gone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (soft + size, hard))


def reason(exc: BaseException, folder: str) -> str:
    """What DuckDB says, without paths of the host."""
    text = str(exc).strip() or type(exc).__name__
    for path in {folder, os.path.realpath(folder)} if folder else ():
        text = text.replace(path + "/", "").replace(path, "")
    return text[:2_000]
