"""Where the files of a database are, below the folder that is named for it.

An app's database is in the folder `v2` of its home; one that somebody makes in a folder of their own is right there.
Whoever names either folder means the database that is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mix_db.files import names, write_log

__all__ = ["FOLDER", "belongs", "folder_in", "located"]

FOLDER: Final = "v2"
"""The folder of a database in the home of its app."""


def belongs(name: str) -> bool:
    """Whether a file of that name is one of a database."""
    return name == write_log.NAME or names.family(name) is not None


def located(path: Path) -> Path:
    """The folder of the database that `path` names: itself, unless it is a home whose database is further down."""
    return path / FOLDER if not _holds(path) and _holds(path / FOLDER) else path


def folder_in(home: Path) -> Path:
    """The folder of the database of a home: `v2`, unless somebody has made one right there."""
    return home if _holds(home) else home / FOLDER


def _holds(path: Path) -> bool:
    try:
        return any(belongs(entry.name) for entry in path.iterdir())
    except OSError:
        # What is wrong with it is said when it is opened.
        return False
