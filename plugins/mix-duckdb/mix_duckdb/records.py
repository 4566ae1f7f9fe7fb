"""SQL over records: the tables of an app's database handed to sessions, and kept for the next ones.

A table that was made stays in shared memory until the bytes of all are more than `table_cache`. It is found only by the
`origin` that the database's own tables have, so by nobody who has not opened that database himself.
"""

from __future__ import annotations

import asyncio
import functools
import mmap
import os
import re
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple

from mix_duckdb.session import Answer, Late, OwnerLost, Session, open_session
from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.shared import Shared
from mixkit.errors import FFIError, QueryCancelled, QueryError, QueryTimeout
from mixkit.near import meant
from mixkit.sql import Params, RecordTables, SqlSession

__all__ = ["Cache", "DuckdbSql", "RecordsOf", "cache_of"]


class _Kept:
    """A table that is being made, or was. Who makes it holds `making`."""

    def __init__(self, origin: object, forget: Any) -> None:
        self.origin = weakref.ref(origin, forget)
        self.making = threading.Lock()
        self.shared: Shared | None = None


_END: Final = 8
"""Bytes of the end of an Arrow IPC stream."""


class _Key(NamedTuple):
    """Of a table: its origin, moment, name, and which of its columns there are, None for all."""

    origin: int
    watermark: str
    name: str
    columns: frozenset[str] | None

    def serves(self, key: _Key) -> bool:
        """Whether that table can be taken for another."""
        if self[:3] != key[:3]:
            return False
        return self.columns is None or (key.columns is not None and key.columns <= self.columns)


class Cache:
    """Tables as shared memory, those last used, of all databases of a process. Usable from any thread.

    Args:
        most: bytes of all of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._gone: deque[_Key] = deque()

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        with self._mutex:
            return self._size()

    def get(self, tables: RecordTables, name: str, columns: Collection[str] | None = None) -> Shared:
        """A table, made now if it is not there. Two who ask for one that is not there make it once.

        Args:
            columns: those that are needed, all if None. There may be more.

        Raises:
            MixError: as `RecordTables.stream`.
        """
        if self._pid != os.getpid():
            # In a fork, where threads that held locks are not.
            self._begin()
        wanted = None if columns is None else frozenset(name.casefold() for name in columns)
        with self._mutex:
            self._purge()
            key = self._chosen(_Key(id(tables.origin), tables.watermark, name, wanted), tables.origin)
            kept = self._kept.get(key)
            if kept is None:
                # Called when nobody else may take the mutex in this thread, so it only notes it.
                kept = self._kept[key] = _Kept(tables.origin, lambda _: self._gone.append(key))
            self._kept.move_to_end(key)
        with kept.making:
            if kept.shared is None:
                try:
                    kept.shared = self._made(tables, key)
                except BaseException:
                    with self._mutex:
                        if self._kept.get(key) is kept:
                            del self._kept[key]
                    raise
                with self._mutex:
                    self._shrink(key)
            return kept.shared

    def _chosen(self, key: _Key, origin: object) -> _Key:
        """What is kept or to be made for a key. Who asks for a table once more will do so again: it is made whole, and
        what comes to it can be appended."""
        same = [
            other
            for other, kept in self._kept.items()
            if (other.origin, other.name) == (key.origin, key.name) and kept.origin() is origin
        ]
        for other in reversed(same):
            if other.serves(key):
                return other
        return key._replace(columns=None) if same else key

    def _made(self, tables: RecordTables, key: _Key) -> Shared:
        """The table, made of the one before if it has only grown."""
        name = key.name
        if key.columns is not None:
            return Shared(tables.stream(name, key.columns))
        with self._mutex:
            found = [
                (other, kept.shared)
                for other, kept in self._kept.items()
                if kept.shared is not None
                and other.columns is None
                and other.name == name
                and kept.origin() is tables.origin
            ]
        for other, shared in reversed(found):
            with (
                mmap.mmap(shared.descriptor, shared.size, prot=mmap.PROT_READ) as mapped,
                memoryview(mapped) as before,
                before[:-_END] as begun,
            ):
                more = tables.appended(name, other.watermark, before)
                if more is None:
                    continue
                made = Shared(chain((begun,), more))
            with self._mutex:
                self._kept.pop(other, None)
            return made
        return Shared(tables.stream(name))

    def _shrink(self, newest: _Key) -> None:
        size = self._size()
        for key in [key for key in self._kept if key != newest]:
            if size <= self._most:
                return
            size -= self._bytes(self._kept.pop(key))
        if size > self._most:
            # Whoever asked for it has it; it is not kept.
            self._kept.pop(newest, None)

    def _size(self) -> int:
        return sum(map(self._bytes, self._kept.values()))

    @staticmethod
    def _bytes(kept: _Kept) -> int:
        return kept.shared.size if kept.shared is not None else 0

    def _purge(self) -> None:
        while self._gone:
            key = self._gone.popleft()
            kept = self._kept.get(key)
            if kept is not None and kept.origin() is None:
                del self._kept[key]


@functools.lru_cache(maxsize=8)
def cache_of(settings: DuckdbSettings) -> Cache:
    """The cache of a process: the server's requests and the runs of agents share it."""
    return Cache(settings.table_cache)


class RecordsOf:
    """Implements `mix_duckdb.shared.Tables` on the tables of a database, whose names are known.

    Args:
        prefix: stands before each of their names.
    """

    def __init__(self, tables: RecordTables, names: Collection[str], cache: Cache, prefix: str = "") -> None:
        self._tables = tables
        self._names = names
        self._cache = cache
        self._prefix = prefix

    def names(self) -> Collection[str]:
        return [self._prefix + name for name in self._names]

    async def load(self, name: str, columns: Collection[str] | None) -> Shared:
        # PERF: made in a thread, which lets the loop go on for most of it.
        return await asyncio.to_thread(
            self._cache.get, self._tables, name.removeprefix(self._prefix), columns
        )


class _Asked:
    """Implements `mixkit.sql.SqlSession`: a session whose errors are those of queries."""

    def __init__(self, session: Session, names: Sequence[str], seconds: float) -> None:
        self._session = session
        self._names = names
        self._seconds = seconds

    @property
    def closed(self) -> bool:
        return self._session.closed

    async def query(self, sql: str, params: Params = (), *, arrow: bool = False) -> _Answered:
        with self.errors():
            return _Answered(await self._session.query(sql, params, arrow=arrow), self)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What the process refuses, as a storage would say it."""
        try:
            yield
        except Late:
            raise QueryTimeout(
                self._seconds, "aggregate or filter earlier, or raise settings.duckdb.statement_time"
            ) from None
        except OwnerLost as exc:
            raise QueryCancelled(str(exc)) from None
        except FFIError as exc:
            raise QueryError(self._told(str(exc))) from None

    def _told(self, message: str) -> str:
        found = _UNKNOWN.match(message)
        if found is None:
            return message
        names = self._names
        more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        there = f"{', '.join(names[:_SHOWN])}{more}{meant(found[1], names)}"
        return f"there is no table {found[1]}; there are {there}"

    def close(self) -> None:
        self._session.close()


class _Answered:
    """Implements `mixkit.sql.SqlAnswer`."""

    def __init__(self, answer: Answer, asked: _Asked) -> None:
        self.columns = answer.columns
        self._answer = answer
        self._asked = asked

    @property
    def done(self) -> bool:
        return self._answer.done

    async def rows(self) -> list[dict[str, Any]] | None:
        with self._asked.errors():
            return await self._answer.rows()

    async def arrow(self) -> bytes | None:
        with self._asked.errors():
            return await self._answer.arrow()

    def close(self) -> None:
        self._answer.close()


_UNKNOWN: Final = re.compile(r"Catalog Error: Table with name (.{1,200}?) does not exist!")
_SHOWN: Final = 20


class DuckdbSql:
    """Implements `mixkit.sql.SqlEngine`."""

    name: Final = "duckdb"

    def __init__(self, settings: DuckdbSettings | None = None) -> None:
        self._settings = settings or DuckdbSettings()
        self.cache = cache_of(self._settings)

    async def open(self, tables: RecordTables, *, deadline: float) -> SqlSession:
        # In a thread, because somebody may have given his records very many types.
        names = await asyncio.to_thread(tables.names)
        offered = RecordsOf(tables, names, self.cache)
        try:
            opened = await open_session(self._settings, deadline=deadline, tables=offered)
        except FFIError as exc:
            raise QueryCancelled(str(exc)) from None
        return _Asked(opened, names, self._settings.statement_time)
