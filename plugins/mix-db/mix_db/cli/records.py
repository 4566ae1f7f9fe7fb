"""`mixkit db get, put, delete, history`: single records."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from mix_db.cli.printing import format_option, print_rows, print_warnings
from mix_db.cli.target import Target, database_option
from mix_db.cli.values import as_of_option, param_option, read_params, seen_by
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import agreed

if TYPE_CHECKING:
    from mixkit.storage import Record
    from mixkit.value import Ref

__all__ = ["delete", "get", "history", "put"]

_BATCH = 1000


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@as_of_option
@format_option
@database_option
@json_option
@pass_session
def get(session: Session, target: Target, ids: tuple[str, ...], as_of: str | None, format: str | None) -> int:
    """Print the records with these ids. The status is 1 if one is unknown or deleted."""
    out = Output(session.as_json)
    with target.open("read") as database:
        reader = seen_by(database, as_of)
        found = [reader.get(id) for id in ids]
    if session.as_json:
        from mixkit import tagged_json

        out.document([tagged_json.to_json(record) for record in found])
    else:
        print_rows((record for record in found if record is not None), format, out)
        for id, record in zip(ids, found, strict=True):
            if record is None:
                out.note(f"no record {id}", "warning")
    return 1 if None in found else 0


@click.command()
@click.argument("texts", metavar="[RECORD]...", nargs=-1)
@click.option("--upsert", is_flag=True, help="Lay the fields over those of the record with that id.")
@click.option("--keep-original", is_flag=True, help="Leave a record with a known id as it is.")
@click.option("--original-id-always", is_flag=True, help="Take any text for an id, none for a temporary one.")
@click.option("--dont-use-id", is_flag=True, help="Every record is new, whatever id it has.")
@click.option("--unchanged", is_flag=True, help="Only if each record is still the version of its _rmx_rev.")
@database_option
@json_option
@pass_session
def put(session: Session, /, target: Target, texts: tuple[str, ...], **options: bool) -> None:
    """Save records, all of them in one commit or none, and print their ids.

    RECORD is an object in tagged JSON, or @FILE with one; without any, NDJSON is read from standard input. Records may
    refer to each other by ids that are made up, which are replaced by new ones.

    With --unchanged nothing is stored if somebody else has changed one of the records since it was read with get;
    the status is 1 then. An _rmx_rev that is null stands for a record that must not be there.
    """
    from mixkit.storage import SaveOptions

    records = _given(texts) if texts and texts != ("-",) else _read_lines()
    with target.open("write") as database:
        done = database.save(records, SaveOptions(**options))
    if session.as_json:
        ids = [record["_rmx_id"].id for record in done.records]
        Output(True).document({"watermark": done.watermark, "ids": ids})
        return
    for record in done.records:
        click.echo(record["_rmx_id"].id)


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--where", metavar="QUERY", help="Delete the records that this query keeps.")
@param_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@database_option
@json_option
@pass_session
def delete(
    session: Session,
    target: Target,
    ids: tuple[str, ...],
    where: str | None,
    pairs: tuple[str, ...],
    yes: bool,
) -> None:
    """Delete records, by their ids or by what they are. Their history stays until a compaction drops it."""
    out = Output(session.as_json)
    if bool(ids) == (where is not None):
        raise click.UsageError("give ids, or --where QUERY")
    if pairs and where is None:
        raise click.UsageError("--param goes with --where")
    with target.open("write") as database:
        if where is None:
            doomed: Sequence[str | Ref] = ids
        else:
            with database.query(where, read_params(pairs)) as cursor:
                doomed = [_identity(row) for row in cursor]
                print_warnings(cursor.warnings(), out)
        if doomed:
            _agree(len(doomed), yes, out)
        deleted = unknown = 0
        watermark = database.watermark()
        for batch in _batches(doomed):
            done = database.delete(batch)
            watermark = done.watermark
            unknown += sum(not record for record in done.records)
            deleted += sum(bool(record) for record in done.records)
    if session.as_json:
        out.document({"deleted": deleted, "unknown": unknown, "watermark": watermark})
    else:
        out.line(f"deleted {deleted}" + (f", {unknown} were unknown" if unknown else ""))


@click.command()
@click.argument("id", metavar="ID")
@click.option("--format", "-f", type=click.Choice(["text", "ndjson", "json"]), help="How it is printed.")
@database_option
@json_option
@pass_session
def history(session: Session, target: Target, id: str, format: str | None) -> None:
    """Show all versions of a record: when each was committed, and what it changed.

    In a pipe the versions themselves, as NDJSON.
    """
    from mixkit.errors import NotFound

    with target.open("read") as database:
        versions = database.history(id)
    if not versions:
        raise NotFound(f"no record has or had the id {id!r:.80}")
    out = Output(session.as_json)
    if session.as_json or format in ("json", "ndjson") or (format is None and not sys.stdout.isatty()):
        print_rows(versions, "json" if session.as_json else format, out)
        return
    from mix_db.cli.changes import change_lines

    before: Record = {}
    for version in versions:
        for text, style in change_lines(before, version):
            out.line(text, style)
        before = version


def _given(texts: Iterable[str]) -> list[Any]:
    from mixkit.cli.params import read_json

    return [read_json(text, "RECORD") for text in texts]


def _read_lines() -> list[Any]:
    from pathlib import Path

    from mix_db.transfer.errors import TransferError
    from mix_db.transfer.ndjson import NDJSONReader
    from mix_db.transfer.source import Source
    from mixkit.errors import TaggedJSONError

    records = []
    with Source(Path("-")) as source:
        reader = NDJSONReader(source)
        for item in reader.items():
            try:
                if item.problem:
                    raise TransferError(item.problem)
                records.append(reader.record(item))
            except (TaggedJSONError, TransferError) as exc:
                raise TransferError(f"standard input, line {item.place}: {exc}") from None
    return records


def _identity(row: Mapping[str, Any]) -> Ref:
    from mixkit.value import Ref

    id = row.get("_rmx_id")
    if not isinstance(id, Ref):
        raise click.BadParameter(
            "expected a query of whole records, or of rows with their _rmx_id; found a row without",
            param_hint="--where",
        )
    return id


def _agree(count: int, yes: bool, out: Output) -> None:
    what = "1 record" if count == 1 else f"{count} records"
    agreed(f"Delete {what}?", yes, out, f"it deletes {what}")


def _batches(ids: Sequence[str | Ref]) -> Iterator[list[str | Ref]]:
    rest = iter(ids)
    while batch := list(islice(rest, _BATCH)):
        yield batch
