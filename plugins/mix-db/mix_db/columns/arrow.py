"""Columns as Arrow, made with pyarrow, which is installed with the extra `mix-db[sql]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mix_db.columns.shape import ROW, Shape
from mix_db.columns.walk import Code, Filled
from mix_db.versions.version import read_version
from mixkit import tagged_json
from mixkit.errors import NotFound

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["batch", "begins", "pyarrow", "schema", "stream"]

_JSON: Final = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
_FIELD: Final = "mixkit.field"
_KEPT: Final = 4_096


def pyarrow() -> Any:
    """The module, imported now.

    Raises:
        NotFound: it is not installed.
    """
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise NotFound(
            'tables of SQL are handed over by pyarrow, which is not installed; pip install "mix-db[sql]"'
        ) from None
    return pyarrow


def schema(root: Shape) -> pa.Schema:
    """The columns of a table, and the number of the version's row. Fields that SQL calls otherwise say so."""
    arrow = pyarrow()
    fields = [_field(column) for column in root.children]
    return arrow.schema([*fields, arrow.field(ROW, arrow.int64())])


def _field(column: Shape) -> pa.Field:
    arrow = pyarrow()
    metadata = dict(_JSON) if column.code in (Code.RAW, Code.REST) else {}
    if column.field != column.name:
        metadata[_FIELD] = column.field
    return arrow.field(column.name, _type(column), metadata=metadata or None)


def _type(column: Shape) -> pa.DataType:
    arrow = pyarrow()
    match column.code:
        case Code.BOOL:
            return arrow.bool_()
        case Code.INT | Code.TIME:
            return arrow.int64()
        case Code.FLOAT:
            return arrow.float64()
        case Code.BINARY:
            return arrow.binary()
        case Code.LIST:
            return arrow.list_(_field(column.children[0]))
        case Code.STRUCT:
            return arrow.struct([_field(child) for child in column.children])
        case _:
            return arrow.utf8()


def batch(root: Shape, table: pa.Schema, filled: Filled, rows: Any) -> pa.RecordBatch:
    """One batch of a table.

    Args:
        root: its shape, by which it was filled.
        table: its schema.
        rows: the numbers of the rows, u32.
    """
    arrow = pyarrow()
    columns = [_array(shape, part) for shape, part in zip(root.children, filled[5], strict=True)]
    columns.append(arrow.array(rows, arrow.int64()))
    return arrow.RecordBatch.from_arrays(columns, schema=table)


def _array(shape: Shape, filled: Filled) -> pa.Array:
    arrow = pyarrow()
    length, nulls, valid, offsets, data, children = filled
    kind = _type(shape)
    buffers = [arrow.py_buffer(valid) if nulls else None]
    inside = None
    match shape.code:
        case Code.LIST | Code.STRUCT:
            if shape.code == Code.LIST:
                buffers.append(arrow.py_buffer(offsets))
            inside = [_array(child, part) for child, part in zip(shape.children, children, strict=True)]
        case Code.RAW | Code.REST:
            raw = arrow.Array.from_buffers(
                arrow.binary(), length, [*buffers, arrow.py_buffer(offsets), arrow.py_buffer(data)], nulls
            )
            return arrow.array(_texts(raw.to_pylist()), arrow.utf8())
        case Code.BOOL | Code.INT | Code.FLOAT | Code.TIME:
            buffers.append(arrow.py_buffer(data))
        case _:
            buffers += [arrow.py_buffer(offsets), arrow.py_buffer(data)]
    return arrow.Array.from_buffers(kind, length, buffers, nulls, children=inside)


def _texts(values: list[bytes | None]) -> list[str | None]:
    """Values in MessagePack as tagged JSON."""
    kept: dict[bytes | None, str | None] = {None: None}
    made: list[str | None] = []
    for value in values:
        if (text := kept.get(value)) is None and value is not None:
            # A value is read as the only field of a record.
            text = tagged_json.dumps(read_version(b"\x81\xa1v" + value)["v"])
            if len(kept) < _KEPT:
                kept[value] = text
        made.append(text)
    return made


def stream(
    table: pa.Schema, batches: Iterable[pa.RecordBatch], *, begun: bool = False
) -> Iterator[memoryview]:
    """The table as an Arrow IPC stream, part by part: the schema, unless it is `begun`, each batch, the end."""
    arrow = pyarrow()
    parts = _Parts(table.serialize().size if begun else 0)
    with arrow.ipc.new_stream(parts, table) as writer:
        for one in batches:
            writer.write_batch(one)
            yield from parts.taken()
    yield from parts.taken()


def begins(made: memoryview, table: pa.Schema) -> bool:
    """Whether a stream is one of this schema."""
    head = memoryview(table.serialize()).cast("B")
    return made[: len(head)].cast("B") == head


class _Parts:
    """A file that keeps what is written until it is taken, but for so many bytes at its beginning."""

    closed = False

    def __init__(self, skipped: int) -> None:
        self._skipped = skipped
        self._parts: list[memoryview] = []

    def write(self, part: Any) -> int:
        # Bytes, or a buffer of pyarrow's, which keeps what it is of: nothing is copied.
        view = memoryview(part).cast("B")
        self._parts.append(view[self._skipped :])
        self._skipped -= min(self._skipped, len(view))
        return len(view)

    def flush(self) -> None:
        """Nothing waits."""

    def taken(self) -> list[memoryview]:
        parts, self._parts = self._parts, []
        return parts
