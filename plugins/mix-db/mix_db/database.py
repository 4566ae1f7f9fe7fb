"""The database as a Python program uses it:

from mix_db import Database

with Database("notes") as notes:
    note = notes.save({"title": "Milk", "tags": ["shop"]})
    for found in notes.query('tags contains $tag | orderAsc(title)', tag="shop"):
        print(found["title"])
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast, overload

from mix_db.engine.handle import Handle
from mix_db.engine.opening import open_folder, open_memory
from mix_db.query.ast import Aggregate, Query
from mix_db.query.execute import compile_query
from mix_db.settings import Settings
from mixkit.errors import NotFound, QueryError
from mixkit.storage import Change, Cursor, Live, Moment, Reader, Record, SaveOptions
from mixkit.value import Ref

if TYPE_CHECKING:
    from mix_db.sql import Sql, SqlRows

__all__ = ["Database", "Id", "LiveRows", "Past", "Rows"]

Id: TypeAlias = Ref | str


class Rows:
    """A query that runs whenever it is iterated or asked, each time on the state of that moment.

    An iterator over it reads in batches, of one state; it raises what `mixkit.storage.Cursor.next` does.
    """

    def __init__(
        self, reader: Reader, query: Any, params: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self._reader = reader
        self._query = query
        self._params = params
        self._options = options

    def __iter__(self) -> Iterator[Record]:
        with self.cursor() as cursor:
            yield from cursor

    def cursor(self) -> Cursor:
        """Run it, to be read batch by batch, and cancelled from another thread."""
        return self._reader.query(self._query, self._params, **self._options)

    def batches(self) -> Iterator[list[Record]]:
        """The rows in lists of at most 100."""
        with self.cursor() as cursor:
            while batch := cursor.next():
                yield batch

    def first(self) -> Record | None:
        """The first row; None if there is none."""
        with self.cursor() as cursor:
            return next(iter(cursor), None)

    def all(self) -> list[Record]:
        """All rows."""
        return [row for batch in self.batches() for row in batch]

    def count(self) -> int:
        """The number of rows; for a query without stages none of them is read."""
        counted = _counting(self._query)
        if counted is None:
            return sum(map(len, self.batches()))
        with self._reader.query(counted, self._params, **self._options) as cursor:
            [row] = cursor.next()
            return cast(int, row["count"])

    def explain(self, *, run: bool = True) -> Mapping[str, Any]:
        """How it is run; see `mixkit.storage.Reader.explain`."""
        options = {name: value for name, value in self._options.items() if name != "timeout"}
        return self._reader.explain(self._query, self._params, run=run, **options)


class _Asking:
    """What a database and its past have in common."""

    _reader: Reader
    _sql: Sql | None = None

    def watermark(self) -> str:
        """The position behind the last commit that is seen; watermarks sort as the commits do."""
        return self._reader.watermark()

    def get(self, id: Id) -> Record | None:
        """The present version of a record; None if it is unknown or deleted."""
        return self._reader.get(id)

    def history(self, id: Id) -> list[Record]:
        """All versions of a record, oldest first, tombstones among them; `[]` if it is unknown."""
        return self._reader.history(id)

    def query(
        self,
        query: Any = "",
        /,
        params: Mapping[str, Any] | None = None,
        *,
        deleted: bool = False,
        superseded: bool = False,
        timeout: float | None = None,
        **named: Any,
    ) -> Rows:
        """A query; it runs when its rows are asked for.

        Args:
            query: text, its JSON form, an AST, or what `mix_db.query.builder` makes. All records if it is empty.
            params, named: a value for each parameter, `$age` as `age=18` or, whatever it is called, in `params`.
            deleted, superseded: whether tombstones, and versions that are not the newest, are seen too.
            timeout: seconds of work.

        Raises:
            QueryError: a parameter is given twice. What is wrong with the query shows when it runs.
        """
        options = {"deleted": deleted, "superseded": superseded, "timeout": timeout}
        return Rows(self._reader, query, _params(params, named), options)

    def sql(
        self,
        sql: str,
        /,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        arrow: bool = False,
        **named: Any,
    ) -> SqlRows:
        """Run SQL: each record type is a table of its newest versions, `records` has them all; see docs/sql.md.

        It runs in a process of its own, with what the package mix-duckdb brings, and sees nothing but these tables.

        Args:
            params, named: values for `?` as a list, for `$age` as `age=18` or in a map.
            timeout: seconds that the statement may take, and then each batch of its rows.
            arrow: the rows are wanted with `SqlRows.table` or `SqlRows.arrow`, and not as maps.

        Raises:
            QueryError: the statement is refused, or failed; the message says where and what to do.
            QueryTimeout: the time is over.
            NotFound: mix-duckdb is not installed.
        """
        if self._sql is None:
            from mix_db.sql import Sql

            self._sql = Sql(self._reader)
        given: Sequence[Any] | Mapping[str, Any] = params if params is not None else ()
        if named:
            if not isinstance(given, Mapping) and params:
                raise QueryError("expected parameters in a list or by their names, found both")
            given = _params(dict(given), named)
        return self._sql.query(sql, given, timeout=timeout, arrow=arrow)


class Past(_Asking):
    """The database as it was at a moment; made by `Database.as_of`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader


class LiveRows:
    """The changes of a query's rows, for `for` and `async for`; made by `Database.live`."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def next(self, timeout: float | None = None) -> Change | None:
        """The next change; None if there was none for so many seconds. Raises `QueryCancelled` once closed."""
        return self._live.next(timeout)

    async def next_async(self) -> Change:
        """The same for a task; bound it with `asyncio.timeout`."""
        return await self._live.next_async()

    def __iter__(self) -> Iterator[Change]:
        while (change := self._live.next()) is not None:
            yield change

    async def __aiter__(self) -> AsyncIterator[Change]:
        while True:
            yield await self._live.next_async()

    def close(self) -> None:
        self._live.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class Database(_Asking):
    """A database in a folder, or in memory. Everything may be called from any thread, and from forked children.

    Args:
        path: the folder, which is made if it is missing; None for a database in memory.
        read_only: change nothing; the database must be there.
        settings: as in `[settings.db]` of a profile.

    Raises:
        NotFound: it is to be read only, and there is none.
        StorageError: it is damaged, of another format version, or cannot be reached; the message says what to do.
    """

    _reader: Handle

    def __init__(
        self, path: str | Path | None, *, read_only: bool = False, settings: Settings | None = None
    ) -> None:
        settings = settings or Settings()
        self.path = None if path is None else Path(path)
        if self.path is None:
            if read_only:
                raise NotFound("expected a folder to read a database from, found none: it is to be in memory")
            self._reader = open_memory(settings)
        else:
            self._reader = open_folder(
                self.path, create=not read_only, read_only=read_only, settings=settings
            )

    @classmethod
    def in_memory(cls, *, settings: Settings | None = None) -> Database:
        """A new database that is gone when it is closed."""
        return cls(None, settings=settings)

    @property
    def contract(self) -> Handle:
        """The same database as code sees it that works with any storage: `mixkit.storage.Database`."""
        return self._reader

    @overload
    def save(self, records: Mapping[str, Any], **options: bool) -> Record: ...

    @overload
    def save(self, records: Sequence[Mapping[str, Any]], **options: bool) -> Sequence[Record]: ...

    def save(
        self, records: Mapping[str, Any] | Sequence[Mapping[str, Any]], **options: bool
    ) -> Record | Sequence[Record]:
        """Store a record, or several in one commit, and answer what is stored when it is durable.

        Args:
            records: a map, or several. One with the `_rmx_id` of a record replaces its version.
            options: `upsert`, `keep_original`, `original_id_always`, `dont_use_id`, and `unchanged`, which stores only
                if each record is still the version whose `_rmx_rev` it has; see `mixkit.storage.SaveOptions`.

        Raises:
            Conflict: with `unchanged`: somebody else has changed a record. Nothing is stored.
            RecordError: a record is refused; `.path` says where. Nothing is stored.
            StorageError: it could not be stored; nothing is.
        """
        if isinstance(records, Mapping):
            return self._reader.save([records], SaveOptions(**options)).records[0]
        return self._reader.save(records, SaveOptions(**options)).records

    @overload
    def upsert(self, records: Mapping[str, Any], **options: bool) -> Record: ...

    @overload
    def upsert(self, records: Sequence[Mapping[str, Any]], **options: bool) -> Sequence[Record]: ...

    def upsert(
        self, records: Mapping[str, Any] | Sequence[Mapping[str, Any]], **options: bool
    ) -> Record | Sequence[Record]:
        """`save` in which the fields that are not given keep their values."""
        return self.save(records, upsert=True, **options)

    # A string is a sequence of strings too, to a type checker.
    @overload
    def delete(self, ids: Id | Mapping[str, Any]) -> Record: ...  # type: ignore[overload-overlap]

    @overload
    def delete(self, ids: Sequence[Id | Mapping[str, Any]]) -> Sequence[Record]: ...

    def delete(
        self, ids: Id | Mapping[str, Any] | Sequence[Id | Mapping[str, Any]]
    ) -> Record | Sequence[Record]:
        """Delete one record or several in one commit; answers tombstones, `{}` where there was nothing to delete.

        Args:
            ids: an id, or a record that was read, which is deleted only if it is unchanged; or several.

        Raises:
            RecordError: it is neither; `.path` says where.
            Conflict: somebody else has changed a record. Nothing is deleted.
            StorageError: it could not be stored; nothing is.
        """
        if isinstance(ids, Ref | str | Mapping):
            return self._reader.delete([ids]).records[0]
        return self._reader.delete(ids).records

    def as_of(self, when: Moment) -> Past:
        """The database as it was behind the last commit not later than a watermark, a time with its zone, or Unix
        milliseconds.

        Raises:
            QueryError: it is no moment, or history that would be needed has been dropped.
        """
        return Past(self._reader.as_of(when))

    def wait_for_change(self, watermark: str, timeout: float | None = None) -> str | None:
        """Wait for a commit after the watermark, by whomever; answers the new one, or None after so many seconds."""
        return self._reader.changed(watermark, timeout)

    async def wait_for_change_async(self, watermark: str) -> str:
        """The same for a task; bound it with `asyncio.timeout`."""
        return await self._reader.changed_async(watermark)

    def live(self, query: Any = "", /, params: Mapping[str, Any] | None = None, **named: Any) -> LiveRows:
        """Follow a query. The first change has all that matches now; later ones what entered, changed and left.

        Raises:
            QueryError: the query is wrong, or groups or aggregates.
        """
        return LiveRows(self._reader.live(query, _params(params, named)))

    def flush(self) -> None:
        """Move what is in the write log to the row files now; it happens by itself."""
        self._reader.flush()

    def compact(self, *, drop_history: bool = False) -> None:
        """Rewrite the files without what nobody can read any more; see `mixkit.storage.Database.compact`."""
        self._reader.compact(drop_history=drop_history)

    def check(self) -> list[str]:
        """Read everything; answers what is damaged, `[]` if nothing is."""
        return self._reader.check()

    def backup(self, path: str | Path) -> str:
        """Copy the database, history included, to a folder that is missing or empty; answers the watermark of the copy.

        Nobody who reads or writes meanwhile waits for it. The folder is there when the copy is whole and durable. A
        database in memory becomes one in files.

        Raises:
            StorageError: there is something in the folder, it cannot be written, or a row is damaged.
        """
        return self._reader.backup(Path(path))

    def stats(self) -> Mapping[str, Any]:
        """Numbers for people and monitoring."""
        return self._reader.stats()

    def close(self) -> None:
        """Nothing is lost without it. May be called twice."""
        if self._sql is not None:
            self._sql.close()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({str(self.path)!r})" if self.path else "Database.in_memory()"


def _params(params: Mapping[str, Any] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    if twice := sorted(set(params or ()) & named.keys()):
        raise QueryError(f"expected one value for the parameter ${twice[0]}, found two")
    return {**(params or {}), **named}


def _counting(query: Any) -> Any:
    """The query that counts the rows of another without stages; None if it has some."""
    compiled = compile_query(query)
    return None if compiled.stages else Query(compiled.filter, (Aggregate("count"),))
