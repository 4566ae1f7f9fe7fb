"""Records as a table that fits the terminal, however many they are and whatever is in them."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from mixkit import tagged_json
from mixkit.cli.output import styled
from mixkit.errors import printable
from mixkit.value import Ref

__all__ = ["cell", "fitted", "print_table", "time_of"]

_SAMPLE = 200
_GAP = "  "
_NARROWEST = 6
_LONGEST = 2000


def cell(value: Any) -> str:
    """A value on one line, for people."""
    match value:
        case str():
            text = value[:_LONGEST]
        case Ref(id=id):
            text = id[:_LONGEST]
        case bytes():
            text = f"{len(value)} bytes"
        case _:
            text = tagged_json.dumps(value)[:_LONGEST]
    return printable(text).replace("\t", "\\t")


def time_of(milliseconds: int) -> str:
    """A time of a commit, in UTC."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return str(milliseconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def print_table(rows: Iterable[Mapping[str, Any]]) -> int:
    """Print the rows and answer how many. Columns and their widths come from the first ones; a field that appears
    only later gets a table of its own to be in."""
    rest = iter(rows)
    count = 0
    while sample := list(islice(rest, _SAMPLE)):
        columns = list(dict.fromkeys(name for row in sample for name in row))
        shown = [[cell(row[name]) if name in row else "" for name in columns] for row in sample]
        titles = [cell(name) for name in columns]
        widths = _widths(titles, shown)
        click.echo(styled(_line(titles, widths), "title"))
        for line in shown:
            click.echo(_line(line, widths))
        count += len(sample)
        known = set(columns)
        for row in rest:
            if not known.issuperset(row):
                rest = _again(row, rest)
                click.echo()
                break
            click.echo(_line([cell(row[name]) if name in row else "" for name in columns], widths))
            count += 1
    return count


def fitted(text: str, width: int) -> str:
    """The text in so many columns of a terminal, cut or filled up."""
    size = _size(text)
    if size <= width:
        return text + " " * (width - size)
    kept, used = [], 0
    for character in text:
        used += _size(character)
        if used > width - 1:
            break
        kept.append(character)
    text = "".join(kept)
    return text + "…" + " " * (width - 1 - _size(text))


def _again(row: Mapping[str, Any], rest: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    yield row
    yield from rest


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(fitted(text, width) for text, width in zip(cells, widths, strict=True) if width).rstrip()


def _widths(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The widest columns give until the line fits; those that do not fit at their narrowest get nothing."""
    wanted = [max(map(_size, column)) for column in zip(titles, *rows, strict=True)]
    room = shutil.get_terminal_size().columns
    least = [min(width, _NARROWEST) for width in wanted]
    while sum(least) + len(_GAP) * (sum(map(bool, least)) - 1) > room and sum(map(bool, least)) > 1:
        least[max(at for at, width in enumerate(least) if width)] = 0
    wanted = [width if kept else 0 for width, kept in zip(wanted, least, strict=True)]
    room -= len(_GAP) * (sum(map(bool, wanted)) - 1)
    while sum(wanted) > max(room, 1) and max(wanted) > _NARROWEST:
        widest = max(wanted)
        at = wanted.index(widest)
        others = max((width for width in wanted if width < widest), default=0)
        wanted[at] = max(_NARROWEST, others, widest - (sum(wanted) - room))
        if wanted[at] == widest:
            wanted[at] -= 1
    return wanted


def _size(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
