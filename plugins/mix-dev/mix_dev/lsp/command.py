"""`mixkit lsp`."""

from __future__ import annotations

import os
import sys

import click

from mix_dev.lsp.server import Server
from mix_dev.lsp.wire import Wire
from mixkit.cli.session import json_option

__all__ = ["lsp"]


@click.command("lsp")
@click.option("--stdio", is_flag=True, help="Over standard input and output, as it is without this.")
@json_option
def lsp(stdio: bool) -> None:
    """Serve an editor: errors while one types, types, completion, definitions, references, new names, the style.

    Speaks the language server protocol on standard input and output until the editor ends it; an editor starts it.
    What it has to say besides goes to stderr.
    """
    # What else is printed must not come between messages.
    writes = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    status = Server(Wire(sys.stdin.buffer, writes)).run()
    raise click.exceptions.Exit(status)
