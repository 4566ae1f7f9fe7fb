"""Records of a database, or rows of a query, into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mix_db.query.ast import (
    And,
    CloneMembers,
    Comparison,
    Exists,
    Field,
    Not,
    Object,
    Or,
    Query,
    RemoveMember,
    Scalar,
)
from mix_db.query.execute import compile_query
from mix_db.transfer.item import BOOKKEEPING, OWN_FIELDS, Writer, stripped
from mixkit.rows import Rows, ValueRows
from mixkit.storage import Reader

__all__ = ["export"]


def export(
    reader: Reader,
    writer: Writer,
    *,
    query: str | None = None,
    params: Mapping[str, Any] | None = None,
    history: bool = False,
    own_fields: bool = False,
    watch: Callable[[int], None] | None = None,
    warn: Callable[[Sequence[str]], None] | None = None,
) -> int:
    """Write all records as they are at this moment, in the order of their commits; answers how many.

    The notes of imports that are not done (see `journal`) are left out.

    Args:
        query: write the rows of this query instead.
        history: write all versions and tombstones, with the fields of the engine.
        own_fields: keep the fields of the engine that a save would ignore.
        watch: called with the number of rows so far, from time to time.
        warn: called at the end with the warnings of the query.

    Raises:
        QueryError: the query cannot be run.
        TransferError: the format cannot hold a row.
    """
    keep = own_fields or history
    asked = compile_query("true" if query is None else query)
    # As long as it takes: the limit of a query is for those that somebody waits for.
    seen: dict[str, Any] = {"deleted": history, "superseded": history, "timeout": float("inf")}
    count = 0
    with reader.query(asked if asked.stages else _records(asked, keep), params, **seen) as cursor:
        while batch := cursor.next_rows():
            rows = _stripped(batch, keep) if asked.stages else batch
            writer.write(rows)
            count += len(rows)
            if watch is not None:
                watch(count)
        if warn is not None:
            warn(cursor.warnings())
    writer.finish()
    return count


def _records(query: Query, keep: bool) -> Query:
    """The query without what is left out, where its rows are records; these then go on as they are stored."""
    kind = Field("_rmx_type")
    noted = Or((Not(Exists(kind)), Comparison("!=", kind, Scalar(BOOKKEEPING))))
    filtered = And((query.filter, noted))
    if keep:
        return Query(filtered)
    return Query(filtered, (Object((CloneMembers(), *map(RemoveMember, sorted(OWN_FIELDS)))),))


def _stripped(batch: Rows, keep: bool) -> Rows:
    """The same of rows that stages have made."""
    rows = (row for row in batch.values() if row.get("_rmx_type") != BOOKKEEPING)
    return ValueRows([row if keep else dict(stripped(row)) for row in rows])
