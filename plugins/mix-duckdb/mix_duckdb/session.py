"""SQL in a process of its own, as its callers see it.

    async with session(settings, deadline=budget.deadline, tables=tables) as sql:
        answer = await sql.query("select kind, count(*) from records group by kind", [])
        answer.columns                       # (Column("kind", "VARCHAR"), Column("count_star()", "BIGINT"))
        while (rows := await answer.rows()) is not None:  # maps of values, see `mix_duckdb.values`
            …

With `file` the session is one of the process that owns that database file, whichever of the server's processes asked
for it first; without, it has a process and a database in memory of its own, which ends with it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from mix_duckdb import processes
from mix_duckdb.client import Answer, Column, Late, Session, receive
from mix_duckdb.processes import OwnerLost, Process
from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.shared import Tables
from mix_duckdb.wire import Failed, Job, Ready, dump
from mixkit.errors import FFIError

__all__ = ["Answer", "Column", "Late", "OwnerLost", "Session", "open_session", "session"]

T = TypeVar("T", Process, Process | None)
_RETRY: Final = 0.01


class _Open:
    """How many sessions in memory this process has."""

    def __init__(self) -> None:
        self._counts: Counter[DuckdbSettings] = Counter()
        self._lock = threading.Lock()

    def add(self, settings: DuckdbSettings) -> None:
        with self._lock:
            if self._counts[settings] >= settings.processes:
                raise FFIError(
                    f"{settings.processes} runs have a database in memory, which is the limit of a process of the "
                    "server; the setting duckdb.processes raises it, or try again later"
                )
            self._counts[settings] += 1

    def remove(self, settings: DuckdbSettings) -> None:
        with self._lock:
            self._counts[settings] -= 1


_open = _Open()


def _forked() -> None:
    # Those that are open are the parent's.
    global _open
    _open = _Open()


os.register_at_fork(after_in_child=_forked)


@asynccontextmanager
async def session(
    settings: DuckdbSettings, *, deadline: float, file: Path | None = None, tables: Tables | None = None
) -> AsyncIterator[Session]:
    """A session, until the block ends.

    Args:
        deadline: `time.monotonic()` at which everything of it must have ended; 100 ms later its process is killed.
        file: `NAME.duckdb`, a database file of the app, made if it is not there; in a folder that is there, and that
            only this server writes.
        tables: what statements may name besides.

    Raises:
        FFIError: as many sessions as the settings allow are open, or the file cannot be opened.
        OwnerLost: the process cannot be started, or does not answer.
    """
    opened = await open_session(settings, deadline=deadline, file=file, tables=tables)
    try:
        yield opened
    finally:
        opened.close()


async def open_session(
    settings: DuckdbSettings, *, deadline: float, file: Path | None = None, tables: Tables | None = None
) -> Session:
    """As `session`; for callers that close it themselves."""
    opened = await (_in_memory(settings, deadline) if file is None else _of_file(settings, deadline, file))
    if tables is not None:
        opened.offer(tables)
    return opened


async def _in_memory(settings: DuckdbSettings, deadline: float) -> Session:
    counted = _open
    counted.add(settings)
    try:
        process = await _in_thread(partial(processes.take, settings))
    except BaseException:
        counted.remove(settings)
        raise
    opened = Session(settings, process, deadline, partial(counted.remove, settings))
    try:
        if not await _begin(opened, process, Job(), deadline):
            raise opened.garbled()
    except BaseException:
        opened.close()
        raise
    return opened


async def _of_file(settings: DuckdbSettings, deadline: float, file: Path) -> Session:
    """A session of the file's owner, which is started if there is none."""
    while time.monotonic() < deadline:
        process = await _in_thread(partial(processes.found, file.parent, file.stem))
        job = None
        if process is None:
            process = await _in_thread(partial(processes.take, settings, of_file=True))
            job = Job(str(file.parent), file.stem)
        opened = Session(settings, process, deadline)
        try:
            if await _begin(opened, process, job, deadline):
                return opened
        except BaseException:
            opened.close()
            raise
        opened.close()
        # Another process is about to be its owner, or about to end as such.
        await asyncio.sleep(_RETRY)
    raise OwnerLost("the process of the database file did not answer before the deadline")


async def _in_thread(function: Callable[[], T]) -> T:
    """What it answers. If nobody waits for that any more, it is closed."""
    future = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_unwanted)
        raise


def _unwanted(future: asyncio.Future[T]) -> None:
    if not future.cancelled() and future.exception() is None and (process := future.result()) is not None:
        process.close()


async def _begin(opened: Session, process: Process, job: Job | None, deadline: float) -> bool:
    """Whether the session is open. False for a file if it is to be tried again."""
    try:
        async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
            if job is not None:
                await asyncio.get_running_loop().sock_sendall(process.socket, dump(job))
            answer, _ = await receive(process.socket, 0)
    except TimeoutError:
        raise OwnerLost("the process of the database did not answer before the deadline") from None
    except (OSError, EOFError, ValueError):
        if job is not None:
            raise OwnerLost("the process of the database ended before it answered; try again") from None
        return False
    if isinstance(answer, Failed):
        raise FFIError(answer.message)
    if not isinstance(answer, Ready):
        return False
    opened.pid, opened.lacks = answer.pid, answer.lacks
    return True
