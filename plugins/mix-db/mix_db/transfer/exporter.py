"""Records of a database, or rows of a query, into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mix_db.transfer.item import BOOKKEEPING, Writer, stripped
from mixkit.storage import Cursor, Reader

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
    count = 0
    with _rows(reader, query, params, history) as cursor:
        while batch := cursor.next():
            rows: list[Mapping[str, Any]] = [
                row if keep else stripped(row) for row in batch if row.get("_rmx_type") != BOOKKEEPING
            ]
            writer.write(rows)
            count += len(rows)
            if watch is not None:
                watch(count)
        if warn is not None:
            warn(cursor.warnings())
    writer.finish()
    return count


def _rows(reader: Reader, query: str | None, params: Mapping[str, Any] | None, history: bool) -> Cursor:
    # As long as it takes: the limit of a query is for those that somebody waits for.
    return reader.query(
        "true" if query is None else query,
        params,
        deleted=history,
        superseded=history,
        timeout=float("inf"),
    )
