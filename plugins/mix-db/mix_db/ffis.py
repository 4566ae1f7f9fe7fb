"""The FFIs of the db group.

They answer plain values, and what fails ends the run; those in `_result` alone answer `ok` or `error`, as their
name says. Those in `_one` take and answer one thing, those in `_a` arrays, those in `_ar` take arrays and answer refs.
Every record that is read or stored counts against the limit `database_rows`, what is stored against `database_bytes`.

None is async: guests run in threads, where a quick get is quicker than its way to another one. What may take long ends
when the run is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from mix_db.settings import Settings
from mix_db.where import Where, locate, settings_of
from mixkit import codec
from mixkit.errors import (
    CancelledRun,
    FFIError,
    GrantError,
    LimitExceeded,
    MixError,
    QueryTimeout,
)
from mixkit.ffi import FFIGroup
from mixkit.forms import Packed, array_of
from mixkit.grants import check_apps
from mixkit.rows import Rows
from mixkit.state import State
from mixkit.storage import Commit, Cursor, Database
from mixkit.value import Ref, Result, Token

__all__ = ["QueryIter", "group"]

group = FFIGroup(
    "db",
    options={
        "db.apps": 'names of other apps of the workspace whose databases are open to it, or "*"; none if not set'
    },
    checks={"db.apps": check_apps},
)

_FEW: Final = 4
"""Records that are answered without weighing them first: each is bounded by itself."""

_WORD: Final = 4
"""Bytes of what stands before the words of one value to make an array of it."""

_DEFAULTS: Final = Settings()

Where_ = dict[str, Any] | None
Id = Ref | str
Record = dict[str, Any]
Doomed = Ref | str | Record


class QueryIter:
    """A query under way, and its database, which is kept open as long as somebody holds it."""

    def __init__(self, where: Where, database: Database, cursor: Cursor) -> None:
        self.where = where
        self._database = database
        self.cursor = cursor

    def close(self) -> None:
        self.cursor.close()


@contextmanager
def _told(state: State) -> Iterator[None]:
    """What the database refuses is told to the agent in its own words."""
    try:
        yield
    except (LimitExceeded, CancelledRun, GrantError, FFIError):
        raise
    except MixError as exc:
        if isinstance(exc, QueryTimeout):
            state.budget.check_time()
        raise FFIError(str(exc)) from exc


def _count(state: State, number: int) -> None:
    """Count the records that a call is for, each of which takes time that nothing interrupts.

    Raises:
        LimitExceeded, FFIError: they are too many for this run, or for a call.
    """
    most = (settings_of(state) or _DEFAULTS).max_records
    if number > most:
        raise FFIError(
            f"expected at most {most} records in a call, found {number}; call several times, or raise "
            "settings.db.max_records in the profile"
        )
    state.budget.spend("database_rows", number)


# -- reading ------------------------------------------------------------------------------------------


@group.register("$db_get_one")
def get_one(state: State, db: Where_, id: Id) -> Record | None:
    """The present version of a record; null if it is unknown or deleted."""
    return cast("Record | None", Packed(_get(state, db, [id])[0]))


@group.register("$db_get_a")
def get_a(state: State, db: Where_, ids: list[Id]) -> list[Record | None]:
    """The present versions of records, in the order of the ids; null for each that is unknown or deleted."""
    return cast("list[Record | None]", array_of(_get(state, db, ids)))


def _get(state: State, db: Where_, ids: Sequence[Id]) -> list[bytes]:
    """The codec words of each."""
    _count(state, len(ids))
    with _told(state):
        database, _ = locate(state, Where.of(db))
        found: list[bytes] = []
        size = 0
        for id in ids:
            state.budget.check_time()
            words = database.get_rows([id]).words()[_WORD:]
            # An agent that asks for one large record a thousand times must not fill the memory of the host.
            size += len(words)
            state.budget.check_size("call_size", size)
            found.append(words)
        return found


@group.register("$db_getWatermark")
def get_watermark(state: State, db: Where_ = None) -> str:
    """The position behind the last commit, for `after` in queries."""
    with _told(state):
        return locate(state, Where.of(db))[0].watermark()


# -- writing ------------------------------------------------------------------------------------------


@group.register("$db_save_one")
def save_one(state: State, db: Where_, record: Record) -> Record:
    """Store a record and answer it as it is now: a new one, or, if its `_rmx_id` is known, a new version.

    With `{"Unchanged": true}` as `db`, only if the newest version is still that of its `_rmx_rev`.
    """
    return _save(state, db, [record], upsert=False)[0]


@group.register("$db_save_a")
def save_a(state: State, db: Where_, records: list[Record]) -> list[Record]:
    """Store records in one commit, all or none, and answer them as they are now."""
    return list(_save(state, db, records, upsert=False))


@group.register("$db_save_ar")
def save_ar(state: State, db: Where_, records: list[Record]) -> list[Ref]:
    """The same, answering refs to them."""
    return [record["_rmx_id"] for record in _save(state, db, records, upsert=False)]


@group.register("$db_upsert_one")
def upsert_one(state: State, db: Where_, record: Record) -> Record:
    """Lay the fields given over those of the record of that `_rmx_id`, or store a new one; answers it."""
    return _save(state, db, [record], upsert=True)[0]


@group.register("$db_upsert_a")
def upsert_a(state: State, db: Where_, records: list[Record]) -> list[Record]:
    """The same with several records in one commit, all or none."""
    return list(_save(state, db, records, upsert=True))


@group.register("$db_upsert_ar")
def upsert_ar(state: State, db: Where_, records: list[Record]) -> list[Ref]:
    """The same, answering refs to them."""
    return [record["_rmx_id"] for record in _save(state, db, records, upsert=True)]


def _save(state: State, db: Where_, records: list[Record], *, upsert: bool) -> Sequence[Record]:
    where = Where.of(db)
    options = where.options(upsert=upsert)
    _count(state, len(records))
    with _told(state):
        database, grow = locate(state, where)
        weigh = where.scope == "session" or len(records) > _FEW
        size = 0
        if weigh:
            size = sum(map(_weight, records))
            if options.upsert or options.keep_original:
                size += _weight_of_old(state, database, records)
            grow(records, size)
        return _stored(state, where, size, lambda: database.save(records, options))


def _stored(state: State, where: Where, size: int, write: Callable[[], Commit]) -> Sequence[Record]:
    """What `write` answers, which stores about that size, unless the run has stored too much already."""
    if where.scope == "session":
        return write().records
    state.budget.check_time()
    state.budget.check_left("database_bytes", max(size, 1))
    commit = write()
    # What a commit takes is known behind it. It is stored, and of a few records if it was not weighed before.
    state.budget.note("database_bytes", commit.size)
    return commit.records


def _weight_of_old(state: State, database: Database, records: Sequence[Record]) -> int:
    """Bytes that the records have now. A few bytes given may make, and answer, records as large as these.

    Raises:
        LimitExceeded: they are more than a call may answer.
    """
    known: dict[str, int] = {}
    size = 0
    for record in records:
        id = record.get("_rmx_id")
        text = id.id if isinstance(id, Ref) else id
        if type(text) is str:
            if text not in known:
                known[text] = _weight(database.get(text))
            size += known[text]
            known[text] += _weight(record)
            state.budget.check_size("call_size", size)
    return size


def _weight(record: Record | None) -> int:
    try:
        return len(codec.encode(record))
    except MixError:
        # What is no value is refused, with its place, by the database.
        return 0


@group.register("$db_delete_one")
def delete_one(state: State, db: Where_, id: Doomed) -> Record:
    """Delete a record; answers its tombstone, `{}` if it is unknown or deleted already.

    Given as a map with `_rmx_id` and `_rmx_rev`, it is deleted only if that is still its newest version.
    """
    return _delete(state, db, [id])[0]


@group.register("$db_delete_a")
def delete_a(state: State, db: Where_, ids: list[Doomed]) -> list[Record]:
    """Delete records in one commit; answers a tombstone for each, `{}` where there was nothing to delete."""
    return list(_delete(state, db, ids))


@group.register("$db_delete_ar")
def delete_ar(state: State, db: Where_, ids: list[Doomed]) -> list[Ref | None]:
    """The same, answering the refs of what was deleted, null where there was nothing to delete."""
    return [record.get("_rmx_id") for record in _delete(state, db, ids)]


def _delete(state: State, db: Where_, ids: list[Doomed]) -> Sequence[Record]:
    where = Where.of(db)
    if where.unchanged and not all(type(id) is dict for id in ids):
        raise FFIError(
            "expected records with their _rmx_rev to be deleted if they are Unchanged, found an id alone"
        )
    _count(state, len(ids))
    with _told(state):
        database, grow = locate(state, where)
        grow([None] * len(ids), 0)
        return _stored(state, where, 0, lambda: database.delete(ids))


@group.register("$db_flush")
def flush(state: State, db: Where_ = None) -> None:
    """Move what was committed to where it is stored best. Nothing is lost without it."""
    with _told(state):
        locate(state, Where.of(db))[0].flush()


group.register_sync("db_flush", flush)


# -- queries ------------------------------------------------------------------------------------------


@group.register("$db_execute")
def execute(state: State, db: Where_, query: str | list[Any], params: dict[str, Any] | None = None) -> Token:
    """Begin a query, given as its text or its JSON form, and answer a handle for `$db_execute_next`.

    What comes from users belongs into `params`, never into the text. The query ends with the run, and has the time
    that the run has left. Close the handle: a run holds only so many. With `{"IncludeDeleted": true}` as `db` it sees
    tombstones too, with `IncludeSuperseded` versions that are not the newest.
    """
    with _told(state):
        where = Where.of(db)
        database, _ = locate(state, where)
        seconds = max(state.budget.remaining(), 0.001)
        cursor = database.query(
            query,
            params,
            deleted=where.include_deleted,
            superseded=where.include_superseded,
            timeout=seconds,
        )
        rows = QueryIter(where, database, cursor)
    try:
        return state.hold(rows, QueryIter.close)
    except LimitExceeded:
        rows.close()
        raise


@group.register("$db_execute_next")
def execute_next(state: State, handle: Token) -> Rows:
    """The next rows of a query, at most 100; none when there are no more."""
    query = state.held(handle, QueryIter)
    with _told(state):
        # What is in memory of an app that was deleted is not its data any more.
        locate(state, query.where)
        with state.interruptible(query.cursor.cancel):
            rows = query.cursor.next_rows()
    state.budget.spend("database_rows", len(rows))
    return rows


@group.register("$db_execute_close")
def execute_close(state: State, handle: Token) -> None:
    """End a query and let go of its handle."""
    state.held(handle, QueryIter)
    state.release(handle)


@group.register("$db_parse")
def parse_text(text: str) -> list[Any]:
    """The JSON form of a query's text. An error says line, column, and what was expected."""
    from mix_db.query import parse, to_json

    try:
        tree: list[Any] = to_json(parse(text))
    except MixError as exc:
        raise FFIError(str(exc)) from exc
    return tree


@group.register("$db_parse_result")
def parse_result(text: str) -> Result[list[Any]]:
    """The same as `$db_parse`, as `ok(form)`, or `error(message)` if it is no query."""
    return parse_text(text)


@group.register("$db_fromAST_result")
def from_ast(ast: Any) -> Result[str]:
    """The text of a query's JSON form."""
    from mix_db.query import format_query, from_json

    return format_query(from_json(ast))
