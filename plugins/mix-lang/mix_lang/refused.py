"""What a command says of sources that are no Mix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from mixkit.cli.output import Output

__all__ = ["refused"]


@contextmanager
def refused(printed: Output) -> Iterator[None]:
    """Say what is wrong in the sources that are read or compiled within, and end with the exit code 1."""
    from mix_lang.errors import CompileError
    from mix_lang.render import render_all

    try:
        yield
    except CompileError as exc:
        if printed.as_json:
            printed.document({"ok": False, "diagnostics": [item.record() for item in exc.diagnostics]})
        else:
            printed.note(render_all(exc.diagnostics).rstrip(), None)
        raise click.exceptions.Exit(1) from None
