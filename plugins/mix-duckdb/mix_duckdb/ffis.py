"""`$duckdb_query`, `$duckdb_execute`, `$duckdb_next`, `$duckdb_close`, `$duckdb_attach`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from mix_duckdb.files import OPTION, check_name, file_names, file_of
from mix_duckdb.settings import DuckdbSettings
from mixkit import codec
from mixkit.errors import FFIError
from mixkit.ffi import FFIGroup
from mixkit.importing import imported
from mixkit.sql import tables_of
from mixkit.state import State
from mixkit.value import Case, Ref, Result, Token

if TYPE_CHECKING:
    import asyncio

    from mix_duckdb.session import Answer, Session
    from mix_duckdb.shared import Tables
    from mixkit.storage import Reader

__all__ = ["group"]

Db: TypeAlias = Annotated[
    str | None, "a database file of the app, made when it is first named; null is one in memory, of this run"
]
Params: TypeAlias = Annotated[
    list[Any] | dict[str, Any] | None, "an array for ? and $1, a map for $name; all that comes from users"
]

group = FFIGroup(
    "duckdb",
    options={OPTION: 'names of the database files that may be used, as ["main"]; one in memory always may'},
    checks={OPTION: file_names},
)


_BESIDE: Final = 20_000
"""Bytes, and values, that the answer of a call has beside its rows."""
_PREFIX: Final = re.compile(r"\w{0,64}")


class DuckdbRows:
    """Rows that a run has not read yet."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Sessions:
    """Those of a run: one in memory, and one of each file that it names."""

    def __init__(self) -> None:
        self._open: dict[str | None, Session] = {}
        self._opening: dict[str | None, asyncio.Lock] = {}
        self._attached: dict[str | None, dict[str, Tables]] = {}
        self._closed = False

    async def get(self, state: State, db: str | None) -> Session:
        """The session of a database, opened when it is first asked for.

        Raises:
            FFIError: it cannot be had.
        """
        found = self._open.get(db)
        if found is not None and not found.closed:
            return found
        import asyncio

        await imported("mix_duckdb.session")
        from mix_duckdb.session import open_session

        async with self._opening.setdefault(db, asyncio.Lock()):
            found = self._open.get(db)
            if found is not None and not found.closed:
                return found
            settings = _settings(state)
            file = None if db is None else await asyncio.to_thread(file_of, state.place, db, settings)
            opened = await open_session(settings, deadline=state.budget.deadline, file=file)
            if self._closed:
                opened.close()
            for tables in self._attached.get(db, {}).values():
                opened.offer(tables)
            self._open[db] = opened
            return opened

    def attach(self, db: str | None, tables: Tables, prefix: str) -> None:
        """Let the statements of a database name more tables; of two of one name the later is meant."""
        # Kept, too, for the session that takes the place of one whose process was killed.
        self._attached.setdefault(db, {})[prefix] = tables
        found = self._open.get(db)
        if found is not None and not found.closed:
            found.offer(tables)

    def close(self) -> None:
        self._closed = True
        for session in self._open.values():
            session.close()


@group.register("$duckdb_query")
async def duckdb_query(
    state: State,
    db: Db,
    sql: Annotated[str, "one statement, or several of which the last answers"],
    params: Params = None,
) -> Result[dict[str, Any]]:
    """Execute SQL and answer `{columns, rows, next}`: name and DuckDB type of each column as `{name, type}`, the
    first rows as maps, and a handle for `$duckdb_next`, null if these are all. Values are made by declared type.

    As `$duckdb_query(null, "select kind, count(*) as n from range(10) t (kind) group by kind", [])`.
    """
    answer = await _execute(state, db, sql, params)
    rows = await answer.rows() or []
    state.budget.spend("database_rows", len(rows))
    handle = None if answer.done else state.hold(DuckdbRows(answer), lambda held: held.answer.close())
    columns = [{"name": column.name, "type": column.type} for column in answer.columns]
    return {"columns": columns, "rows": rows, "next": handle}


@group.register("$duckdb_execute")
async def duckdb_execute(
    state: State, db: Db, sql: Annotated[str, "one statement or several"], params: Params = None
) -> Result[int | None]:
    """Execute SQL, all or nothing understood before any of it is done. Answers how many rows the last statement
    inserted, changed or deleted; null if it is another. Parameters are for the last one."""
    answer = await _execute(state, db, sql, params)
    answer.close()
    return answer.changed


@group.register("$duckdb_next")
async def duckdb_next(state: State, next: Token) -> Result[list[dict[str, Any]]]:
    """The next rows of an answer, none when there are no more. They are of the state that the query began with."""
    held = state.held(next, DuckdbRows)
    with _timed(state):
        rows = await held.answer.rows() or []
    state.budget.spend("database_rows", len(rows))
    return rows


@group.register("$duckdb_attach")
async def duckdb_attach(
    state: State,
    db: Db,
    app: Annotated[str | None, "another app, that the grants open; null is the app itself"] = None,
    as_of: Annotated[str | int | None, "a watermark, or Unix milliseconds; null is now"] = None,
    prefix: Annotated[str, "stands before each name, as `shop_`"] = "",
) -> Result[list[str]]:
    """Let the statements of a database name the records of an app as they are now: a table for each type, `records`
    for all. Answers the names. A table is made when it is first named.

    As `$duckdb_attach(null)`, and then `$duckdb_query(null, "select kind, count(*) as n from records group by kind")`.
    """
    if db is not None:
        check_name(db, state.grants)
    if not _PREFIX.fullmatch(prefix):
        raise FFIError(
            f"argument 4 (prefix): expected at most 64 letters, digits and _, found {prefix!r:.100}"
        )
    if app is not None:
        place = state.place_of(app)
    elif state.place is not None:
        place = state.place
    else:
        raise FFIError(
            "this run has no records of its own: code that is no agent of an installed app has none, unless whoever "
            "runs it says where (`mixkit run --database`)"
        )
    import asyncio

    await imported("mix_duckdb.records")
    from mix_duckdb.records import RecordsOf, cache_of

    def opened() -> RecordsOf:
        database = state.services.databases.open(place)
        reader: Reader = database if as_of is None else database.as_of(as_of)
        found = tables_of(reader)
        return RecordsOf(found, found.names(), cache_of(_settings(state)), prefix)

    tables = await asyncio.to_thread(opened)
    sessions = state.get(Sessions) or state.put(Sessions(), Sessions.close)
    sessions.attach(db, tables, prefix)
    return sorted(tables.names())


@group.register("$duckdb_close")
def duckdb_close(state: State, next: Token) -> None:
    """Let go of the rows that were not read. Twice is harmless; the end of a run does it too."""
    try:
        state.held(next, DuckdbRows)
    except FFIError:
        return
    state.release(next)


async def _execute(state: State, db: str | None, sql: str, params: Any) -> Answer:
    if db is not None:
        check_name(db, state.grants)
    bound = _bound(params)
    if db is not None:
        state.budget.spend("database_bytes", len(sql) + len(codec.encode(bound)))
    with _timed(state):
        sessions = state.get(Sessions) or state.put(Sessions(), Sessions.close)
        session = await sessions.get(state, db)
        size, values = (
            max(most - _BESIDE, most // 2)
            for most in (state.budget.limits.call_size, state.budget.limits.call_values)
        )
        answer = await session.query(sql, bound, most_bytes=size, most_values=values)
    if answer.changed:
        state.budget.note("database_rows", answer.changed)
    return answer


@contextmanager
def _timed(state: State) -> Iterator[None]:
    """What is late because the run is over is told so."""
    try:
        yield
    except FFIError:
        state.budget.check_time()
        raise


def _settings(state: State) -> DuckdbSettings:
    settings: DuckdbSettings = state.services.settings("duckdb")
    return settings


def _bound(params: Any) -> Any:
    """Parameters as DuckDB takes them: a ref as its text.

    Raises:
        FFIError: one is of a kind that it has no type for.
    """
    if isinstance(params, dict):
        return {name: _plain(value, f"${name}") for name, value in params.items()}
    return [_plain(value, str(at)) for at, value in enumerate(params or [], 1)]


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Ref):
        return value.id
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, where) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    kind = "a case" if isinstance(value, Case) else "a token" if isinstance(value, Token) else "undefined"
    raise FFIError(
        f"parameter {where}: expected null, a boolean, number, string, binary, ref, array or map, found {kind}"
    )
