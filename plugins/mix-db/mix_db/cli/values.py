"""Values and moments as options of `mixkit db` spell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mixkit.storage import Database, Moment, Reader

__all__ = ["as_of_option", "moment", "param_option", "read_params", "seen_by"]

param_option = click.option(
    "--param",
    "-p",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the query: a VALUE that reads as tagged JSON is that (100, null, '\"100\"'), else a text; "
    "behind NAME:= it must be JSON, or @FILE. Repeatable.",
)

as_of_option = click.option(
    "--as-of",
    metavar="MOMENT",
    help="The database as it was: a watermark, Unix milliseconds, or a time with its zone (2026-01-31T09:00Z).",
)

_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(:?=)(.*)", re.DOTALL)


def read_params(pairs: Sequence[str]) -> dict[str, Any]:
    """The parameters of a query. What stands behind `=` is typed as that of `mixkit run --param` is."""
    from mixkit.cli.params import merge_params, read_json

    params: dict[str, Any] = {}
    for pair in pairs:
        found = _PAIR.fullmatch(pair)
        if not found:
            raise click.BadParameter(
                f"expected NAME=VALUE or NAME:=JSON, found {pair!r}", param_hint="--param"
            )
        name, sign, text = found.groups()
        if name in params:
            raise click.BadParameter(f"{name} is given twice", param_hint="--param")
        if sign == "=":
            params = merge_params(params, [pair])
        else:
            params[name] = read_json(text, "--param")
    return params


def moment(text: str) -> Moment:
    """What `--as-of` says. A watermark has 16 digits, more than milliseconds will have for a long time."""
    if text.isascii() and text.isdigit():
        return text if len(text) == 16 else int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise click.BadParameter(
            "expected a watermark, Unix milliseconds, or a time with its zone, as 2026-01-31T09:00Z; "
            f"found {text!r}",
            param_hint="--as-of",
        )
    return found


def seen_by(database: Database, as_of: str | None) -> Reader:
    """The database, or as it was at the moment of `--as-of`."""
    return database if as_of is None else database.as_of(moment(as_of))
