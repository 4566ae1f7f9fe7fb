"""The database files of an app: in a folder of its own beside its records, which nobody but their owners writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mix_duckdb.settings import DuckdbSettings
from mixkit.databases import gone
from mixkit.errors import FFIError, GrantError, StorageError
from mixkit.grants import Grants
from mixkit.storage import Place

__all__ = ["OPTION", "check_name", "file_names", "file_of"]

OPTION: Final = "duckdb.files"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_EXPECTED: Final = "1 to 63 lower-case letters, digits, _ and -, beginning with a letter or digit"


def file_names(value: object) -> tuple[str, ...]:
    """The value of the grant option. `GrantError` if it is none."""
    if not isinstance(value, list | tuple):
        raise GrantError(
            f"grant option {OPTION}: expected a list of names of database files, found {value!r:.100}"
        )
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise GrantError(f"grant option {OPTION}: expected names of {_EXPECTED}, found {name!r:.100}")
    return tuple(value)


def check_name(name: str, grants: Grants) -> None:
    """Raise `FFIError` unless a database file can have that name and the grants open it."""
    if not _NAME.fullmatch(name):
        raise FFIError(f"argument 1 (db): expected null or {_EXPECTED}, found {name!r:.100}")
    for layer in grants.option(OPTION):
        allowed = file_names(layer)
        if name not in allowed:
            raise FFIError(
                f"the database file {name!r} is not granted: expected {', '.join(allowed) or 'none'} "
                f"(grant option {OPTION})"
            )


def file_of(place: Place | None, name: str, settings: DuckdbSettings) -> Path:
    """Where it is; its folder is made.

    Raises:
        FFIError: the run has no place for it, or as many files as it may have.
        NotFound: the app is gone.
        StorageError: the folder cannot be made.
    """
    if place is None:
        raise FFIError(
            "this run has no place for a database file: code that is no agent of an installed app has none, unless "
            "whoever runs it says where (`mixkit run --database`); null, a database in memory, always works"
        )
    folder = place.home / "duckdb"
    try:
        place.home.mkdir(exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink():
            raise StorageError("the folder of the database files is a link, expected a folder")
        path = folder / f"{name}.duckdb"
        if not path.exists() and len(list(folder.glob("*.duckdb"))) >= settings.files:
            raise FFIError(
                f"the app has {settings.files} database files, which is the limit; the setting duckdb.files raises it"
            )
    except FileNotFoundError:
        raise gone(place) from None
    except OSError as exc:
        raise StorageError(f"the folder of the database files cannot be made: {exc.strerror}") from exc
    return path
