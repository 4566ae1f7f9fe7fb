"""Parquet, read and written by DuckDB, which is installed with the extra `mix-db[parquet]`.

A field becomes a column of the type that most of its values have; what the column cannot hold exactly is also in
the column `_rmx_rest`, tagged JSON of a map of such fields, which wins when the file is read. The types that Parquet
has no name for are in the file's metadata, under `mixkit`: a JSON object of columns and their types.

    VARCHAR  string, ref, json (tagged JSON)      BIGINT  int      DOUBLE  float      BOOLEAN  bool      BLOB  binary
    LIST     array of one of these                STRUCT  map whose fields have types

Files of others: dates and times (those with a zone in UTC, `…Z`), decimals of more than 15 digits, UUIDs and the like
are read as text, so that nothing is lost; a null is no field.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from mix_db.transfer.errors import BadItem, TransferError
from mix_db.transfer.item import Item
from mix_db.transfer.source import Source
from mix_db.transfer.spool import Spool
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.near import meant
from mixkit.rows import Rows
from mixkit.value import Ref

if TYPE_CHECKING:
    import duckdb

__all__ = ["KINDS", "REST", "ParquetReader", "ParquetWriter"]

REST: Final = "_rmx_rest"
KINDS: Final = ("ref", "json")
"""What `--types` may say of a column of text."""

_METADATA: Final = "mixkit"
_ROWS: Final = 1000
_MAX_FIELDS: Final = 200
_MAX_DEPTH: Final = 8

Type: TypeAlias = Any
"""A name of `_SQL`; `[Type]` for arrays, `{name: Type}` for maps; None where no value was seen."""

_SQL: Final = {
    "string": "VARCHAR",
    "ref": "VARCHAR",
    "json": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    # Through base64, since the file in between is JSON.
    "binary": "VARCHAR",
}


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise TransferError(
            'Parquet is read and written by DuckDB, which is not installed; pip install "mix-db[parquet]"'
        ) from None
    return duckdb


@contextlib.contextmanager
def _connection(longest: int = 0) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in memory, which loads nothing from the network.

    Args:
        longest: bytes of the largest row, which it holds several times.

    Raises:
        TransferError: in the place of its own errors.
    """
    module = _duckdb()
    with tempfile.TemporaryDirectory(prefix="mixkit-") as scratch:
        connection = module.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "temp_directory": scratch,
                "memory_limit": f"{1024 + 16 * (longest >> 20)}MiB",
                "threads": "2",
            }
        )
        try:
            yield connection
        except module.Error as exc:
            raise TransferError(str(exc).partition("\n")[0]) from None
        finally:
            connection.close()


# ---------------------------------------------------------------------------------------------------- types


def _type_of(value: Any, depth: int = 0) -> Type:
    match value:
        case None:
            return None
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "string"
        case bytes():
            return "binary"
        case Ref():
            return "ref"
        case list() if depth < _MAX_DEPTH:
            found: Type = None
            for item in value:
                found = _common(found, _type_of(item, depth + 1))
            return [found]
        case dict() if value and len(value) <= _MAX_FIELDS and depth < _MAX_DEPTH and _names(value):
            return {name: _type_of(item, depth + 1) for name, item in value.items()}
        case _:
            return "json"


def _names(names: Mapping[str, Any]) -> bool:
    """Whether DuckDB, which does not tell letters by their case, can tell the names from each other."""
    return len({name.casefold() for name in names}) == len(names) and all(_name(name) for name in names)


def _name(name: str) -> bool:
    return bool(name) and "\0" not in name


def _common(one: Type, other: Type) -> Type:
    """A type that shows the values of both; `json` if there is nothing better."""
    if one == other or other is None:
        return one
    if one is None:
        return other
    if isinstance(one, list) and isinstance(other, list):
        return [_common(one[0], other[0])]
    if isinstance(one, dict) and isinstance(other, dict):
        names = one | other
        if len(names) <= _MAX_FIELDS and _names(names):
            return {name: _common(one.get(name), other.get(name)) for name in names}
        return "json"
    if {"int", "float"} == {one, other} if isinstance(one, str) and isinstance(other, str) else False:
        return "float"
    return "json"


def _noted(known: Type, value: Any) -> Type:
    return _common(known, _type_of(value))


def _settled(kind: Type) -> Type:
    """The type with text, which holds no null, where nothing but nulls was seen."""
    if isinstance(kind, list):
        return [_settled(kind[0])]
    if isinstance(kind, dict):
        return {name: _settled(item) for name, item in kind.items()}
    return kind or "string"


def _sql(kind: Type) -> str:
    if isinstance(kind, list):
        return f"{_sql(kind[0])}[]"
    if isinstance(kind, dict):
        return f"STRUCT({', '.join(f'{_quoted(name)} {_sql(item)}' for name, item in kind.items())})"
    return _SQL[kind]


def _final(kind: Type, place: str) -> str:
    """An expression that makes the column at `place` what it is in the Parquet file."""
    if kind == "binary":
        return f"from_base64({place})"
    if isinstance(kind, list) and _has_binary(kind):
        return f"list_transform({place}, lambda x: {_final(kind[0], 'x')})"
    if isinstance(kind, dict) and _has_binary(kind):
        parts = (
            f"{_quoted(name)} := {_final(item, f'struct_extract({place}, {_text(name)})')}"
            for name, item in kind.items()
        )
        return f"CASE WHEN {place} IS NULL THEN NULL ELSE struct_pack({', '.join(parts)}) END"
    return place


def _has_binary(kind: Type) -> bool:
    if isinstance(kind, list):
        return _has_binary(kind[0])
    return any(map(_has_binary, kind.values())) if isinstance(kind, dict) else bool(kind == "binary")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _shown(value: Any, kind: Type) -> tuple[Any, bool]:
    """The value as JSON of the column's type, None if there is nothing like it; and whether it is exactly that."""
    match kind:
        case "json":
            return tagged_json.dumps(value), True
        case "int" if type(value) is int:
            return value, True
        case "float" if type(value) is float:
            # JSON has no spelling for what is not finite.
            return (value, True) if value - value == 0 else (None, False)
        case "float" if type(value) is int:
            return float(value), False
        case "bool" if type(value) is bool:
            return value, True
        case "string" if type(value) is str:
            return value, "\0" not in value
        case "ref" if type(value) is Ref:
            return value.id, "\0" not in value.id
        case "binary" if type(value) is bytes:
            return base64.b64encode(value).decode(), True
        case [item_kind] if type(value) is list:
            parts = [_shown(item, item_kind) for item in value]
            return [shown for shown, _ in parts], all(exact and shown is not None for shown, exact in parts)
        case dict() if type(value) is dict:
            exact = True
            made = {}
            for name, item in value.items():
                made[name], fits = _shown(item, kind[name]) if name in kind else (None, False)
                exact = exact and fits and made[name] is not None
            return made, exact
        case _:
            return None, False


# ---------------------------------------------------------------------------------------------------- reading


class ParquetReader:
    """See `Reader`.

    Args:
        kinds: `ref` or `json` by name of a column of text.

    Raises:
        TransferError: it is no Parquet file, it is packed, or DuckDB is not installed.
    """

    unit = "row"

    def __init__(self, source: Source, *, kinds: Mapping[str, str] = {}) -> None:
        if source.path is None or source.size is None or source.packed:
            raise TransferError(
                f"{source.name}: a Parquet file is not read from its beginning to its end; name a file, unpacked"
            )
        self._source = source
        # By its descriptor: in a path DuckDB would follow addresses and patterns.
        self._path = f"/proc/self/fd/{source.descriptor}"
        os.lseek(source.descriptor, 0, os.SEEK_SET)
        with open(self._path, "rb") as file:  # noqa: PTH123 - the descriptor's own file, from its beginning
            self.head = hashlib.file_digest(file, "sha256").digest()
        with self._reading() as connection:
            found = connection.execute("SELECT * FROM read_parquet(?) LIMIT 0", [self._path])
            self._columns = [(str(column[0]), str(column[1])) for column in found.description or ()]
            stored = connection.execute(
                "SELECT value FROM parquet_kv_metadata(?) WHERE decode(key) = ?", [self._path, _METADATA]
            ).fetchone()
        names = {name for name, _ in self._columns}
        for name, kind in kinds.items():
            if name not in names:
                raise TransferError(
                    f"{source.name}: no column {name!r} to have the kind {kind!r}; "
                    f"there are: {', '.join(names)}{meant(name, names)}"
                )
            if kind not in KINDS:
                raise TransferError(
                    f"{source.name}: columns of Parquet have types; a column of text can be one of "
                    f"{', '.join(KINDS)}, found {kind!r}"
                )
        types = self._types(stored[0] if stored else None) | dict(kinds)
        self._readers = [(name, _reader(sql, types.get(name))) for name, sql in self._columns]

    def items(self) -> Iterator[Item]:
        with self._reading() as connection:
            shown = ", ".join(_fetched(_quoted(name), sql) for name, sql in self._columns)
            rows = connection.execute(f"SELECT {shown} FROM read_parquet(?)", [self._path])
            numbers = itertools.count(1)
            while batch := rows.fetchmany(_ROWS):
                for row in batch:
                    yield Item(next(numbers), b"", row)

    def record(self, item: Item) -> Any:
        record = {}
        rest = None
        for (name, read), cell in zip(self._readers, item.content, strict=True):
            if cell is None:
                continue
            if name == REST:
                rest = cell
                continue
            try:
                record[name] = read(cell)
            except (TaggedJSONError, TypeError, ValueError) as exc:
                raise BadItem(f"column {name!r}: {exc}") from None
        if rest is not None:
            try:
                exact = tagged_json.loads(rest)
            except (TaggedJSONError, TypeError) as exc:
                raise BadItem(f"column {REST!r}: {exc}") from None
            if not isinstance(exact, dict):
                raise BadItem(f"column {REST!r}: expected a map in tagged JSON")
            record |= exact
        return record

    def text(self, item: Item) -> bytes:
        names = [name for name, _ in self._columns]
        return json.dumps(dict(zip(names, item.content, strict=True)), default=str).encode()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            with _connection() as connection:
                yield connection
        except TransferError as exc:
            raise TransferError(
                f"{self._source.name}: expected a Parquet file: {str(exc).replace(self._path, 'it')}"
            ) from None

    def _types(self, stored: bytes | None) -> dict[str, Type]:
        try:
            found = msgspec.json.decode(stored or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = {}
        return found if isinstance(found, dict) else {}


def _fetched(column: str, sql: str) -> str:
    """An expression for a column in which nothing is lost that Python's times do not have."""
    if sql == _ZONED:
        return f"make_timestamp(epoch_us({column}))"
    if _ZONED in sql or _NANOSECONDS in sql:
        return f"CAST({column} AS {sql.replace(_ZONED, 'VARCHAR').replace(_NANOSECONDS, 'VARCHAR')})"
    return column


def _reader(sql: str, kind: Type) -> Callable[[Any], Any]:
    """What makes a value of DuckDB's Python object for a column that is not null."""
    if kind is not None and kind not in _PLAIN:
        return lambda cell: _typed(cell, kind)
    if sql == _ZONED:
        return lambda cell: f"{cell.isoformat()}Z"
    if sql == _NANOSECONDS:
        return lambda cell: cell.replace(" ", "T")
    if sql in _NUMBERS:
        return lambda cell: cell
    if sql.startswith("DECIMAL(") and "[" not in sql and int(sql[8:].partition(",")[0]) <= 15:
        return lambda cell: (
            int(cell) if cell == cell.to_integral_value() and sql.endswith(",0)") else float(cell)
        )
    return _foreign


_ZONED: Final = "TIMESTAMP WITH TIME ZONE"
_NANOSECONDS: Final = "TIMESTAMP_NS"
_PLAIN: Final = ("string", "int", "float", "bool", "binary")
_NUMBERS: Final = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "DOUBLE", "BOOLEAN", "VARCHAR", "BLOB")


def _typed(cell: Any, kind: Type) -> Any:
    """A value that `_shown` wrote."""
    if cell is None:
        return None
    match kind:
        case "ref":
            return Ref(cell)
        case "json":
            return tagged_json.loads(cell)
        case [item_kind] if isinstance(cell, list):
            return [_typed(item, item_kind) for item in cell]
        case dict() if isinstance(cell, dict):
            return {name: _typed(item, kind.get(name)) for name, item in cell.items() if item is not None}
        case _:
            return cell


def _foreign(cell: Any) -> Any:
    """A value of a file that somebody else wrote; what has no kind of ours as the text that says it all."""
    match cell:
        case bool() | int() | float() | str() | bytes() | None:
            return cell
        case datetime() | date() | time():
            return cell.isoformat()
        case timedelta():
            return f"{cell / timedelta(seconds=1):.6f}s"
        case Decimal():
            return str(cell)
        case bytearray() | memoryview():
            return bytes(cell)
        case list() | tuple():
            return [_foreign(item) for item in cell]
        case dict() if all(isinstance(name, str) for name in cell):
            return {name: _foreign(item) for name, item in cell.items() if item is not None}
        case dict():
            return [[_foreign(name), _foreign(item)] for name, item in cell.items()]
        case _:
            return str(cell)


# ---------------------------------------------------------------------------------------------------- writing


class ParquetWriter:
    """See `Writer`. Nothing is written before `finish`, since the types of columns come of all records."""

    def __init__(self, stream: IO[bytes]) -> None:
        _duckdb()
        self._stream = stream
        self._spool: Spool[Type] = Spool(_noted)

    def write(self, rows: Rows) -> None:
        self._spool.add(rows.values())

    def finish(self) -> None:
        columns = self._columns()
        with tempfile.TemporaryDirectory(prefix="mixkit-") as scratch:
            rows, made = Path(scratch) / "rows.ndjson", Path(scratch) / "made.parquet"
            longest = 1 << 20
            with rows.open("wb") as file:
                for record in self._spool.records():
                    line = msgspec.json.encode(self._row(record, columns)) + b"\n"
                    longest = max(longest, len(line))
                    file.write(line)
            names = [*columns, REST]
            types = {name: _settled(kind) for name, kind in columns.items()} | {REST: "string"}
            # The columns have numbers in between, because DuckDB reads the names of JSON regardless of case.
            fields = ", ".join(f"c{at}: {_text(_sql(types[name]))}" for at, name in enumerate(names))
            shown = ", ".join(
                f"{_final(types[name], f'c{at}')} AS {_quoted(name)}" for at, name in enumerate(names)
            )
            with _connection(longest) as connection:
                connection.execute(
                    f"COPY (SELECT {shown} FROM read_json({_text(str(rows))}, format = 'newline_delimited', "
                    f"maximum_object_size = {longest}, columns = {{{fields}}})) "
                    f"TO {_text(str(made))} (FORMAT parquet, COMPRESSION zstd, "
                    f"KV_METADATA {{{_METADATA}: {_text(json.dumps(types))}}})"
                )
            with made.open("rb") as done:
                shutil.copyfileobj(done, self._stream, 1 << 20)

    def close(self) -> None:
        self._spool.close()

    def _columns(self) -> dict[str, Type]:
        """Those whose names DuckDB can tell apart; the others are in the rest."""
        columns: dict[str, Type] = {}
        seen = {REST}
        for name, kind in self._spool.columns.items():
            if _name(name) and name.casefold() not in seen:
                seen.add(name.casefold())
                columns[name] = _settled(kind)
        return columns

    def _row(self, record: Mapping[str, Any], columns: Mapping[str, Type]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        rest = {}
        for at, (name, kind) in enumerate(columns.items()):
            if name in record:
                row[f"c{at}"], exact = _shown(record[name], kind)
                if not exact or row[f"c{at}"] is None:
                    rest[name] = record[name]
        rest |= {name: value for name, value in record.items() if name not in columns}
        if rest:
            row[f"c{len(columns)}"] = tagged_json.dumps(rest)
        return row
