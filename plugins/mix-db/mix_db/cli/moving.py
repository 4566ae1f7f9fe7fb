"""`mixkit db import` and `export`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from mix_db.cli.printing import print_warnings
from mix_db.cli.target import Target, database_option
from mix_db.cli.values import as_of_option, param_option, read_params, seen_by
from mix_db.transfer.formats import FORMATS, delimiter_of, format_of
from mixkit.cli.output import Output
from mixkit.cli.progress import Progress
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mix_db.transfer.importer import ImportOptions, Outcome
    from mix_db.transfer.references import Reference
    from mixkit.storage import Database, Reader

__all__ = ["export", "import_files"]

_delimiter_option = click.option(
    "--delimiter", metavar="CHAR", help="Between cells of CSV; by default a comma, a tab for .tsv."
)


@click.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@click.option(
    "--format", "-f", type=click.Choice(FORMATS), help="Of the files; by default what their names say."
)
@click.option(
    "--batch", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Records of a commit."
)
@click.option("--id-field", metavar="NAME", help="The field, a text or an integer, that is the record's id.")
@click.option("--type", "type_", metavar="NAME", help="_rmx_type of records that have none.")
@click.option("--types", multiple=True, metavar="COLUMN=KIND", help="Kind of a column of CSV. Repeatable.")
@click.option(
    "--ref",
    "refs",
    multiple=True,
    metavar="FIELD[=TYPE.KEY]",
    help="Make refs of a field: of the ids in it, or of what records of TYPE, imported before, have in their KEY. "
    "Repeatable.",
)
@_delimiter_option
@click.option("--upsert", is_flag=True, help="Lay the fields over those of the record with that id.")
@click.option("--keep-original", is_flag=True, help="Leave records whose id is known as they are.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do about a record that cannot be read or is refused.",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to keep what is skipped, and why; NAME.rejects.ndjson by default.",
)
@click.option("--restart", is_flag=True, help="Begin with the first record, whatever was imported before.")
@database_option
@json_option
@pass_session
def import_files(
    session: Session,
    target: Target,
    files: tuple[Path, ...],
    format: str | None,
    batch: int,
    id_field: str | None,
    type_: str | None,
    types: tuple[str, ...],
    refs: tuple[str, ...],
    delimiter: str | None,
    upsert: bool,
    keep_original: bool,
    on_error: str,
    rejects: Path | None,
    restart: bool,
) -> None:
    """Put the records of FILEs into the database; - is standard input. What is gzipped is unpacked.

    An import that was interrupted, by whatever, goes on where it was when it is started again. A file that was imported
    before is not imported twice, unless by --restart. See docs/import-export.md.
    """
    from mix_db.transfer.importer import ImportOptions

    out = Output(session.as_json)
    if upsert and keep_original:
        raise click.UsageError("--upsert and --keep-original exclude each other")
    if rejects is not None and on_error == "stop":
        raise click.UsageError("--rejects goes with --on-error skip")
    if rejects is not None and len(files) > 1:
        raise click.UsageError("--rejects is for one FILE; several have a file each")
    formats = [format or _known_format(file) for file in files]
    kinds = _kinds(types)
    references = _references(refs)
    outcomes = []
    with target.open("write") as database:
        for file, found in zip(files, formats, strict=True):
            options = ImportOptions(
                format=found,
                batch=batch,
                id_field=id_field,
                type=type_,
                upsert=upsert,
                keep_original=keep_original,
                skip_bad=on_error == "skip",
                rejects=(rejects or _rejects_of(file)) if on_error == "skip" else None,
                restart=restart,
                references=references,
                delimiter=_character(delimiter),
                kinds=kinds,
            )
            outcome = _import(database, file, options, out)
            outcomes.append(outcome)
            if not out.as_json:
                _report(outcome, options, out)
    if out.as_json:
        out.document([dataclasses.asdict(outcome) for outcome in outcomes])


def _import(database: Database, file: Path, options: ImportOptions, out: Output) -> Outcome:
    from mix_db.transfer.importer import Import
    from mix_db.transfer.source import Source

    with Source(file) as source, Progress(file.name, source.size, quiet=out.as_json) as progress:
        first = None

        def watch(outcome: Outcome) -> None:
            nonlocal first
            done = outcome.imported + outcome.rejected + outcome.deleted
            first = done if first is None else first
            progress.update(done - first if outcome.resumed else done, source.position())

        return Import(database, source, options, watch).run()


def _report(outcome: Outcome, options: ImportOptions, out: Output) -> None:
    if outcome.already:
        out.line(f"{outcome.source}: imported before, nothing to do; --restart imports it again")
        return
    parts = [f"{outcome.imported:,} imported"]
    if outcome.deleted:
        parts.append(f"{outcome.deleted:,} deleted")
    if outcome.rejected:
        parts.append(f"{outcome.rejected:,} refused, kept in {options.rejects}")
    if outcome.resumed:
        parts.append(f"{outcome.resumed:,} of them in an earlier run")
    out.line(f"{outcome.source}: {', '.join(parts)}")
    if outcome.guessed:
        kinds = ", ".join(f"{name} {kind}" for name, kind in outcome.guessed.items())
        out.note(f"kinds that were guessed (--types says others): {kinds}")


def _known_format(file: Path) -> str:
    found = format_of(file)
    if found is None:
        raise click.UsageError(f"which format has {str(file)!r}? Say --format {'|'.join(FORMATS)}")
    return found


def _rejects_of(file: Path) -> Path:
    return Path("stdin.rejects.ndjson") if str(file) == "-" else Path(f"{file.name}.rejects.ndjson")


def _character(delimiter: str | None) -> str | None:
    if delimiter is None:
        return None
    found = "\t" if delimiter in ("\\t", "tab") else delimiter
    if len(found) != 1 or found in '"\r\n':
        raise click.BadParameter(f"expected one character, found {delimiter!r}", param_hint="--delimiter")
    return found


def _kinds(types: tuple[str, ...]) -> dict[str, str]:
    from mix_db.transfer.cells import KINDS

    kinds = {}
    for text in types:
        name, equals, kind = text.rpartition("=")
        if not (name and equals and kind in KINDS):
            raise click.BadParameter(
                f"expected COLUMN=KIND with a kind of {', '.join(KINDS)}; found {text!r}",
                param_hint="--types",
            )
        kinds[name] = kind
    return kinds


def _references(texts: tuple[str, ...]) -> list[Reference]:
    from mix_db.transfer.references import Reference

    try:
        return [Reference.read(text) for text in texts]
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--ref") from None


@click.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; - or none: stdout.",
)
@click.option(
    "--format", "-f", type=click.Choice(FORMATS), help="By default what the file's name says, else NDJSON."
)
@click.option("--query", "-q", metavar="QUERY", help="Write the rows of this query instead of all records.")
@param_option
@click.option("--history", is_flag=True, help="Write all versions and tombstones, with all fields.")
@click.option("--own-fields", is_flag=True, help="Keep the fields of the engine, as _rmx_rev, too.")
@click.option(
    "--typed/--untyped", default=True, help="Whether columns of CSV say their kinds, to be read back exactly."
)
@_delimiter_option
@as_of_option
@database_option
@json_option
@pass_session
def export(
    session: Session,
    target: Target,
    output: Path | None,
    format: str | None,
    query: str | None,
    pairs: tuple[str, ...],
    history: bool,
    own_fields: bool,
    typed: bool,
    delimiter: str | None,
    as_of: str | None,
) -> None:
    """Write all records as they are now, or the rows of a query, to a file.

    The file is there whole or not at all. What ends in .gz is packed. `import` reads it back with all ids.
    """
    from mix_db.transfer.output import new_file

    out = Output(session.as_json)
    path = None if output is None or str(output) == "-" else output
    if pairs and query is None:
        raise click.UsageError("--param goes with --query")
    if out.as_json and path is None:
        raise click.UsageError("--json tells about the export; write the records to a file with --output")
    found = format or (format_of(path) if path is not None else None) or "ndjson"
    if path is None and sys.stdout.isatty() and found in ("msgpack", "parquet"):
        raise click.UsageError(f"{found} is binary; write it to a file with --output")
    separator = _character(delimiter) or delimiter_of(path)
    with target.open("read") as database:
        reader = seen_by(database, as_of)

        def write(stream: IO[bytes]) -> int:
            return _export(reader, stream, found, separator, typed, query, pairs, history, own_fields, out)

        if path is None:
            stream = sys.stdout.buffer
            write(stream)
            stream.flush()
            return
        with new_file(path) as file:
            count = write(file)
    if out.as_json:
        out.document({"file": str(path), "format": found, "rows": count})
    else:
        out.line(f"{path}: {count:,} rows")


def _export(
    reader: Reader,
    stream: IO[bytes],
    format: str,
    delimiter: str,
    typed: bool,
    query: str | None,
    pairs: tuple[str, ...],
    history: bool,
    own_fields: bool,
    out: Output,
) -> int:
    from mix_db.transfer.exporter import export
    from mix_db.transfer.formats import writing

    with (
        writing(format, stream, delimiter=delimiter, typed=typed) as writer,
        Progress("exporting", quiet=out.as_json) as progress,
    ):
        return export(
            reader,
            writer,
            query=query,
            params=read_params(pairs),
            history=history,
            own_fields=own_fields,
            watch=progress.update,
            warn=lambda warnings: print_warnings(warnings, out),
        )
