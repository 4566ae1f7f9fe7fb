"""Answers that are being read, inside the process that runs the SQL: in pieces, as Arrow or as values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.values import Form, arrow_type, form_of
from mixkit import codec
from mixkit.errors import FFIError

__all__ = ["Batches", "Rows", "Shape", "batches_of", "direct_rows", "rows_of", "shape_of"]

_KEY: Final = 8
"""Bytes of a name in a map beside its own."""


class Source(Protocol):
    """Where rows come from."""

    def read(self) -> Any:
        """The next piece, whose `len` is its rows and which can be sliced; None after the last."""
        ...

    def encode(self, piece: Any) -> tuple[bytes, int]:
        """As it is handed over, and how many values that are."""
        ...

    def close(self) -> None:
        """Free the connection for other statements."""
        ...


class Batches(NamedTuple):
    """How much is handed over at once.

    Attributes:
        size, values: bytes, and values, that a batch may have.
        row_size, row_values: that each row has besides what is encoded: names of columns stand in each map.
    """

    size: int
    values: int
    row_size: int = 0
    row_values: int = 0


class Rows:
    """One answer. It holds its connection until it is at its end, drained or closed."""

    def __init__(self, source: Source, settings: DuckdbSettings, batches: Batches) -> None:
        self._source = source
        self._settings = settings
        self._batches = batches
        self._ready: list[tuple[bytes, int]] = []
        self._total = 0
        self._ended = False

    def next(self) -> tuple[bytes, int, bool]:
        """The next rows, how many they are, and whether they are the last."""
        try:
            # One ahead, to know whether there is more.
            while len(self._ready) < 2 and not self._ended:
                self._read()
        except BaseException:
            self.close()
            raise
        body, count = self._ready.pop(0) if self._ready else (b"", 0)
        return body, count, not self._ready and self._ended

    def drain(self) -> None:
        """Read all into memory, because the connection is needed for something else."""
        try:
            while not self._ended:
                self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Forget the rest."""
        self._ready.clear()
        if not self._ended:
            self._ended = True
            self._source.close()

    def _read(self) -> None:
        piece = self._source.read()
        if piece is None:
            self._ended = True
            return
        self._total += len(piece)
        if self._total > self._settings.max_rows:
            raise FFIError(
                f"the answer has more than {self._settings.max_rows} rows; use LIMIT or an aggregate, or raise the "
                "setting duckdb.max_rows"
            )
        self._add(piece)

    def _add(self, piece: Any) -> None:
        body, values = self._source.encode(piece)
        count, most = len(piece), self._batches
        size = len(body) + count * most.row_size
        values += count * most.row_values
        if size <= most.size and values <= most.values:
            self._ready.append((body, count))
        elif count > 1:
            self._add(piece[: count // 2])
            self._add(piece[count // 2 :])
        else:
            raise FFIError(
                f"one row has {size} bytes and {values} values, at most {most.size} bytes and {most.values} values are "
                "handed over at once; select less of it, or raise the setting duckdb.batch_bytes"
            )


class _Arrow:
    """Batches of Arrow: as IPC streams, or as columns of values that were cast."""

    def __init__(self, relation: Any, forms: list[Form] | None, settings: DuckdbSettings) -> None:
        types = [str(type) for type in relation.types]
        casts = (
            [arrow_type(type) for type in relation.types] if forms is None else [form.cast for form in forms]
        )
        if casts != types:
            names = [name.replace('"', '""') for name in relation.columns]
            relation = relation.project(
                ", ".join(
                    f'#{at} AS "{name}"' if cast == type else f'CAST(#{at} AS {cast}) AS "{name}"'
                    for at, (name, cast, type) in enumerate(zip(names, casts, types, strict=True), 1)
                )
            )
        self._reader = relation.to_arrow_reader(settings.batch_rows)
        self._forms = forms

    def read(self) -> Any:
        for batch in self._reader:
            if batch.num_rows:
                return _Batch(batch)
        return None

    def encode(self, piece: _Batch) -> tuple[bytes, int]:
        if self._forms is None:
            import pyarrow

            sink = pyarrow.BufferOutputStream()
            with pyarrow.ipc.new_stream(sink, piece.batch.schema) as writer:
                writer.write_batch(piece.batch)
            body: bytes = sink.getvalue().to_pybytes()
            return body, 0
        columns = (column.to_pylist() for column in piece.batch.columns)
        return _encoded([(form.make, values) for form, values in zip(self._forms, columns, strict=True)])

    def close(self) -> None:
        self._reader.close()


class _Batch:
    """A batch with the manners of a list."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        rows: int = self.batch.num_rows
        return rows

    def __getitem__(self, part: slice) -> _Batch:
        start, stop, _ = part.indices(len(self))
        return _Batch(self.batch.slice(start, stop - start))


class Shape(NamedTuple):
    """What is known of a query whose rows need no cast: names and types of its columns, and how values are made."""

    columns: list[tuple[str, str]]
    forms: list[Form]


class _Direct:
    """Rows of DuckDB's own binding, which is the quickest for few: no types are cast, nothing is made into Arrow."""

    def __init__(
        self, connection: Any, statement: Any, params: Any, forms: list[Form], settings: DuckdbSettings
    ) -> None:
        self._connection = connection
        self._makes = [form.direct or None for form in forms]
        self._rows = settings.batch_rows
        connection.execute(statement, params or None)

    def read(self) -> Any:
        return self._connection.fetchmany(self._rows) or None

    def encode(self, piece: Any) -> tuple[bytes, int]:
        return _encoded(
            [(make, list(values)) for make, values in zip(self._makes, zip(*piece, strict=True), strict=True)]
        )

    def close(self) -> None:
        self._connection.abort()


def rows_of(relation: Any, settings: DuckdbSettings, batches: Batches, *, arrow: bool) -> Rows:
    """The rows of a relation, wanted as Arrow, or as values."""
    forms = None if arrow else [form_of(type) for type in relation.types]
    return Rows(_Arrow(relation, forms, settings), settings, batches)


def batches_of(names: list[str], size: int, values: int, *, arrow: bool) -> Batches:
    """How much is handed over of rows with these columns."""
    if arrow:
        return Batches(size, values)
    return Batches(size, values, sum(len(name.encode()) + _KEY for name in names) + _KEY, len(names) + 1)


def shape_of(statement: Any, relation: Any) -> Shape | None:
    """That of a query which was not executed yet and needs no cast; None of others."""
    # NOTE: what writes, by nextval() or within WITH too, has been executed by now, and the relation reads its result.
    if relation.sql_query() != statement.query.strip(" \n;"):
        return None
    forms = [form_of(type) for type in relation.types]
    if any(form.direct is False for form in forms):
        return None
    return Shape(_columns(relation.columns, relation.types), forms)


def direct_rows(
    connection: Any, statement: Any, params: Any, shape: Shape, settings: DuckdbSettings, batches: Batches
) -> Rows | None:
    """The rows of a query that had that shape when it was last looked at; None if it has another by now."""
    source = _Direct(connection, statement, params, shape.forms, settings)
    found = connection.description
    if _columns([column[0] for column in found], [column[1] for column in found]) == shape.columns:
        return Rows(source, settings, batches)
    source.close()
    return None


def _columns(names: list[str], types: list[Any]) -> list[tuple[str, str]]:
    return [(name, str(type)) for name, type in zip(names, types, strict=True)]


def _encoded(columns: list[tuple[Callable[[Any], Any] | None, list[Any]]]) -> tuple[bytes, int]:
    words = codec.encode(
        [
            values if make is None else [None if value is None else make(value) for value in values]
            for make, values in columns
        ]
    )
    return bytes(words), codec.count(words)
