"""Sources in folders, for commands that take paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from mixkit.near import meant_file

__all__ = ["files_in", "sources"]

_PASSED_OVER: Final = ("node_modules", "__pycache__")


def sources(paths: Iterable[str]) -> Iterator[str]:
    """The files of some paths: of a folder all .mix files in it, save those in folders that begin with a dot.

    Raises:
        click.BadParameter: there is no such path.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 - paths are shown as they were given
            yield from files_in(path)
        elif os.path.exists(path):  # noqa: PTH110
            yield path
        else:
            raise click.BadParameter(f"there is no {path!r}{meant_file(path)}", param_hint="PATH")


def files_in(folder: str) -> Iterator[str]:
    """The sources in a folder and those within it, in the order of their names."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _PASSED_OVER)
        yield from (str(Path(here, name)) for name in sorted(files) if name.endswith(".mix"))
