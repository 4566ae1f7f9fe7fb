"""What `mixkit doctor` says about SQL."""

from __future__ import annotations

import time

from mix_duckdb.settings import DuckdbSettings
from mixkit.contracts import Check
from mixkit.errors import MixError

__all__ = ["checks"]


def checks(settings: DuckdbSettings) -> list[Check]:
    """The findings: whether a process for SQL can be started and answers, and what it may use."""
    import asyncio

    name = "duckdb process"
    began = time.monotonic()
    try:
        version, lacks = asyncio.run(_version(settings))
    except MixError as exc:
        return [
            Check(
                name,
                "error",
                f"SQL cannot be run: {exc}",
                "see whether `python -c 'import duckdb, pyarrow'` works, and whether settings.duckdb.process_memory "
                "leaves room for it",
            )
        ]
    milliseconds = (time.monotonic() - began) * 1000
    limits = (
        f"{settings.memory_limit >> 20} MiB of {settings.process_memory >> 20}, {settings.threads} threads"
    )
    findings = [Check(name, "ok", f"DuckDB {version} answers after {milliseconds:.0f} ms; {limits}")]
    if lacks:
        findings.append(
            Check(
                "duckdb confinement",
                "warning",
                f"this system does not have {' and '.join(lacks)}: SQL is held by the settings and limits of its "
                "process alone",
                "run on Linux 5.13 or newer, in a container that lets processes confine themselves",
            )
        )
    else:
        findings.append(
            Check("duckdb confinement", "ok", "processes for SQL reach no file, network or process")
        )
    return findings


async def _version(settings: DuckdbSettings) -> tuple[str, list[str]]:
    from mix_duckdb import processes
    from mix_duckdb.session import session

    try:
        async with session(settings, deadline=time.monotonic() + 10) as sql:
            rows = await (await sql.query("select version() as version")).rows()
            return str(rows[0]["version"]) if rows else "?", sql.lacks
    finally:
        processes.forget()
