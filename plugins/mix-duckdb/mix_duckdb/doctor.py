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
        version = asyncio.run(_version(settings))
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
    return [Check(name, "ok", f"DuckDB {version} answers after {milliseconds:.0f} ms; {limits}")]


async def _version(settings: DuckdbSettings) -> str:
    from mix_duckdb import processes
    from mix_duckdb.session import session

    try:
        async with session(settings, deadline=time.monotonic() + 10) as sql:
            rows = await (await sql.query("select version() as version")).rows()
            return str(rows[0]["version"]) if rows else "?"
    finally:
        processes.forget()
