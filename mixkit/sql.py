"""SQL over the records of a database: what a storage hands over for it, and what a plugin that runs it must do.

A storage whose databases are `Tabular` gives its records as tables, in columns; a plugin offers, with the hook
`mix_sql`, a class that meets `SqlEngine`. The two know nothing of each other, so that any of both may be another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from mixkit.errors import NotFound
from mixkit.storage import Reader

__all__ = [
    "Params",
    "RecordTables",
    "SqlAnswer",
    "SqlColumn",
    "SqlEngine",
    "SqlSession",
    "Tabular",
    "tables_of",
]

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""Values for `?` and `$1`, or for `$name`."""


class RecordTables(Protocol):
    """The records of a database, as it was at one moment, as tables; usable from any thread.

    Attributes:
        origin: what they are of, the same object as long as equal watermarks mean equal tables, that can be referred to
            weakly. Whoever has it may read them; what was made of them may be kept by it, and by nothing else.
        watermark: of the moment.
    """

    @property
    def origin(self) -> object: ...

    @property
    def watermark(self) -> str: ...

    def names(self) -> Sequence[str]:
        """The names of the tables, of which no two differ only in the case of letters."""
        ...

    def stream(self, name: str, columns: Collection[str] | None = None) -> Iterator[bytes | memoryview]:
        """A table as an Arrow IPC stream, part by part.

        Args:
            columns: names of those that are needed, whatever their case; all if None. There may be more of them.

        Raises:
            NotFound: there is no such table.
            QueryError: it would be too large, or takes too long.
            StorageError: it cannot be read.
        """
        ...

    def appended(self, name: str, watermark: str, stream: memoryview) -> Iterator[bytes | memoryview] | None:
        """What takes the place of the end (the last 8 bytes) of the whole stream that this table had at an earlier
        watermark, because since then there have only come records of the same columns. None if it must be made anew.

        Raises as `stream`.
        """
        ...


@runtime_checkable
class Tabular(Protocol):
    """A `mixkit.storage.Reader` that can hand over its records in columns."""

    def tables(self) -> RecordTables: ...


class SqlColumn(Protocol):
    """A column of an answer: its name, and its type as the engine spells it."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str: ...


class SqlAnswer(Protocol):
    """What a statement answered, batch by batch."""

    @property
    def columns(self) -> Sequence[SqlColumn]:
        """None if it answers no rows."""
        ...

    @property
    def done(self) -> bool:
        """Whether all rows have been read. Who does not look is told by the next answer."""
        ...

    async def rows(self) -> list[dict[str, Any]] | None:
        """The next rows as maps of Values; None after the last. Raises as `SqlSession.query`."""
        ...

    async def arrow(self) -> bytes | None:
        """The next rows as an Arrow IPC stream of its own, if that was asked for; None after the last."""
        ...

    def close(self) -> None:
        """Let go of what was not read. Twice is harmless."""
        ...


class SqlSession(Protocol):
    """Statements that follow one another, on the tables of one moment."""

    @property
    def closed(self) -> bool:
        """Whether it has ended, by `close` or by itself."""
        ...

    async def query(self, sql: str, params: Params = (), *, arrow: bool = False) -> SqlAnswer:
        """Execute the statements of a text, the parameters being for the last of them.

        Raises:
            QueryError: it is refused, or failed; the message says where and what to do.
            QueryTimeout: its time was over.
            QueryCancelled: the session ended meanwhile; another one may work.
            StorageError: a table could not be read.
        """
        ...

    def close(self) -> None:
        """Twice is harmless."""
        ...


@runtime_checkable
class SqlEngine(Protocol):
    """A way to run SQL that strangers wrote. Made without arguments or from its plugin's settings; cheap until used."""

    name: str

    async def open(self, tables: RecordTables, *, deadline: float) -> SqlSession:
        """A session that sees the tables and nothing else, for one caller.

        Args:
            deadline: `time.monotonic()` at which everything of it ends.

        Raises:
            QueryCancelled: it cannot be had now; the message says what to do.
        """
        ...


def tables_of(reader: Reader) -> RecordTables:
    """The records of a reader as tables, of this moment.

    Raises:
        NotFound: its storage does not hand over columns.
        StorageError: it is closed, or cannot be read.
    """
    if not isinstance(reader, Tabular):
        raise NotFound(
            "expected a storage that hands over its records in columns, for SQL, found one that does not; "
            "the storage mixquery does"
        )
    return reader.tables()
