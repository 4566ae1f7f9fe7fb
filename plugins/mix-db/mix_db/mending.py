"""Checking and repairing the files of a database that may not open any more."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mix_db.files import names, write_log
from mix_db.files.check import Finding, check
from mix_db.files.errors import explained
from mix_db.files.layer import DiskFolder
from mix_db.files.repair import Report, repair
from mix_db.versions.indexing import check_segment, index_rows
from mix_db.versions.version import read_version, relinked
from mixkit.errors import NotFound

__all__ = ["Checked", "check_folder", "repair_folder"]

_SECONDS: Final = 30.0
_ONLY_READ: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found damaged. Unless it was `locked`, what somebody wrote meanwhile may look like damage."""

    findings: list[Finding]
    locked: bool


def check_folder(path: Path) -> Checked:
    """Everything that is damaged in the database of a folder. Reads all, changes nothing.

    Nobody writes meanwhile, except where the lock cannot be had because the folder may only be read.

    Raises:
        NotFound: there is no database.
        StorageError: another version of mixkit wrote it, another process writes for too long, or the operating
            system refuses.
    """
    folder = _folder(path)
    try:
        with explained(f"the database in {path} cannot be checked"), ExitStack() as held:
            try:
                held.enter_context(folder.lock(_SECONDS))
            except OSError as exc:
                if exc.errno not in _ONLY_READ:
                    raise
                return Checked(list(check(folder, check_segment)), locked=False)
            return Checked(list(check(folder, check_segment)), locked=True)
    finally:
        folder.close()


def repair_folder(path: Path) -> Report:
    """Save every intact row of the database in a folder; what was there before keeps second names.

    Raises:
        As `check_folder`; then nothing has changed.
    """
    folder = _folder(path)
    try:
        return repair(
            folder,
            salvage=_salvaged,
            commit_of=lambda record: int(read_version(record)["_rmx_rev"]),
            index=index_rows,
            check_segment=check_segment,
            timeout=_SECONDS,
        )
    finally:
        folder.close()


def _folder(path: Path) -> DiskFolder:
    if path.is_dir():
        folder = DiskFolder(path)
        if any(name == write_log.NAME or names.family(name) is not None for name in folder.listing()):
            return folder
        folder.close()
    raise NotFound(f"expected a database in {str(path)!r}, found none")


def _salvaged(rows: Iterable[tuple[int | None, bytes]]) -> Iterator[bytes]:
    """The rows with new numbers: each version replaces the last one before it that was saved of its record."""
    newest: dict[str, int] = {}
    for number, (_, record) in enumerate(rows):
        id = read_version(record)["_rmx_id"].id
        before = newest.get(id)
        yield relinked(record, lambda _, before=before: before)  # type: ignore[misc]
        newest[id] = number
