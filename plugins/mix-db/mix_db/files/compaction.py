"""Compaction: the rows are written anew as the next generation of the files, which then takes the place of this one.

    1   the lock MERGE, without which nobody switches to another generation: until then row numbers mean the same
    2   the plan, of the rows that there are now
    3   without the write lock: the new rows for them, and their segments
    4   with it: the new rows for those that came meanwhile
    5   the manifest of the new generation; all of it is durable
    6   a new, empty log that names the new generation is put in place: the switch
    7   the files of the old generation are removed
A plan that was made before 1 could speak of rows by numbers that others have by then.
Who reads keeps the old files, which are mapped. Who opens the database in between and misses a file looks at the log
again. A crash before 6 leaves the old generation in force, one after it the new; the rest is swept by the next writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from mix_db.files import names
from mix_db.files.errors import FilesError, explained
from mix_db.files.generation import NewGeneration
from mix_db.files.layer import Folder
from mix_db.files.segments import MakeIndex
from mix_db.files.view import View
from mix_db.files.write_log import Header, WriteLog

__all__ = ["MakePlan", "Plan", "Rewrite", "compact"]

Rewrite: TypeAlias = Callable[[Any, int], Iterable[bytes]]
"""Makes the new rows for the rows of a view from a number on, in their order. It may leave rows out. It is called once
for all rows, without a lock, and, if others came meanwhile, once more for those, with a newer view and the write lock
held. New rows are numbered from 0 in the order in which they are made, over both calls."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a compaction does.

    Attributes:
        rewrite: makes the new rows.
        horizon: the number of a commit; of commits up to it, history is dropped.
        horizon_time: when that commit was, Unix milliseconds.
        dropped: how many rows `rewrite` is to leave out; None if that is found out by doing it.
    """

    rewrite: Rewrite
    horizon: int = 0
    horizon_time: int = 0
    dropped: int | None = None


MakePlan: TypeAlias = Callable[[View], Plan | None]
"""Makes the plan of a compaction, or None if it is not worth one. It is called with the lock MERGE held: the numbers of
the view's rows, and of all that are committed behind it, are in force until the switch."""


class Files(Protocol):
    """What a compaction needs of the store whose files it writes anew; see `mix_db.files.store.Store`."""

    @property
    def folder(self) -> Folder: ...

    @property
    def timeout(self) -> float: ...

    @property
    def index(self) -> MakeIndex | None: ...

    def writing(self) -> AbstractContextManager[View]: ...

    def switched(self) -> None: ...

    def remove_leftovers(self) -> None: ...


def compact(store: Files, make_plan: MakePlan) -> bool:
    """See `Store.compact`."""
    folder = store.folder
    with explained("the database cannot be compacted"), folder.lock(store.timeout, names.MERGE):
        with store.writing() as view:
            seen = view
        plan = make_plan(seen)
        if plan is None:
            return False
        new = NewGeneration(folder, seen.generation + 1, store.index)
        switched = False
        try:
            new.append(plan.rewrite(seen, 0))
            with folder.lock(store.timeout, names.FLUSH), store.writing() as view:
                if view.rows > seen.rows:
                    new.append(plan.rewrite(view, seen.rows))
                extent = new.finish()
                dropped = view.rows - extent.rows
                if plan.dropped not in (None, dropped):
                    raise FilesError(
                        "the database cannot be compacted: expected"
                        f" {view.rows} rows less {plan.dropped}, made {extent.rows}; nothing has changed"
                    )
                horizon = max(plan.horizon, view.horizon)
                horizon_time = max(plan.horizon_time, view.horizon_time)
                dropped += view.log.header.dropped
                WriteLog.create(folder, Header.new(extent, view.last, horizon, horizon_time, dropped))
                switched = True
                store.switched()
                store.remove_leftovers()
        except BaseException:
            if not switched:
                new.remove()
            raise
    return True
