"""How far an import has come, in a record that is committed together with each of its batches.

So a batch and the note of it are there both or neither, whatever happens. When the import is done its record is
deleted; that record's history still tells that the file was imported, until a compaction drops it.

The id of the record comes from the path of the file. Whether the file is still the one that was begun is told by a
hash of all that was imported of it: what comes behind may change, so that a line that stopped the import can be
mended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mix_db.transfer.errors import TransferError
from mix_db.transfer.item import BOOKKEEPING
from mixkit.storage import Commit, SaveOptions
from mixkit.value import Ref

__all__ = ["Journal", "Progress", "Target"]


class Target(Protocol):
    """What an import needs of a database; a part of `mixkit.storage.Database`."""

    def save(self, records: Sequence[Mapping[str, Any]], options: SaveOptions = ...) -> Commit: ...

    def delete(self, ids: Sequence[Ref | str]) -> Commit: ...

    def history(self, id: Ref | str) -> list[dict[str, Any]]: ...

    def query(self, query: Any) -> Any: ...


class Progress(msgspec.Struct, kw_only=True):
    """What is noted of an import.

    Attributes:
        source: name of the file, for people.
        options: what says how its records are read.
        items: how many of the file's items are done with, refused ones included.
        digest: hash of these items.
        imported, deleted, rejected: what became of them.
        rejects_size: bytes of the file of refused records.
        done: there are no more.
    """

    source: str
    options: dict[str, Any]
    items: int = 0
    digest: str = ""
    imported: int = 0
    deleted: int = 0
    rejected: int = 0
    rejects_size: int = 0
    done: bool = False


class Journal:
    """The notes of the imports of one file.

    Args:
        chain: write each note to a record of its own. For commits that keep the records that they find
            (`keep_original`), the note included.

    Attributes:
        progress: the last note, of an import that is done if its `done` is true; None if there is none.
    """

    def __init__(self, target: Target, path: Path, *, chain: bool) -> None:
        self._target = target
        self._key = f"{BOOKKEEPING}\0{path.resolve()}"
        self._chain = chain
        self._live: list[Ref] = []
        self.progress: Progress | None = None
        self._next = 0
        while versions := target.history(self._id(self._next)):
            self._next += 1
            self._look_at(versions)
        if self._next and not chain:
            self._next -= 1

    def note(self, progress: Progress) -> dict[str, Any]:
        """The record to be saved with the batch; `stored` is to be called when it is."""
        return {
            "_rmx_id": self._id(self._next),
            "_rmx_type": BOOKKEEPING,
            **msgspec.to_builtins(progress),
        }

    def stored(self) -> None:
        """The last note was stored."""
        ref = self._id(self._next)
        if ref not in self._live:
            self._live.append(ref)
        self._next += self._chain

    def close(self) -> None:
        """Delete the notes."""
        if self._live:
            self._target.delete(self._live)
            self._live = []

    def _look_at(self, versions: Sequence[Mapping[str, Any]]) -> None:
        newest = versions[-1]
        deleted = "_rmx_deleted" in newest
        if not deleted:
            self._live.append(newest["_rmx_id"])
        noted = next((version for version in reversed(versions) if "_rmx_deleted" not in version), None)
        fields = {name: value for name, value in (noted or {}).items() if not name.startswith("_rmx_")}
        try:
            progress = msgspec.convert(fields, Progress)
        except msgspec.ValidationError:
            if deleted:
                return
            raise TransferError(
                f"the record {newest['_rmx_id'].id} should tell how far the import of this file has come, and has "
                "been changed; begin again with --restart"
            ) from None
        # Deleted, and not done: somebody gave the import up.
        self.progress = progress if progress.done or not deleted else None

    def _id(self, number: int) -> Ref:
        return Ref(hashlib.sha256(f"{self._key}\0{number}".encode()).hexdigest()[:32])
