"""SQL in a process of its own, as its callers see it.

    async with session(settings, deadline=budget.deadline, tables=tables) as sql:
        answer = await sql.query("select kind, count(*) from records group by kind", [])
        answer.columns                       # (Column("kind", "VARCHAR"), Column("count_star()", "BIGINT"))
        while stream := await answer.arrow():  # bytes: an Arrow IPC stream, schema and one batch
            …

With `file` the session is one of the process that owns that database file, whoever of the server's processes asked for
it first; without, it has a process and a database in memory of its own, which ends with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.shared import Tables

__all__ = ["Answer", "Column", "Session", "session"]


class Column(msgspec.Struct, frozen=True):
    """A column of an answer: its name, and its type as DuckDB spells it."""

    name: str
    type: str


class Answer(Protocol):
    """What the last of the statements answered.

    Attributes:
        columns: none if it answers no rows.
        changed: rows that it inserted, changed or deleted; None if it is no such statement.
    """

    columns: tuple[Column, ...]
    changed: int | None

    async def arrow(self) -> bytes | None:
        """The next batch as an Arrow IPC stream of its own; None after the last."""
        ...

    async def rows(self) -> list[dict[str, Any]] | None:
        """The next batch as maps of values (`mix_duckdb.values`); None after the last."""
        ...

    async def close(self) -> None:
        """Let go of what was not read. Twice is harmless."""
        ...


class Session(Protocol):
    """One connection. Statements of one session follow one another; an answer stays readable when others come."""

    async def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> Answer:
        """Execute the statements of the text, the parameters being for the last of them.

        Raises:
            FFIError: refused, or it failed; says where and what to do. Those before the failing one are done.
            LimitExceeded: the deadline, or another limit.
            OwnerLost: the process ended in the middle. What was committed is there, and the next session works.
        """
        ...


@asynccontextmanager
async def session(
    settings: DuckdbSettings, *, deadline: float, file: Path | None = None, tables: Tables | None = None
) -> AsyncIterator[Session]:
    """A session, until the block ends.

    Args:
        deadline: `time.monotonic()` at which everything of it must have ended; 100 ms later its process is killed.
        file: a database file of the app, made if it is not there; in a folder that only this server writes.
        tables: what statements may name besides.

    Raises:
        FFIError: as many sessions as the settings allow are open.
        OwnerLost: the process cannot be started.
    """
    opened: Session | None = None
    if opened is None:
        raise NotImplementedError
    yield opened
