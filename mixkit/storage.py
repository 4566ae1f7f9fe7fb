"""What a database of an app must do, wherever and however it keeps its records.

A record is a map with fields of the engine's own, which begin with `_rmx_`; docs/database.md says what they hold.
Every version of a record that was committed stays readable until `compact` is told to drop history. Watermarks are
opaque strings of one length that sort as the commits do.

Everything here may be called from any thread. Calls that wait for a disk or another process block; `changed` is
the one that may wait for long, and has an async twin. `mixkit.testing` has the suite that each storage must pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable

import msgspec

from mixkit.rows import Rows
from mixkit.value import Ref

__all__ = [
    "BATCH",
    "BATCH_BYTES",
    "Change",
    "Commit",
    "Cursor",
    "Database",
    "Live",
    "Moment",
    "Parsed",
    "Place",
    "Reader",
    "Record",
    "SaveOptions",
    "Storage",
]

BATCH = 100
"""Most rows that `Cursor.next` answers at once."""

BATCH_BYTES = 8 << 20
"""About how many bytes the rows that `Cursor.next` answers at once have together, so that no batch of the largest
records stands in memory. One row is answered however large it is."""

Record: TypeAlias = dict[str, Any]

Moment: TypeAlias = str | int | datetime
"""A watermark, Unix milliseconds, or a time with its zone."""


class Place(msgspec.Struct, frozen=True):
    """Which app's database. `home` is a folder that belongs to it alone and goes when it goes; a storage that
    keeps its records elsewhere never touches it. An app that is made under the name of one that was deleted has
    another home: two places are of one database if all three are equal."""

    workspace: str
    app: str
    home: Path


class SaveOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal", kw_only=True):
    """How `Database.save` treats ids; spelled `{"KeepOriginal": true}` where agents and packages give them.

    Attributes:
        upsert: the new version is the old one with the given fields laid over it.
        keep_original: a record whose id is known stays as it is, and is answered as it is.
        original_id_always: any text is an id, that of a new record too; none is taken for a temporary one.
        dont_use_id: every record is new, whatever id it has; the ids given count as temporary ones.
        unchanged: store only if nobody has changed the records since they were read. Each has the `_rmx_rev` of the
            version that was read, a tombstone's too, or None if `get` answered None. One without an id, or with
            a temporary one, is new, and has no `_rmx_rev` or None.
    """

    upsert: bool = False
    keep_original: bool = False
    original_id_always: bool = False
    dont_use_id: bool = False
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """What a call stored: the watermark behind it, and for each record given, in order, its version now (`{}` for a
    deleted id that was unknown). If nothing needed storing, the watermark is the present one. `size` is about how many
    bytes were stored."""

    watermark: str
    records: Sequence[Record]
    size: int = field(default=0, compare=False)


class Change(msgspec.Struct, frozen=True):
    """How the rows of a live query changed between the change before and `watermark`."""

    watermark: str
    entered: Sequence[Record] = ()
    changed: Sequence[Record] = ()
    left: Sequence[Ref] = ()


class Parsed(msgspec.Struct, frozen=True):
    """A query in both of its spellings: its JSON form, as plain JSON has it, and its text, written in the one way."""

    ast: list[Any]
    text: str


@runtime_checkable
class Cursor(Protocol):
    """Rows of a query, made as they are asked for, all of the one state that the query began with.

    An iterator over the rows, and a context manager that closes it.
    """

    @property
    def watermark(self) -> str:
        """The state that it reads."""
        ...

    def warnings(self) -> Sequence[str]:
        """Sentences for whoever wrote the query, about what it names that no record has; none where nobody looks."""
        ...

    def next(self) -> list[Record]:
        """The next rows, at most `BATCH`, and fewer as soon as they have `BATCH_BYTES`; none when there are no more.

        Raises:
            QueryTimeout: the query's time is used up.
            QueryCancelled: `cancel` or `close` was called.
            QueryError: the rows cannot be computed; the message says why.
        """
        ...

    def next_rows(self, most: int = BATCH) -> Rows:
        """The same rows for whoever sends them on whole, in the form in which they are at hand, which is
        `ValueRows(self.next())` where that is as maps. May be up to `most`, if that is more than `BATCH`. Raises what
        `next` does."""
        ...

    def cancel(self) -> None:
        """From any thread: make a `next` that runs, or the next one, end soon (within 50 ms)."""
        ...

    def close(self) -> None: ...

    def __iter__(self) -> Iterator[Record]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Reader(Protocol):
    """The database as it was at one moment, or, if it is a `Database`, at the moment of each call."""

    def watermark(self) -> str:
        """The position behind the last commit that is seen."""
        ...

    def get(self, id: Ref | str) -> Record | None:
        """The present version of a record; None if it is unknown or deleted."""
        ...

    def get_rows(self, ids: Sequence[Ref | str]) -> Rows:
        """What `get` answers for each id, None where there is no record, for whoever sends it on whole; as `next_rows`
        of a cursor."""
        ...

    def history(self, id: Ref | str) -> list[Record]:
        """All versions of a record, oldest first, a tombstone as `{"_rmx_deleted": True, …}`; `[]` if unknown."""
        ...

    def query(
        self,
        query: Any,
        params: Mapping[str, Any] | None = None,
        *,
        deleted: bool = False,
        superseded: bool = False,
        skip: int = 0,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Cursor:
        """Run a query.

        Args:
            query: its text, its JSON form (a list), or an object of the storage's own that stands for one.
            params: a value for each parameter, and nothing else.
            deleted, superseded: whether tombstones, and versions that are not the newest, are seen too.
            skip, limit: which of the rows are wanted, by their places in the answer; numbers up to 2^63.
            timeout: seconds of work over all calls of `next`; the storage's own limit if None.

        Raises:
            QueryError: the query is malformed, or parameters are missing, unknown or of a wrong kind.
        """
        ...

    def explain(
        self,
        query: Any,
        params: Mapping[str, Any] | None = None,
        *,
        deleted: bool = False,
        superseded: bool = False,
        run: bool = True,
    ) -> Mapping[str, Any]:
        """How the query would be run, as JSON can hold it: a tree of `{"step", "rows", "estimate", "parts"}` at
        least. With `run` it is run to its end, and actual numbers of rows are there beside the estimates."""
        ...


class Live(Protocol):
    """A query that tells how its rows change. The first change has all rows that match now as `entered`."""

    def next(self, timeout: float | None = None) -> Change | None:
        """Wait for the next change, at most `timeout` seconds, and answer None then.

        Raises:
            QueryCancelled: it was closed, by this or another thread.
        """
        ...

    async def next_async(self) -> Change:
        """The same without blocking the loop; bound it with `asyncio.timeout`."""
        ...

    def close(self) -> None: ...


class Database(Reader, Protocol):
    """An open database."""

    def save(self, records: Sequence[Mapping[str, Any]], options: SaveOptions = ...) -> Commit:
        """Store records in one commit, all or none, and return when it is durable.

        A record without `_rmx_id`, or with a well-formed one (32 characters of `[0-9A-Za-z]`) that is unknown, is
        new; a known id, whoever chose it, gives a new version of that record, which replaces the old one; known are
        those of deleted records, too. Any other text is a temporary id: it becomes a new id, in every Ref with that
        text in the records of this call too. `_rmx_id` may be a Ref or a string; other `_rmx_` fields but
        `_rmx_type` are ignored, and `_rmx_rev` without `unchanged`.

        A `mixkit.record.PackedRecord` is a map like others, of which a storage may take the bytes as they are.

        Raises:
            Conflict: a record is not as it was read, and `unchanged` is asked for. Compared is what was there before
                the call, also where one record is given twice.
            RecordError: a record is refused; `.path` says where, `$[3].owner`. Nothing is stored.
            StorageError: it could not be stored; nothing is.
        """
        ...

    def delete(self, ids: Sequence[Ref | str | Mapping[str, Any]]) -> Commit:
        """Delete records in one commit; `records` has a tombstone for each, `{}` where the id was unknown.

        A map with `_rmx_id` and `_rmx_rev`, as a record that was read, is deleted only if it is unchanged.

        Raises:
            RecordError: something given is no id, nor such a map; `.path` says where.
            Conflict: a record is not as it was read, as for `SaveOptions.unchanged`. Nothing is deleted.
            StorageError: it could not be stored; nothing is.
        """
        ...

    def as_of(self, when: Moment) -> Reader:
        """The database as it was behind the last commit not later than `when`.

        Raises:
            QueryError: it is no moment; or history that would be needed has been dropped.
        """
        ...

    def changed(self, watermark: str, timeout: float | None = None) -> str | None:
        """Wait until something was committed after `watermark`, by whomever; answer the new watermark, or None
        after `timeout` seconds."""
        ...

    async def changed_async(self, watermark: str) -> str:
        """The same without blocking the loop; bound it with `asyncio.timeout`."""
        ...

    def live(self, query: Any, params: Mapping[str, Any] | None = None) -> Live:
        """Follow a query, whose rows must be whole records or objects made of one record each.

        Raises:
            QueryError: as for `query`; or it groups or aggregates.
        """
        ...

    def parse(self, query: Any) -> Parsed:
        """What a query says, without running it. Each spelling in the answer parses to the same answer.

        Args:
            query: as for `query`; its parameters need no values.

        Raises:
            QueryError: it is malformed; `line` and `column`, or `path` in a JSON form, say where, if it is one place.
        """
        ...

    def flush(self) -> None:
        """Move what was committed to where it is stored best. Nothing is lost without it."""
        ...

    def compact(self, *, drop_history: bool = False) -> None:
        """Rewrite what is stored, without what nobody can read any more; with `drop_history` without superseded
        versions and tombstones too, after which `as_of` reaches back no further than this moment."""
        ...

    def check(self) -> list[str]:
        """Read everything; each finding names what is damaged and where, or why a moment is not what it seems. `[]`:
        all is as it was written."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Numbers for people and monitoring: `records`, `versions`, `commits`, `size` (bytes) at least."""
        ...

    def close(self) -> None:
        """Idempotent. Nothing is lost without it."""
        ...


@runtime_checkable
class Storage(Protocol):
    """A way to keep databases. Made without arguments or from its plugin's settings; cheap until used, and starts no
    thread before the first `open`, so that a process may fork after loading.

    Attributes:
        name: by which profiles name it.
        durable: whether databases outlive the object and the process.
    """

    name: str
    durable: bool

    def open(self, place: Place, *, mode: Literal["create", "write", "read"] = "create") -> Database:
        """The database of an app, made if it is not there and the mode is `create`.

        Opening one twice is allowed, in this process and others.

        Raises:
            NotFound: there is none, and it is not to be made.
            StorageError: it is damaged, of a newer format, or cannot be reached; the message says what to do.
        """
        ...

    def remove(self, place: Place) -> None:
        """Forget the database of an app, and nothing else, so that the next one of that place begins empty.

        Handles of this process are closed and raise `DatabaseGone`; those of others raise `StorageError` from then on,
        and `DatabaseGone` where it can be told that the app was deleted. Nothing happens if
        there is none. If it fails or the process is killed, all is as before, or all is gone.

        Raises:
            StorageError: it could not be removed; the message says what to do.
        """
        ...
