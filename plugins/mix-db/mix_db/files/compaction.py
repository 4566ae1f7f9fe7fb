"""Compaction: the rows are written anew as the next generation of the files, which then takes the place of this one.

    1   without the write lock: the new rows for those that there are now, and their segments
    2   with it: the new rows for those that came meanwhile
    3   the manifest of the new generation; all of it is durable
    4   a new, empty log that names the new generation is put in place: the switch
    5   the files of the old generation are removed
Who reads keeps the old files, which are mapped. Who opens the database in between and misses a file looks at the log
again. A crash before 4 leaves the old generation in force, one after it the new; the rest is swept by the next writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from mix_db.files import names
from mix_db.files.errors import explained
from mix_db.files.generation import NewGeneration
from mix_db.files.view import View
from mix_db.files.write_log import Header, WriteLog

if TYPE_CHECKING:
    from mix_db.files.store import Store

__all__ = ["Rewrite", "compact"]

Rewrite: TypeAlias = Callable[[View, int], Iterable[bytes]]
"""Makes the new rows for the rows of a view from a number on, in their order. It may leave rows out. It is called once
for all rows, without a lock, and, if others came meanwhile, once more for those, with a newer view and the write lock
held. New rows are numbered from 0 in the order in which they are made, over both calls."""


def compact(store: Store, rewrite: Rewrite, horizon: int, horizon_time: int) -> None:
    """See `Store.compact`."""
    folder = store.folder
    with explained("the database cannot be compacted"), folder.lock(store.timeout, names.MERGE):
        with store.writing() as view:
            seen = view
        new = NewGeneration(folder, seen.generation + 1, store.index)
        switched = False
        try:
            new.append(rewrite(seen, 0))
            with folder.lock(store.timeout, names.FLUSH), store.writing() as view:
                if view.rows > seen.rows:
                    new.append(rewrite(view, seen.rows))
                extent = new.finish()
                horizon, horizon_time = max(horizon, view.horizon), max(horizon_time, view.horizon_time)
                WriteLog.create(folder, Header.new(extent, view.last, horizon, horizon_time))
                switched = True
                store.switched()
                store.remove_leftovers()
        except BaseException:
            if not switched:
                new.remove()
            raise
