"""`mixkit db sql`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mix_db.cli.printing import format_option, print_rows
from mix_db.cli.target import Target, database_option
from mix_db.cli.values import as_of_option, param_option, read_params, seen_by
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mix_db.sql import SqlRows
    from mixkit.storage import Reader

__all__ = ["sql"]


@click.command()
@click.argument("text", metavar="SQL", required=False)
@param_option
@as_of_option
@click.option("--tables", "listed", is_flag=True, help="Print which tables there are, instead.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Print the first N rows at most.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Most seconds for the statement; at most what the setting statement_time of mix-duckdb allows.",
)
@format_option
@click.option("--csv", is_flag=True, help="The same as --format csv.")
@click.option(
    "--parquet",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the rows to a Parquet file instead.",
)
@database_option
@json_option
@pass_session
def sql(
    session: Session,
    target: Target,
    text: str | None,
    pairs: tuple[str, ...],
    as_of: str | None,
    listed: bool,
    limit: int | None,
    timeout: float | None,
    format: str | None,
    csv: bool,
    parquet: Path | None,
) -> None:
    """Run SQL and print its rows; @FILE reads it from a file, - from standard input. See docs/sql.md.

    \b
    mixkit db sql 'select kind, count(*) from note group by kind' --db shelf
    mixkit db sql 'from records where stars >= $least' -p least=3 --db shelf

    Each record type is a table, and records has them all. DuckDB runs it (the plugin duckdb of the profile), in a
    process of its own that sees nothing else and changes no record.
    """
    out = Output(session.as_json)
    if (text is None) is not listed:
        raise click.UsageError("give SQL, or --tables")
    if listed and (pairs or limit is not None or timeout is not None or parquet is not None):
        raise click.UsageError("--tables runs no SQL; leave --param, --limit, --timeout and --parquet away")
    if sum((csv, parquet is not None, format is not None)) > 1:
        raise click.UsageError("give one of --format, --csv and --parquet")
    shown = "csv" if csv else format
    if listed:
        with target.open("read") as database:
            print_rows(_tables(seen_by(database, as_of)), shown, out, whole=True)
        return
    from mix_db.sql import Sql
    from mixkit.cli.params import read_text
    from mixkit.sql_engine import sql_engine_of

    statement, params = read_text(text or "", "SQL"), read_params(pairs)
    engine = sql_engine_of(session.loaded_profile())
    with target.open("read") as database:
        reader = seen_by(database, as_of)
        with (
            closing(Sql(reader, engine)) as asked,
            closing(asked.query(statement, params, timeout=timeout, arrow=parquet is not None)) as rows,
        ):
            if parquet is None:
                count = print_rows(islice(rows, limit), shown, out, whole=True)
            else:
                count = _write(rows, parquet, limit)
    if parquet is not None:
        if out.as_json:
            out.document({"file": str(parquet), "rows": count})
        else:
            out.note(f"{count} {'row' if count == 1 else 'rows'} in {parquet}")
    elif not count and sys.stdout.isatty() and not out.as_json:
        out.note("no rows")


def _tables(reader: Reader) -> Iterator[dict[str, Any]]:
    """What is told of each table."""
    from mix_db.columns.tables import RecordTables
    from mixkit.sql import tables_of

    tables = tables_of(reader)
    assert isinstance(tables, RecordTables)
    for name in tables.names():
        yield {"table": name, "type": tables.type_of(name), "records": tables.count(name)}


def _write(rows: SqlRows, path: Path, limit: int | None) -> int:
    """Write the rows to a Parquet file, which is there whole or not at all; answers how many."""
    from mix_db.columns.arrow import pyarrow
    from mix_db.transfer.output import new_file

    arrow = pyarrow()
    parquet = importlib.import_module("pyarrow.parquet")
    count = 0
    with new_file(path) as file:
        writer = None
        for batch in rows.arrow():
            table = arrow.ipc.open_stream(batch).read_all()
            if limit is not None:
                table = table.slice(0, limit - count)
            if writer is None:
                writer = parquet.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
            count += table.num_rows
            if count == limit:
                break
        if writer is None:
            # A file of no rows has no columns that anybody told us the types of.
            writer = parquet.ParquetWriter(file, arrow.schema([]))
        writer.close()
    return count
