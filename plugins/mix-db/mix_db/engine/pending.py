"""The newest versions while commits are being written: what is stored, and what goes to the disk just now."""

from __future__ import annotations

from collections.abc import Mapping

from mix_db.versions.rows import DraftView
from mix_db.versions.state import State

__all__ = ["Pending"]


class Pending:
    """The records that the commits of a group have written before the one that is being made.

    They are no part of any state until they are durable. A commit that was refused after it was made, or a group
    that the disk did not take, is forgotten when its number is given again. Used with the write lock held.
    """

    def __init__(self) -> None:
        self._groups: list[tuple[int, Mapping[str, int]]] = []
        self._draft: DraftView
        self._state: State

    def begin(self, draft: DraftView, state: State) -> Pending:
        """Make ready for a commit; `state` is that of `draft.view`."""
        if self._groups:
            unsynced = {commit.number for commit in draft.unsynced}
            self._groups = [(number, rows) for number, rows in self._groups if number in unsynced]
        self._draft = draft
        self._state = state
        return self

    def note(self, number: int, rows: Mapping[str, int]) -> None:
        """The commit of that number has been made, with these newest rows of records."""
        self._groups.append((number, rows))

    def row_of(self, id: str) -> int | None:
        for _, rows in reversed(self._groups):
            if id in rows:
                return rows[id]
        return self._state.row_of(id)

    def stored(self, row: int) -> bytes:
        for commit in self._draft.unsynced:
            if row >= commit.row and row - commit.row < len(commit.records):
                return commit.records[row - commit.row]
        return self._state.view.read(row)
