"""What must hold for a call to store anything: that records are as they were when they were read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mix_db.versions.version import is_tombstone, read_version
from mixkit.errors import Conflict, RecordError, printable

__all__ = ["Unchanged", "read_rev"]

_REV: Final = re.compile(r"[0-9]{16}", re.ASCII)


class Unchanged(NamedTuple):
    """The newest version of a record is the one of the commit `rev`; with None there is none, or a tombstone.

    `path` is where it was asked for.
    """

    id: str
    rev: str | None
    path: str

    def check(self, stored: bytes | None) -> None:
        """Raise `Conflict` unless it holds for the newest version, None if the id is unknown."""
        if self.rev is None and (stored is None or is_tombstone(stored)):
            return
        found = None if stored is None else read_version(stored)["_rmx_rev"]
        if found != self.rev:
            raise Conflict(self.id, self.rev, found, self.path)


def read_rev(record: Mapping[str, Any], path: str) -> str | None:
    """The `_rmx_rev` that a condition needs.

    Raises:
        RecordError: there is none, or it is none.
    """
    if "_rmx_rev" not in record:
        raise RecordError(
            "expected the _rmx_rev that was read, null if there was no record; found none", path
        )
    rev = record["_rmx_rev"]
    if rev is None or (type(rev) is str and _REV.fullmatch(rev)):
        return rev
    shown = printable(repr(rev[:40])) if type(rev) is str else f"the Python type {type(rev).__name__}"
    raise RecordError(f"expected a watermark of 16 digits or null, found {shown}", f"{path}._rmx_rev")
