"""ETags of records, and requests that change one only if it is as the client knows it (RFC 9110, section 13).

A condition that is not understood may not be passed over: what it was to prevent would happen. So a resource says which
of its methods heed conditions, and the others refuse a request that has one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mix_server.errors import BadRequest, PreconditionFailed
from mixkit.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from mix_server.request import Request
    from mixkit.storage import Commit, Database, Record

__all__ = ["CONDITIONS", "Match", "etag", "not_modified", "refuse_conditions", "tags_of"]

CONDITIONS: Final = ("If-Match", "If-None-Match", "If-Unmodified-Since")
"""Headers that say when a request that changes something is to be done."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_ETAG: Final = re.compile(r'"([0-9]+)-[0-9]+"', re.ASCII)


def etag(record: Record) -> str:
    """One for each version: a commit may hold several of one record."""
    return f'"{record["_rmx_rev"]}-{record["_rmx_row"]}"'


def not_modified(req: Request, record: Record) -> bool:
    """Whether a reader knows this version of a record already.

    Raises:
        PreconditionFailed: it is not the version that the reader wants.
    """
    wanted = req.get_header("If-Match")
    if wanted is not None:
        Match(wanted, None).check(record["_rmx_rev"])
    header = req.get_header("If-None-Match")
    if header is None:
        return False
    known = _unweakened(header)
    return "*" in known or etag(record) in known


def refuse_conditions(req: Request, resource: Any) -> None:
    """Refuse a condition where nobody would heed it.

    Args:
        resource: what the request goes to. Its `heeds_conditions` are the methods that do so by themselves.

    Raises:
        PreconditionFailed: the request is not safe, and has a condition that would be passed over.
        BadRequest: its body is a part of what it changes (RFC 9110, section 14.5), which would be taken for the whole.
    """
    if req.method in _SAFE:
        return
    if req.get_header("Content-Range") is not None:
        raise BadRequest("expected a whole body, found a part of one in Content-Range, and nothing was done")
    if req.method in getattr(resource, "heeds_conditions", ()):
        return
    for name in CONDITIONS:
        if req.get_header(name) is not None:
            raise PreconditionFailed(
                f"{name} is not done for {req.method} here, and nothing was done; leave it away, or change a record by "
                "PUT, PATCH or DELETE of its own path"
            )


class Match:
    """What `If-Match` and `If-None-Match` say of a record that is to be changed.

    Versions are compared by their commits alone: a compaction gives rows other numbers, and changes no record.
    """

    def __init__(self, wanted: str | None, unwanted: str | None) -> None:
        self._wanted = None if wanted is None else _listed(_checked("If-Match", wanted))
        self._unwanted = None if unwanted is None else _unweakened(_checked("If-None-Match", unwanted))

    @classmethod
    def of(cls, req: Request) -> Match | None:
        """What the request says; None if it has no such header.

        Raises:
            PreconditionFailed: what it has is no condition, or one that is not done here, so it cannot hold.
        """
        wanted, unwanted = req.get_header("If-Match"), req.get_header("If-None-Match")
        if wanted is None and req.get_header("If-Unmodified-Since") is not None:
            # Seconds do not tell the versions of a record apart.
            raise PreconditionFailed("If-Unmodified-Since is not done here; send If-Match with the ETag")
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
            self.check(rev)
            try:
                return change(rev)
            except Conflict:
                # Somebody has changed it since the look: what is there now may be wanted as well.
                continue

    def check(self, rev: str | None) -> None:
        """Raise `PreconditionFailed` unless a record with that `_rmx_rev`, None for no record, is as wanted."""
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


def tags_of(name: str, header: str) -> list[str]:
    """The ETags that a condition lists, as they stand there, or `*`. `PreconditionFailed` if it is none."""
    return _listed(_checked(name, header))


def _checked(name: str, header: str) -> str:
    if header.strip() != "*" and not _TAGS.fullmatch(header):
        raise PreconditionFailed(
            f'expected * or ETags in quotation marks in {name}, as "12-0", found {header[:80]!r}'
        )
    return header


def _listed(header: str) -> list[str]:
    return ["*"] if header.strip() == "*" else re.findall(_TAG, header)


def _unweakened(header: str) -> list[str]:
    # A reader's copy is as good if it is only equivalent.
    return [tag.removeprefix("W/") for tag in _listed(header)]
