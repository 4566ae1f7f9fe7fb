"""`mixkit fmt`."""

from __future__ import annotations

import difflib
import gc
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from mix_lang.diagnostic import Diagnostic
from mix_lang.errors import CompileError
from mix_lang.files import sources
from mix_lang.format import formatted
from mix_lang.format.same import same
from mix_lang.render import render_all
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.whole_file import whole_file

__all__ = ["fmt"]

_STDIN: Final = "-"
_WRONG: Final = 2
"""Exit code if something is no Mix."""


@click.command("fmt")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--check", is_flag=True, help="Write nothing; say which files would change: exit code 1.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@json_option
@pass_session
def fmt(session: Session, paths: tuple[str, ...], check: bool, diff: bool) -> None:
    """Put sources of Mix into the language's style.

    A PATH is a file, a folder, whose .mix files are meant (not those in folders that begin with a dot), or -, which
    reads standard input and writes to standard output. A file that is no Mix stays as it is, and makes the exit code 2.
    """
    if _STDIN in paths and len(paths) > 1:
        raise click.UsageError("standard input (-) is formatted alone")
    printed = Output(session.as_json)
    files = [_Source(_STDIN)] if paths == (_STDIN,) else [_Source(path) for path in sources(paths)]
    for file in files:
        with _uncollected():
            file.format()
        if file.path == _STDIN:
            continue
        if file.changed and not (check or diff):
            file.write()
        if printed.as_json:
            continue
        if file.trouble:
            printed.note(file.trouble, None)
        elif file.changed:
            if diff:
                click.echo(file.diff(), nl=False)
            else:
                printed.line(file.path)
    if printed.as_json:
        found = [file.record() for file in files]
        printed.document({"ok": not any(file.trouble for file in files), "files": found})
    elif files and files[0].path == _STDIN:
        _stream(printed, files[0], check, diff)
    if any(file.trouble for file in files):
        raise click.exceptions.Exit(_WRONG)
    if check and any(file.changed for file in files):
        raise click.exceptions.Exit(1)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for circles of objects."""
    # PERF: there are none, but so many objects that the search takes as long as all else.
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _stream(printed: Output, file: _Source, check: bool, diff: bool) -> None:
    """Standard input to standard output."""
    if file.trouble:
        printed.note(file.trouble, None)
    elif diff:
        click.echo(file.diff(), nl=False)
    elif not check:
        click.echo(file.after, nl=False)


class _Source:
    """A file.

    Attributes:
        before, after: its text.
        trouble: why it cannot be formatted, for people; "" if it can.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.before = self.after = self.trouble = ""
        self._found: Sequence[Diagnostic] = ()

    def format(self) -> None:
        """Read and format it."""
        name = "standard input" if self.path == _STDIN else self.path
        try:
            data = sys.stdin.buffer.read() if self.path == _STDIN else Path(self.path).read_bytes()
            self.before = self.after = data.decode()
            self.after = formatted(self.before, name)
        except OSError as exc:
            self.trouble = f"{name}: cannot be read: {exc.strerror}"
        except UnicodeDecodeError as exc:
            self.trouble = f"{name}: is no UTF-8, at byte {exc.start}"
        except CompileError as exc:
            self._found = exc.diagnostics
            self.trouble = render_all(exc.diagnostics).rstrip()
        if self.changed and not same(self.before, self.after):
            self.after = self.before
            self.trouble = (
                f"{name}: the formatter would change what this means; it stays as it is. Please report this"
            )

    @property
    def changed(self) -> bool:
        """Whether it was not in that style."""
        return self.before != self.after

    def diff(self) -> str:
        """What changes, as a unified diff."""
        name = self.path
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            name,
            f"{name} (formatted)",
        )
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        )

    def write(self) -> None:
        """Put what was formatted into the file's place, with its permissions."""
        # Where a link leads, so that it stays one.
        path = Path(self.path).resolve()
        try:
            with whole_file(path) as file:
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
                file.write(self.after.encode())
        except OSError as exc:
            self.trouble = f"{self.path}: cannot be written: {exc.strerror}"

    def record(self) -> dict[str, Any]:
        """The same for `--json`."""
        found: dict[str, Any] = {
            "path": self.path,
            "changed": self.changed,
            "diagnostics": [item.record() for item in self._found],
        }
        if self.trouble:
            found["message"] = self.trouble
        if self.path == _STDIN and not self.trouble:
            found["text"] = self.after
        return found
