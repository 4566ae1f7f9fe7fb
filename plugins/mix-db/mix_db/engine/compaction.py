"""What a compaction leaves out, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

from mix_db.versions.rows import RowsView
from mix_db.versions.state import State
from mix_db.versions.version import is_tombstone, read_version, relinked
from mixkit.errors import StorageError

__all__ = ["Compaction", "droppable"]


def droppable(state: State, rows: int) -> BitMap:
    """What nobody needs who reads no state of less than `rows` rows: versions that were replaced by then, and
    tombstones."""
    replaced, below = BitMap(), BitMap()
    for part in state.parts:
        if part.start < rows:
            replaced |= part.links.superseded(rows)
            replaced |= part.deleted()
    below.add_range(0, rows)
    return replaced & below


class Compaction:
    """Makes the new rows. Rows get new numbers, and `_rmx_previous` leads to them, or is left out with what it led to.

    Args:
        state: what is there when it begins. Rows that come later are kept all.
        rows: how many rows the first state has that can be read afterwards.
    """

    def __init__(self, state: State, rows: int) -> None:
        self._dropped = droppable(state, rows)
        self.horizon = state.behind(rows, state.last if rows == state.rows else None).last
        """Number of the last commit of which history is incomplete."""
        # Of a commit that was dropped as a whole no row says the time; then it was the horizon before, too.
        self.horizon_time = max(state.behind(rows).time(), state.view.horizon_time)
        """When that was, Unix milliseconds."""

    def __len__(self) -> int:
        """How many rows are dropped."""
        return len(self._dropped)

    def rewrite(self, view: RowsView, start: int) -> Iterator[bytes]:
        """The new rows for the old ones of the view from `start` on.

        What it leaves out it has read, whatever the index says of it.

        Raises:
            StorageError: a version is to be left out that nothing has replaced.
        """
        # Records of which a version was left out, until a later one is met, and that version's row.
        bare: dict[str, int] = {}
        for row in range(start, view.rows):
            record = view.read(row)
            if row not in self._dropped:
                if bare:
                    bare.pop(_id(record), None)
                yield relinked(record, self._moved)
            elif is_tombstone(record):
                bare.pop(_id(record), None)
            else:
                bare[_id(record)] = row
        if bare:
            id, row = next(iter(bare.items()))
            raise StorageError(
                f"the database cannot be compacted: row {row}, the newest version of record {id}, would be lost;"
                " nothing has changed; see mixkit db check"
            )

    def _moved(self, row: int) -> int | None:
        """The new number of a row; None if it is dropped."""
        return None if row in self._dropped else row - self._dropped.rank(row)


def _id(record: bytes) -> str:
    return str(read_version(record)["_rmx_id"].id)
