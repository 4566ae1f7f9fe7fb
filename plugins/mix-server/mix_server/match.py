"""ETags of records, and requests that change one only if it is as the client knows it (RFC 9110, section 13)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mix_server.errors import PreconditionFailed, Unsupported
from mixkit.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from mix_server.request import Request
    from mixkit.storage import Commit, Database, Record

__all__ = ["Match", "etag", "etags"]

_ETAG: Final = re.compile(r'"([0-9]+)-[0-9]+"', re.ASCII)


def etag(record: Record) -> str:
    """One for each version: a commit may hold several of one record."""
    return f'"{record["_rmx_rev"]}-{record["_rmx_row"]}"'


def etags(header: str | None) -> list[str]:
    """The tags of `If-None-Match`, for which weak ones are as good as others."""
    return [tag.removeprefix("W/") for tag in _listed(header)]


class Match:
    """What `If-Match` and `If-None-Match` say of a record that is to be changed.

    Versions are compared by their commits alone: a compaction gives rows other numbers, and changes no record.
    """

    def __init__(self, wanted: str | None, unwanted: str | None) -> None:
        self._wanted = None if wanted is None else _listed(wanted)
        self._unwanted = None if unwanted is None else etags(unwanted)

    @classmethod
    def of(cls, req: Request) -> Match | None:
        """What the request says; None if it has no such header.

        Raises:
            Unsupported: it has another condition.
        """
        wanted, unwanted = req.get_header("If-Match"), req.get_header("If-None-Match")
        if wanted is None and req.get_header("If-Unmodified-Since") is not None:
            # Seconds do not tell the versions of a record apart.
            raise Unsupported("If-Unmodified-Since is not done here; send If-Match with the ETag")
        return None if wanted is None and unwanted is None else cls(wanted, unwanted)

    def keep(self, database: Database, id: str, change: Callable[[str | None], Commit]) -> Commit:
        """Change the record if it is as wanted.

        Args:
            database: where it is.
            id: of the record.
            change: changes it if its `_rmx_rev` is the given one, None if there is no record; else raises `Conflict`.

        Raises:
            PreconditionFailed: it is not as wanted.
        """
        while True:
            record = database.get(id)
            rev = None if record is None else record["_rmx_rev"]
            self._check(rev)
            try:
                return change(rev)
            except Conflict:
                # Somebody has changed it since the look: what is there now may be wanted as well.
                continue

    def _check(self, rev: str | None) -> None:
        if self._wanted is not None and not _holds(self._wanted, rev):
            found = "none" if rev is None else "another one"
            raise PreconditionFailed(
                f"expected the version of the record that If-Match names, found {found}; read it again and repeat"
            )
        if self._unwanted is not None and _holds(self._unwanted, rev):
            raise PreconditionFailed(
                "expected no record, or none of the versions that If-None-Match names; found one"
            )


def _holds(tags: list[str], rev: str | None) -> bool:
    if rev is None:
        return False
    return "*" in tags or any((found := _ETAG.fullmatch(tag)) and found[1] == rev for tag in tags)


def _listed(header: str | None) -> list[str]:
    return [tag.strip() for tag in (header or "").split(",")]
