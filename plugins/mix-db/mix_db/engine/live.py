"""Live queries: how the rows of a query change from commit to commit."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from pyroaring import BitMap

from mix_db.engine.arrivals import Arrivals
from mix_db.query import ast
from mix_db.query.clock import Clock
from mix_db.query.evaluate import Evaluation
from mix_db.query.execute import matches
from mix_db.query.memory import Memory
from mix_db.query.refs import Refs
from mix_db.versions.state import State
from mix_db.versions.version import packer
from mixkit.errors import QueryCancelled, QueryError
from mixkit.storage import Change, Record
from mixkit.value import Ref

__all__ = ["LiveQuery", "check_live"]

_Item = TypeVar("_Item")

_CLOSED: Final = "the live query was closed"

_Row: TypeAlias = tuple[str, Record]
"""The id of a record, and what the query makes of it."""

_PLACES: Final = ("_rmx_row", "_rmx_previous")
"""Where a version lies, which a compaction changes, and nobody who follows a query wants to hear of."""


def check_live(query: ast.Query) -> None:
    """Raise `QueryError` if the query has rows that stand for more than one record."""
    for stage in query.stages:
        if isinstance(stage, ast.Unnest):
            raise QueryError(
                "expected a live query whose rows are one record each, found unnest(…), which makes several of one"
            )
        if isinstance(stage, ast.Aggregate | ast.Group):
            name = "group" if isinstance(stage, ast.Group) else stage.function
            raise QueryError(
                f"expected a live query whose rows are one record each, found {name}(…), which puts several together"
            )


class LiveQuery:
    """Implements `mixkit.storage.Live`. One thread or task at a time waits.

    Only a digest of each row is kept. Where a row depends on its own record alone, a change looks at the records that
    have changed; otherwise, with `order`, `limit` and refs, at all that the filter keeps.

    Args:
        query: what to follow; `check_live` has passed it.
        params: a value for each parameter.
        state: answers the present state.
        arrivals: those who wait for commits.
        seconds: of work that one change may take.
        memory: bytes that it may hold at once; None for any number.
    """

    def __init__(
        self,
        query: ast.Query,
        params: Mapping[str, Any] | None,
        state: Callable[[], State],
        arrivals: Arrivals,
        seconds: float,
        memory: int | None,
    ) -> None:
        self._query = query
        self._params = dict(params or {})
        self._present = state
        self._arrivals = arrivals
        self._alone = not any(_looks_around(node) for node in ast.walk(query))
        self._seen: State | None = None
        self._digests: dict[str, bytes] = {}
        self._pack = packer()
        self._mutex = threading.Lock()
        self._closed = False
        self._seconds = seconds
        self._clock = Clock()
        self._most = memory
        self._memory = Memory(memory)
        # Whatever is wrong with the parameters shows now.
        Evaluation(query, self._params, lambda ref: None)

    def next(self, timeout: float | None = None) -> Change | None:
        return self._arrivals.wait(self._step, timeout)

    async def next_async(self) -> Change:
        return await self._arrivals.wait_async(lambda: asyncio.to_thread(self._step))

    def close(self) -> None:
        self._closed = True
        self._clock.cancel(_CLOSED)
        # Whoever waits finds it closed.
        self._arrivals.announce()

    def _step(self) -> Change | None:
        """The change up to now, if there is one; always the first time."""
        with self._mutex:
            self._clock = Clock(self._seconds)
            self._memory = Memory(self._most)
            # Behind the clock: who closes it either stops this one or is seen here.
            if self._closed:
                raise QueryCancelled(_CLOSED)
            before, now = self._seen, self._present()
            if before is not None and before.last == now.last:
                return None
            if before is None or not self._alone or before.view.generation != now.view.generation:
                change = self._compared(now)
            else:
                change = self._followed(before, now)
            self._seen = now
            return change if before is None or change.entered or change.changed or change.left else None

    def _compared(self, now: State) -> Change:
        """The change by all rows."""
        kept = matches(self._query, self._params, now, clock=self._clock)
        rows = self._rows(now, [self._held(now.read(row)) for row in self._timed(kept)])
        digests = {id: self._digest(row) for id, row in self._timed(rows)}
        before, self._digests = self._digests, digests
        return Change(
            now.watermark,
            entered=[row for id, row in rows if id not in before],
            changed=[row for id, row in rows if id in before and before[id] != digests[id]],
            left=[Ref(id) for id in before if id not in digests],
        )

    def _followed(self, before: State, now: State) -> Change:
        """The change by the records that have new versions."""
        fresh = BitMap()
        fresh.add_range(before.rows, now.rows)
        kept = matches(self._query, self._params, now, rows=fresh, clock=self._clock)
        records = {row: self._held(now.read(row)) for row in self._timed(fresh)}
        touched = {record["_rmx_id"].id for record in records.values()}
        rows = dict(self._rows(now, [records[row] for row in kept]))
        entered, changed, left = [], [], []
        for id, row in rows.items():
            digest = self._digest(row)
            if id not in self._digests:
                entered.append(row)
            elif self._digests[id] != digest:
                changed.append(row)
            self._digests[id] = digest
        for id in touched - rows.keys():
            if self._digests.pop(id, None) is not None:
                left.append(Ref(id))
        return Change(now.watermark, entered, changed, left)

    def _rows(self, now: State, records: Iterable[Record]) -> list[_Row]:
        """What the stages make of the records that the filter keeps."""
        evaluation = Evaluation(self._query, self._params, Refs(now))
        rows: list[_Row] = [(record["_rmx_id"].id, record) for record in records]
        for stage in self._query.stages:
            if isinstance(stage, ast.Object):
                rows = [(text, self._held(evaluation.row(stage, row))) for text, row in self._timed(rows)]
            else:
                # These stages move rows and leave some out; each stays the same object.
                ids = {id(row): text for text, row in rows}
                moved = evaluation._stage(stage, [row for _, row in self._timed(rows)])
                rows = [(ids[id(row)], row) for row in moved]
        return rows

    def _timed(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items, as long as there is time and somebody wants them."""
        for item in items:
            self._clock.tick()
            yield item

    def _held(self, row: Record) -> Record:
        self._memory.hold(row)
        return row

    def _digest(self, row: Record) -> bytes:
        kept = {name: item for name, item in row.items() if name not in _PLACES}
        return hashlib.blake2b(self._pack(kept), digest_size=16).digest()


def _looks_around(node: object) -> bool:
    """Whether rows depend on other records, by refs or by their order."""
    match node:
        case ast.Member(base=base):
            return base is not None
        case ast.CloneMembers(expand=expand):
            return expand
        case ast.Order() | ast.Reverse() | ast.Slice() | ast.FollowRef() | ast.Subquery():
            return True
        case _:
            return False
