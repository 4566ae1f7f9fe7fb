"""Rows on standard output: a table for people, NDJSON in a pipe, one JSON document with `--json`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import click

from mixkit import tagged_json
from mixkit.cli.output import Output, safe_json
from mixkit.rows import Rows, ValueRows
from mixkit.storage import BATCH, Cursor

__all__ = ["format_option", "line_of", "print_rows", "print_warnings"]

format_option = click.option(
    "--format",
    "-f",
    "format",
    type=click.Choice(["table", "ndjson", "json", "msgpack", "csv"]),
    help="How rows are printed. By default a table on a terminal, NDJSON in a pipe.",
)


def line_of(row: Mapping[str, Any]) -> str:
    """The row as a line of NDJSON.

    Raises:
        TaggedJSONError: JSON has no spelling for it.
    """
    return tagged_json.dumps(dict(row))


def print_rows(
    rows: Iterable[Mapping[str, Any]], format: str | None, out: Output, *, whole: bool = False
) -> int:
    """Print rows as they come, save for `--json`, which prints all or none; answers how many.

    Args:
        whole: in a table too the fields of the engine are wanted, because somebody has asked for them.
    """
    if out.as_json:
        if format not in (None, "json"):
            raise click.UsageError(f"--json prints JSON, --format {format} something else; give one of them")
        trees = [tagged_json.to_json(dict(row)) for row in rows]
        out.document(trees)
        return len(trees)
    if format == "table" or (format is None and sys.stdout.isatty()):
        from mix_db.cli.table import print_table
        from mix_db.transfer.item import stripped

        # Where rows are versions of several times, the engine's fields are what tells them apart.
        past = {"_rmx_superseded", "_rmx_deleted"}
        return print_table(row if whole or past & row.keys() else stripped(row) for row in rows)
    return _write(rows, format or "ndjson")


def _write(rows: Iterable[Mapping[str, Any]], format: str) -> int:
    from mix_db.transfer.formats import writing

    if sys.stdout.isatty() and format == "msgpack":
        raise click.UsageError("MessagePack is binary; write it to a file or a pipe")
    terminal = sys.stdout.isatty()
    stream = sys.stdout.buffer
    count = 0
    # CSV of a query is for people and other programs: typed CSV is what `export` writes.
    with writing(format, stream, typed=False) as writer:
        for batch in _batches(rows):
            if terminal and format == "ndjson":
                click.echo(safe_json("\n".join(map(line_of, batch.values()))))
            else:
                writer.write(batch)
                stream.flush()
            count += len(batch)
        writer.finish()
        stream.flush()
    return count


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[Rows]:
    if isinstance(rows, Cursor):
        while batch := rows.next_rows():
            yield batch
        return
    rest = map(dict, rows)
    while values := list(islice(rest, BATCH)):
        yield ValueRows(values)


def print_warnings(warnings: Iterable[str], out: Output) -> None:
    """What a query names that no record has, beside the rows."""
    for warning in warnings:
        out.note(f"warning: {warning}", style="warning")
