"""Which database an FFI call is for, and how it saves there: the first argument of all FFIs of the group.

    null                                                  the app's own
    {"type": "rmx", "scope": "main"}                      the same
    {"type": "rmx", "scope": "global", "db": "NAME"}      that of another app of the workspace
    {"type": "rmx", "scope": "session"}                   one in memory, gone with the run
    {"type": "rmx_remote", …}                             one of another server; not supported yet

Save options stand in the same map: KeepOriginal, OriginalIdAlways, DontUseId, Upsert, Unchanged. So does what a query
sees beyond records as they are now: IncludeDeleted, IncludeSuperseded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from mix_db.engine.fields import Fields
from mix_db.settings import Settings
from mixkit.errors import FFIError, NotFound, printable
from mixkit.fields import valid
from mixkit.state import State
from mixkit.storage import Database, Place, SaveOptions

__all__ = ["Session", "Where", "locate", "settings_of"]

_SESSION: Final = Place("", "session", Path("/nonexistent"))
_COPIES: Final = 3
_EACH: Final = 1_000
_VALUE: Final = 100
_FIELD: Final = 1_200
"""A record in memory takes its size several times, and bytes more for each value and each field that no other has,
because all of it is indexed."""

_making = threading.Lock()


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The checked map; without `db` unless the scope is `global`."""

    type: Literal["rmx"] = "rmx"
    scope: Literal["main", "global", "session"] = "main"
    db: str | None = None
    upsert: bool = msgspec.field(default=False, name="Upsert")
    keep_original: bool = msgspec.field(default=False, name="KeepOriginal")
    original_id_always: bool = msgspec.field(default=False, name="OriginalIdAlways")
    dont_use_id: bool = msgspec.field(default=False, name="DontUseId")
    unchanged: bool = msgspec.field(default=False, name="Unchanged")
    include_deleted: bool = msgspec.field(default=False, name="IncludeDeleted")
    include_superseded: bool = msgspec.field(default=False, name="IncludeSuperseded")

    @classmethod
    def of(cls, given: dict[str, Any] | None) -> Where:
        """From what the agent gave.

        Raises:
            FFIError: an unknown key, a wrong value, or a server that cannot be reached.
        """
        if given is None:
            return _MAIN
        if given.get("type") == "rmx_remote":
            raise FFIError("argument 1 (db): databases of other servers (rmx_remote) are not supported yet")
        try:
            where = msgspec.convert(given, cls)
        except msgspec.ValidationError as exc:
            near = valid(exc, cls)
            raise FFIError(f"argument 1 (db): {printable(str(exc))[:300]}{near}") from None
        if (where.scope == "global") != (where.db is not None):
            expected = "a name as db" if where.db is None else "db with the scope global alone"
            raise FFIError(f"argument 1 (db): expected {expected}, found the scope {where.scope}")
        return where

    def options(self, *, upsert: bool = False) -> SaveOptions:
        return SaveOptions(
            upsert=upsert or self.upsert,
            keep_original=self.keep_original,
            original_id_always=self.original_id_always,
            dont_use_id=self.dont_use_id,
            unchanged=self.unchanged,
        )


_MAIN: Final = Where()


class Session:
    """The database in memory of one run."""

    def __init__(self, settings: Settings | None) -> None:
        from mix_db.storages import Memory

        self.database: Database = Memory(settings).open(_SESSION)
        self.size = 0
        self._fields = Fields()

    def grow(self, state: State, records: Sequence[object], size: int) -> None:
        """Count what is about to be stored. `LimitExceeded` if it is more than the run's memory may be."""
        size = _COPIES * size + _EACH * len(records)
        for record in records:
            if type(record) is dict:
                # In two steps: names are noted only once it is known that there is room for them.
                size += _VALUE * _values(record)
                state.budget.check_size("memory", self.size + size)
                size += _FIELD * self._fields.add(record)
        state.budget.check_size("memory", self.size + size)
        self.size += size

    def close(self) -> None:
        self.database.close()


def _values(value: object) -> int:
    """How many values there are in one."""
    if type(value) is dict:
        return sum(map(_values, value.values()), 1)
    return sum(map(_values, value), 1) if type(value) is list else 1


def settings_of(state: State) -> Settings | None:
    """The plugin's settings; None for a state of no kernel."""
    try:
        settings: Settings = state.services.settings("db")
    except NotFound:
        return None
    return settings


def locate(state: State, where: Where) -> tuple[Database, Callable[[Sequence[object], int], None]]:
    """The database, and what is to be told what will be stored there, records or tombstones, and its size.

    Raises:
        FFIError: the run has no database of its own.
        GrantError, NotFound: another app's cannot be had.
        StorageError: it cannot be opened.
    """
    if where.scope == "session":
        with _making:
            session = state.get(Session) or state.put(Session(settings_of(state)), Session.close)
        return session.database, lambda records, size: session.grow(state, records, size)
    if where.db is not None:
        place = state.place_of(where.db)
    elif state.place is not None:
        place = state.place
    else:
        raise FFIError(
            "this run has no database of its own: code that is no agent of an installed app has none, "
            "unless whoever runs it says where (`mixkit run --database`); the scope session always works"
        )
    return state.services.databases.open(place), lambda records, size: None
