"""mix-duckdb: what a process of its own costs a statement, how soon there is one, and when a hostile statement ends.

    python benchmarks/bench_duckdb.py [--json] [--repeats N]

`owner` is a statement in the process of a database file, `connection` the same on a connection inside of this one, with
the same settings; both answer rows. The contenders take turns, all of one table comes from one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from loopback import medians
from mix_duckdb import processes
from mix_duckdb.engine import connect
from mix_duckdb.session import Late, open_session, session
from mix_duckdb.settings import DuckdbSettings

SETTINGS = DuckdbSettings()
MADE = "create table t as select i, i * 1.5::double as f, 'n' || i as s, i::decimal(10, 2) as d from range(1000) t (i)"
STATEMENTS: dict[str, tuple[str, list[Any]]] = {
    "select 42, ?": ("select 42 as x, ? as y", ["hi"]),
    "by key, of 1,000": ("select i, f, s from t where i = ?", [7]),
    "aggregate": ("select count(*), sum(i), avg(f) from t", []),
    "100 rows of 4": ("select i, f, s, d from t limit 100", []),
    "insert": ("insert into other values (?)", [1]),
}
CALLS = 50
ENDLESS = "select count(*) from range(1_000_000_000_000)"


async def statements(folder: Path, repeats: int) -> dict[str, float]:
    """Milliseconds of one statement, here and there."""
    inside = connect(SETTINGS, str(folder / "inside.duckdb"))
    for text in (MADE, "create table other (a int)"):
        inside.execute(text).fetchall()
    result: dict[str, float] = {}
    async with session(SETTINGS, deadline=time.monotonic() + 600, file=folder / "main.duckdb") as sql:
        await sql.query(f"{MADE}; create table other (a int)")
        for name, (text, params) in STATEMENTS.items():

            async def connection(text: str = text, params: list[Any] = params) -> None:
                for _ in range(CALLS):
                    inside.execute(text, params).fetchall()

            async def owner(text: str = text, params: list[Any] = params) -> None:
                for _ in range(CALLS):
                    await (await sql.query(text, params)).rows()

            taken = await medians({"connection": connection, "owner": owner}, repeats)
            result |= {f"{name}: {who}": seconds / CALLS * 1000 for who, seconds in taken.items()}
    inside.close()
    return result


async def starts(folder: Path, repeats: int) -> dict[str, float]:
    """Milliseconds until the first row, of a server's first process and of later ones."""

    async def first() -> None:
        processes.forget()
        await one(None)

    async def one(file: Path | None) -> None:
        async with session(SETTINGS, deadline=time.monotonic() + 60, file=file) as sql:
            assert await (await sql.query("select 1 as a")).rows() == [{"a": 1}]

    async def memory() -> None:
        await one(None)

    async def owned() -> None:
        await one(folder / "main.duckdb")

    async def spare() -> None:
        await asyncio.sleep(0.5)  # Until there is a spare process.

    contenders: dict[str, Callable[[], Awaitable[None]]] = {
        "first": first,
        "-": spare,
        "in memory": memory,
        "of a file with an owner": owned,
    }
    taken = await medians(contenders, repeats)
    return {name: seconds * 1000 for name, seconds in taken.items() if name != "-"}


async def deadlines(folder: Path, repeats: int) -> dict[str, float]:
    """Milliseconds after its deadline at which a statement ended: one that hears an interrupt, one that does not."""
    late: dict[str, list[float]] = {"interrupted": [], "killed": []}
    for name in late:
        for at in range(repeats):
            deadline = time.monotonic() + 0.5
            opened = await open_session(SETTINGS, deadline=deadline, file=folder / f"{name}{at}.duckdb")
            running = asyncio.create_task(opened.query(ENDLESS))
            await asyncio.sleep(0.1)
            if name == "killed":
                os.kill(opened.pid, signal.SIGSTOP)
            try:
                await running
            except Late:
                late[name].append((time.monotonic() - deadline) * 1000)
            opened.close()
    return {name: statistics.median(found) for name, found in late.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for measure in (statements, starts, deadlines):
            result[measure.__name__] = asyncio.run(measure(Path(folder), options.repeats))
    processes.forget()
    if options.json:
        print(json.dumps(result))
        return
    for title, found in result.items():
        print(f"{title}, ms")
        for name, value in found.items():
            note = ""
            if name.endswith(": owner"):
                note = f"   {value - found[name.replace('owner', 'connection')]:+.2f}"
            print(f"  {name:32} {value:8.2f}{note}")


if __name__ == "__main__":
    main()
