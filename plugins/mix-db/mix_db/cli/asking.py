"""`mixkit db query` and `explain`."""

from __future__ import annotations

import sys
from typing import Any

import click

from mix_db.cli.printing import format_option, print_rows, print_warnings
from mix_db.cli.target import Target, database_option
from mix_db.cli.values import as_of_option, param_option, read_params, seen_by
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["explain", "query"]

_ast_option = click.option("--ast", is_flag=True, help="QUERY is the JSON form of a query.")
_deleted_option = click.option("--deleted", is_flag=True, help="See tombstones of deleted records too.")
_superseded_option = click.option("--superseded", is_flag=True, help="See versions that were replaced too.")


def read_query(text: str, ast: bool) -> Any:
    """A query; what `-` and `@FILE` stand for is read."""
    from mixkit.cli.params import read_json, read_text

    return read_json(text, "QUERY") if ast else read_text(text, "QUERY")


@click.command()
@click.argument("text", metavar="QUERY")
@param_option
@_ast_option
@_deleted_option
@_superseded_option
@as_of_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Most seconds of work.",
)
@click.option(
    "--explain", "explained", is_flag=True, help="Show how it is run, with numbers of rows, instead."
)
@format_option
@database_option
@json_option
@pass_session
def query(
    session: Session,
    target: Target,
    text: str,
    pairs: tuple[str, ...],
    ast: bool,
    deleted: bool,
    superseded: bool,
    as_of: str | None,
    timeout: float | None,
    explained: bool,
    format: str | None,
) -> None:
    """Run QUERY and print its rows; @FILE reads it from a file, - from standard input. See docs/query-language.md.

    \b
    mixkit db query 'kind == "note" and tags contains $tag | limit(10)' -p tag=home
    mixkit db query 'age >= $age | count()' -p age=18

    Never paste what somebody typed into QUERY: give it with -p, where it is a value and nothing else; as JSON, in
    quotes, where it must be a text.
    """
    out = Output(session.as_json)
    asked, params = read_query(text, ast), read_params(pairs)
    with target.open("read") as database:
        reader = seen_by(database, as_of)
        if explained:
            _print_plan(reader.explain(asked, params, deleted=deleted, superseded=superseded), out)
            return
        with reader.query(asked, params, deleted=deleted, superseded=superseded, timeout=timeout) as cursor:
            count = print_rows(cursor, format, out)
            print_warnings(cursor.warnings(), out)
    if not count and sys.stdout.isatty() and not out.as_json:
        out.note("no rows")


@click.command()
@click.argument("text", metavar="QUERY")
@param_option
@_ast_option
@_deleted_option
@_superseded_option
@as_of_option
@click.option("--no-run", is_flag=True, help="Only estimate, do not run it.")
@database_option
@json_option
@pass_session
def explain(
    session: Session,
    target: Target,
    text: str,
    pairs: tuple[str, ...],
    ast: bool,
    deleted: bool,
    superseded: bool,
    as_of: str | None,
    no_run: bool,
) -> None:
    """Show how QUERY is run: its steps, with estimated and actual numbers of rows."""
    asked, params = read_query(text, ast), read_params(pairs)
    with target.open("read") as database:
        plan = seen_by(database, as_of).explain(
            asked, params, deleted=deleted, superseded=superseded, run=not no_run
        )
    _print_plan(plan, Output(session.as_json))


def _print_plan(plan: Any, out: Output) -> None:
    if out.as_json:
        out.document(plan)
        return
    from mix_db.cli.plan_text import plan_lines

    for line in plan_lines(plan):
        out.line(line)
