"""How commands print: tables and colour on a terminal, tab-separated lines in a pipe, JSON with `--json`.

Results go to stdout, everything else to stderr. What an agent or a plugin wrote is never sent to a
terminal as it is: control characters are shown as escapes, so that a guest cannot fake our lines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import click

from mixkit.errors import printable

__all__ = ["Output", "Style", "safe", "safe_json", "styled"]

Style = Literal["ok", "warning", "error", "name", "dim", "title"]

_STYLES: dict[str, dict[str, Any]] = {
    "ok": {"fg": "green"},
    "warning": {"fg": "yellow"},
    "error": {"fg": "red", "bold": True},
    "name": {"fg": "cyan"},
    "dim": {"dim": True},
    "title": {"bold": True},
}
_GAP = "  "
_LEAST = 20
"""Characters that the last column of a table needs."""
_QUIET_SECONDS = 0.5


def safe(text: str) -> str:
    """The text, of any number of lines, with what is not printable in them as escapes."""
    return "\n".join(map(printable, text.split("\n")))


def safe_json(text: str) -> str:
    """The same JSON, with what is not printable in it as escapes, which can only be inside of its strings."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]


def styled(text: str, style: str | None, stream: Any = None) -> str:
    """The text as it goes to a stream, stdout by default: with its colour on a terminal that wants some."""
    return click.style(text, **_STYLES[style]) if style and _coloured(stream) else text


def _coloured(stream: Any = None) -> bool:
    """Whether to colour what goes to the stream: a terminal, and neither NO_COLOR nor TERM=dumb is set."""
    stream = stream or sys.stdout
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Output:
    """Where one command prints.

    Args:
        as_json: print documents, not text.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._asking = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Somebody is asked something on the terminal: `working` shows nothing meanwhile."""
        self._asking = True
        try:
            sys.stderr.write("\r\x1b[2K")
            yield
        finally:
            self._asking = False

    def document(self, value: Any) -> None:
        """A JSON document on stdout, whatever `as_json` says."""
        click.echo(safe_json(json.dumps(value, ensure_ascii=False, indent=2, default=str)))

    def value(self, value: Any) -> None:
        """A Value on stdout, as tagged JSON."""
        from mixkit import tagged_json

        click.echo(safe_json(tagged_json.dumps(value)))

    def line(self, text: str = "", style: Style | None = None) -> None:
        """A line of text on stdout. Not for `--json`, which prints documents only."""
        click.echo(styled(safe(text), style, sys.stdout))

    def note(self, text: str, style: Style | None = "dim") -> None:
        """A line for the person at the terminal, on stderr."""
        click.echo(styled(safe(text), style, sys.stderr), err=True)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, styles: Mapping[str, str] = {}
    ) -> None:
        """Rows under their column names.

        On a terminal aligned, with a heading, the last column wrapped; on a narrow one the cells of a row
        beneath each other. In a pipe a line per row, cells
        separated by tabs, no heading. As JSON an array of objects.

        Args:
            styles: text of a cell to the style that it gets on a terminal.
        """
        rows = [list(row) for row in rows]
        if self.as_json:
            return self.document([dict(zip(columns, row, strict=True)) for row in rows])
        cells = [[_text(cell) for cell in row] for row in rows]
        if not sys.stdout.isatty():
            for row in cells:
                click.echo("\t".join(row))
            return None
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        room = _terminal_width() - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
        if room < min(_LEAST, widths[-1]):
            return _beneath(columns, cells, styles)
        click.echo(styled(_joined(columns, widths).rstrip(), "title", sys.stdout))
        margin = "\n" + " " * (sum(widths[:-1]) + len(_GAP) * (len(widths) - 1))
        for row in cells:
            last = margin.join(_wrapped(row[-1], room))
            padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)] + [last]
            shown = [
                styled(text, styles.get(cell), sys.stdout) for text, cell in zip(padded, row, strict=True)
            ]
            click.echo(_GAP.join(shown).rstrip())
        return None

    def record(self, pairs: Mapping[str, Any]) -> None:
        """Names and values, one a line; as JSON one object."""
        if self.as_json:
            return self.document(dict(pairs))
        width = max(map(len, pairs), default=0)
        for name, value in pairs.items():
            shown = _text(value)
            if sys.stdout.isatty():
                click.echo(f"{styled(name.ljust(width), 'name', sys.stdout)}{_GAP}{shown}")
            else:
                click.echo(f"{name}\t{shown}")
        return None

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show on a terminal's stderr that something takes its time, until it is done."""
        if self.as_json or not sys.stderr.isatty():
            yield
            return
        done = threading.Event()
        started = time.monotonic()

        def show() -> None:
            wait = _QUIET_SECONDS
            while not done.wait(wait):
                wait = 0.1
                if self._asking:
                    continue
                sys.stderr.write(f"\r\x1b[2K{printable(what)} … {time.monotonic() - started:.1f} s")
                sys.stderr.flush()

        ticker = threading.Thread(target=show, name="mixkit-progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()
            if time.monotonic() - started > _QUIET_SECONDS:
                sys.stderr.write("\r\x1b[2K")
                sys.stderr.flush()


def _beneath(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str]) -> None:
    """Rows on a terminal that is too narrow for them: a line or more for each cell that says something."""
    width = max(map(len, columns))
    margin = " " * (width + len(_GAP))
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for name, cell in zip(columns, row, strict=True):
            if cell:
                lines = _wrapped(cell, max(10, _terminal_width() - len(margin)))
                text = styled(f"\n{margin}".join(lines), styles.get(cell), sys.stdout)
                click.echo(f"{styled(name.ljust(width), 'title', sys.stdout)}{_GAP}{text}")


def _text(cell: Any) -> str:
    """A cell on one line, without tabs, since those separate cells."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    text = (
        json.dumps(cell, ensure_ascii=False, default=str)
        if isinstance(cell, list | tuple | dict)
        else str(cell)
    )
    return printable(text).replace("\t", "\\t")


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    import textwrap

    return textwrap.wrap(text, width)


def _terminal_width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
