"""`mixkit error-decode`: the error of a run, as the server or `mixkit run --json` answered it, for people."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from mixkit.cli.output import Output
from mixkit.cli.params import read_json
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["error_decode"]


@click.command("error-decode")
@click.argument("error", default="-")
@click.option(
    "--code",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The agent that failed, with its symbols, where it ran without them.",
)
@json_option
@pass_session
def error_decode(session: Session, error: str, code: Path | None) -> None:
    """Say what went wrong, and where in the guest. ERROR is JSON, @FILE, or - for standard input."""
    from mixkit.error_decode import decode_error

    found = read_json(error, "ERROR")
    if not isinstance(found, dict):
        raise click.BadParameter("expected a JSON object, as a failed run answers it", param_hint="ERROR")
    if code is None:
        text = decode_error(found)
    else:
        with session.kernel() as kernel:
            text = decode_error(found, partial(kernel.places, kernel.read(code)))
    if session.as_json:
        Output().document({"text": text})
    else:
        Output().line(text)
