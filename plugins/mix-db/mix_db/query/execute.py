"""A query run on a snapshot: first what the indexes know, then the rows that are left, read as they are asked for.

A run has layers. Steps (`steps.py`) make the set of rows that the filter may keep. If the set is exact, stages are
answered from it and from the columns as far as they can be; what is left of the stages, and conditions that no
index could settle, then work on rows, which are read a few at once. Rows and their order are those of `evaluate`. Where
bounds for single rows are exceeded (`MAX_STEPS`, `MAX_JOINED`) only rows that are read can show it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.query.ast import Key, Object, Order, Query, Reverse, RowKey, Slice
from mix_db.query.builder import Condition as Built
from mix_db.query.clock import Clock
from mix_db.query.cursor import QueryCursor
from mix_db.query.errors import QueryError
from mix_db.query.evaluate import Bundle, Evaluation
from mix_db.query.found import Found, Made, Reading, Stored, choice_of
from mix_db.query.json_form import from_json, to_json
from mix_db.query.memory import Memory
from mix_db.query.ordered import Values, values_at
from mix_db.query.parser import parse
from mix_db.query.plan import Planner
from mix_db.query.printer import format_query
from mix_db.query.refs import Refs
from mix_db.query.stages import Block, Row, Summary, blocks, needed, sliced, through
from mix_db.query.steps import READ, Condition, Step
from mix_db.query.trace import Trace
from mix_db.query.unknown import warnings_of
from mix_db.versions.public import ALL
from mix_db.versions.snapshot import Snapshot
from mixkit.storage import BATCH, Parsed
from mixkit.value import UNDEF

__all__ = ["Execution", "compile_query", "matches", "parsed", "run"]

_LONGEST_KEPT: Final = 4_096
_SOME: Final = BATCH // 4
"""Rows that are read at once."""

_WALK: Final = 2.0
"""About what going to the next key of a column costs, in microseconds."""

_FOLD: Final = 6.0
"""About what going to a key, folding and sorting it costs."""

_SORT: Final = 3.0
"""About what sorting costs for each row that has been read."""


def compile_query(query: object) -> Query:
    """The AST of a query in whichever spelling it comes: text, JSON, builder, or the AST itself.

    Raises:
        QueryError: it is no query; the error says where.
    """
    if isinstance(query, Query):
        return query
    if isinstance(query, Built):
        return query.query()
    if type(query) is str:
        return _parsed(query) if len(query) <= _LONGEST_KEPT else parse(query)
    if type(query) is list:
        return from_json(query)
    raise QueryError(f"expected a query, its text, its JSON form or its AST, found {type(query).__name__}")


def parsed(query: object) -> Parsed:
    """A query in both of its spellings. Raises as `compile_query`."""
    tree = compile_query(query)
    return Parsed(to_json(tree), format_query(tree))


@lru_cache(maxsize=256)
def _parsed(text: str) -> Query:
    return parse(text)


def run(
    query: Query,
    params: Mapping[str, Any] | None,
    snapshot: Snapshot,
    *,
    deleted: bool = False,
    superseded: bool = False,
    skip: int = 0,
    limit: int | None = None,
    timeout: float | None = None,
    memory: int | None = None,
) -> QueryCursor:
    """Run a query; nothing is looked up before the first row is asked for.

    Args:
        query: what to run.
        params: a value for each parameter, and nothing else.
        snapshot: what to run it on.
        deleted, superseded: whether tombstones, and versions that are not the newest, are seen too.
        skip, limit: which of the rows are wanted.
        timeout: seconds of work over all calls of `next`; None for any length of time.
        memory: bytes that may be held at once, by order and group; None for any number.

    Raises:
        QueryError: parameters are missing, unknown or of a wrong kind.
    """
    clock = Clock(timeout)
    execution = Execution(
        query,
        params,
        snapshot,
        clock,
        deleted=deleted,
        superseded=superseded,
        window=_window(skip, limit),
        memory=memory,
    )
    return QueryCursor(execution.found, snapshot.watermark, clock, execution.refs.forget, execution.warnings)


def _window(skip: int, limit: int | None) -> tuple[Slice, ...]:
    """The stages that leave what is wanted of the rows."""
    skipped = (Slice("skip", skip),) if skip else ()
    return skipped if limit is None else (*skipped, Slice("limit", limit))


def matches(
    query: Query,
    params: Mapping[str, Any] | None,
    snapshot: Snapshot,
    *,
    rows: AbstractBitMap | None = None,
    clock: Clock | None = None,
) -> BitMap:
    """The present rows that the filter of a query keeps; its stages are not looked at.

    Args:
        query, params, snapshot: as for `run`.
        rows: only these are asked about.
        clock: how long it may take, and whether it is still wanted.

    Raises:
        QueryError: as for `run`, or by what a row holds.
        QueryTimeout: the time is used up.
        QueryCancelled: the clock was cancelled.
    """
    execution = Execution(query, params, snapshot, clock or Clock())
    return execution.matches(rows)


class Execution:
    """One run of a query.

    Raises:
        QueryError: parameters are missing, unknown or of a wrong kind.
    """

    def __init__(
        self,
        query: Query,
        params: Mapping[str, Any] | None,
        snapshot: Snapshot,
        clock: Clock,
        *,
        deleted: bool = False,
        superseded: bool = False,
        window: tuple[Slice, ...] = (),
        trace: Trace | None = None,
        memory: int | None = None,
    ) -> None:
        self.refs = Refs(snapshot)
        self._tick = clock.tick
        self._query = query
        self._snapshot = snapshot
        self._evaluation = Evaluation(query, params or {}, self.refs, clock.tick)
        self._seen = (deleted, superseded)
        self._window = window
        self._trace = trace
        self._memory = Memory(memory)

    def warnings(self) -> list[str]:
        """What the query names that no record has."""
        return warnings_of(self._query, self._evaluation, self._snapshot)

    def plan(self) -> Step:
        """The first layer."""
        return Planner(self._snapshot, self._evaluation, self._tick).plan(self._query.filter)

    def matches(self, within: AbstractBitMap | None) -> BitMap:
        candidates, unsettled = self._candidates()
        if within is not None:
            candidates = candidates & within
        if not unsettled:
            return BitMap(candidates)
        return BitMap([row for row, _ in self._checked(candidates, unsettled)])

    def found(self) -> Found:
        """The rows behind the last stage, for whoever wants them in batches."""
        rows, rest = self._first()
        if isinstance(rows, Stored):
            rows, rest = self._chosen(rows, rest)
            if isinstance(rows, Stored) and not rest:
                return rows
        return Made(self._through(iter(rows), rest))

    def rows(self) -> Iterator[Row]:
        """The rows behind the last stage, as every stage makes them."""
        rows, rest = self._first()
        yield from self._through(iter(rows), rest)

    def _first(self) -> tuple[Stored | Iterator[Row], list[Block]]:
        """The rows that the filter keeps, or what can be had of the stages without reading these; and what is left."""
        candidates, unsettled = self._candidates()
        rest = [*blocks(self._query.stages), *self._window]
        if not unsettled:
            return self._settled(candidates, rest)
        reading = Reading(self._checked(candidates, unsettled), self._snapshot.read)
        rows = Stored(self._snapshot, iter(reading), reading.records)
        if self._trace:
            return self._trace.check(iter(rows), unsettled, len(candidates)), rest
        return rows, rest

    def _chosen(self, rows: Stored, rest: list[Block]) -> tuple[Stored, list[Block]]:
        """What can be done of the stages with rows that are only numbers, and what is left."""
        numbers, choice = rows.numbers, ALL
        for place, block in enumerate(rest):
            if isinstance(block, Object) and choice is ALL:
                found = choice_of(block)
                # Whatever looks at fields behind it sees those that it leaves.
                if found is None or not all(isinstance(behind, Slice) for behind in rest[place + 1 :]):
                    return rows.of(numbers), rest[place:]
                choice = found
            elif isinstance(block, Slice):
                numbers = sliced(block, numbers, self._evaluation)
            else:
                return rows.of(numbers), rest[place:]
        return rows.of(numbers, choice), []

    def _through(self, rows: Iterator[Row], rest: Sequence[Block]) -> Iterator[Row]:
        for place, block in enumerate(rest):
            rows = through(block, rows, self._evaluation, rest[place + 1 :], self._tick, self._memory)
            if self._trace:
                rows = self._trace.block(rows, block)
        return rows

    def _candidates(self) -> tuple[AbstractBitMap, list[Condition]]:
        """The rows that the indexes leave, and what each must still be asked."""
        step = self.plan()
        deleted, superseded = self._seen
        rows = step.rows() & self._snapshot.visible(deleted=deleted, superseded=superseded)
        if self._trace:
            self._trace.first(step)
        return rows, step.unsettled()

    def _checked(
        self, candidates: AbstractBitMap, unsettled: Sequence[Condition]
    ) -> Iterator[tuple[int, Row]]:
        holds = self._evaluation.holds
        for record in self._read(iter(candidates), 1):
            self._tick()
            if holds(unsettled, record):
                yield record["_rmx_row"], record

    def _read(self, numbers: Iterator[int], size: int = _SOME) -> Iterator[Row]:
        """`size` rows at first, and more and more: who stops soon has not waited for many."""
        while some := list(islice(numbers, size)):
            while some:
                self._tick()
                records = self._snapshot.read_first(some)
                yield from records
                some = some[len(records) :]
            size = min(2 * size, _SOME)

    # Stages on rows that are known by their numbers

    def _settled(
        self, candidates: AbstractBitMap, rest: list[Block]
    ) -> tuple[Stored | Iterator[Row], list[Block]]:
        """What can be had of the blocks without reading all rows, and the blocks that are left."""
        numbers: Iterator[int] = iter(candidates)
        match rest:
            case [Summary() as summary, *behind]:
                answers = self._summary(summary, candidates)
                if answers is not None:
                    return self._noted(iter(answers), summary), behind
            case [Order() as order, *behind]:
                ordered = self._ordered(order, candidates, needed(behind, self._evaluation))
                if ordered is not None:
                    numbers, rest = self._noted(ordered, order), behind
        while rest:
            match rest[0]:
                case Slice() as block:
                    numbers = sliced(block, numbers, self._evaluation)
                case Reverse():
                    numbers = reversed(array("Q", numbers))
                case Summary(None, (only,)) if only.function == "count":
                    return self._noted(iter([{"count": sum(1 for _ in numbers)}]), rest[0]), rest[1:]
                case _:
                    break
            numbers = self._noted(numbers, rest[0])
            rest = rest[1:]
        rows = Stored(self._snapshot, numbers, self._read)
        return self._trace.read(iter(rows)) if self._trace else rows, rest

    def _noted(self, rows: Iterator[Any], block: Block) -> Iterator[Any]:
        return self._trace.block(rows, block, "index") if self._trace else rows

    def _values(self, key: RowKey, rows: AbstractBitMap, *, arrays: bool = False) -> Values | None:
        """What rows hold where a key leads to, None if only reading them tells; `arrays`: it reads through arrays."""
        if not isinstance(key, Key):
            return None
        names = self._evaluation.path(key)[1]
        return values_at(
            self._snapshot,
            names,
            rows,
            lambda row: self._value(key, row),
            self._tick,
            self._memory,
            arrays=arrays,
        )

    def _summary(self, block: Summary, rows: AbstractBitMap) -> list[Row] | None:
        """The answer from the columns; None if reading the rows is needed, or cheaper."""
        if block.group is None:
            answers: dict[str, Any] = {}
            for stage in block.aggregates:
                answer = len(rows) if stage.key is None else self._aggregate(stage.function, stage.key, rows)
                if answer is None:
                    return None
                answers[stage.function] = answer[0] if isinstance(answer, tuple) else answer
            return [answers]
        if [stage.function for stage in block.aggregates] != ["count"]:
            return None
        values = self._values(block.group.key, rows, arrays=True)
        if values is None or values.keys() * _WALK > len(rows) * READ:
            return None
        return [Bundle(value, [], {"count": count}).record() for value, count in values.groups()]

    def _aggregate(self, function: str, key: RowKey, rows: AbstractBitMap) -> tuple[Any] | None:
        """An aggregate from the columns, None as `_summary` answers it."""
        if function not in ("min", "max", "distinct"):
            return None
        values = self._values(key, rows, arrays=True)
        if values is None:
            return None
        if function == "distinct":
            if values.keys() * _WALK > len(rows) * READ:
                return None
            return ([value for value, _ in values.groups() if value is not UNDEF],)
        if not self._worth(values, rows, 1):
            return None
        row = values.extreme(largest=function == "max")
        return (None if row is None else self._value(key, row),)

    @staticmethod
    def _worth(values: Values, rows: AbstractBitMap, need: int) -> bool:
        """Whether finding the first few rows in the order of their keys is cheaper than reading all."""
        return values.keys() * _WALK * need <= len(rows) ** 2 * READ

    def _value(self, key: RowKey, row: int) -> Any:
        record = self._snapshot.read(row)
        return self._evaluation.read(key, record, record)

    def _ordered(self, block: Order, rows: AbstractBitMap, need: int | None) -> Iterator[int] | None:
        """The rows in order, without reading them; None if reading and sorting them is needed, or cheaper."""
        descending = self._evaluation.direction(block.direction) == "desc"
        if not isinstance(block.key, Key):
            return None
        names = self._evaluation.path(block.key)[1]
        if names[0] in ("_rmx_row", "_rmx_rev", "_rmx_last_modified_at") and len(names) == 1:
            return self._latest(names[0], rows) if descending else iter(rows)
        values = self._values(block.key, rows)
        if values is None or not rows:
            return None
        if block.ci:
            worth = values.keys() * _FOLD <= len(rows) * READ
        elif need is None or need >= len(rows):
            worth = values.keys() * _WALK <= len(rows) * _SORT
        else:
            worth = self._worth(values, rows, need)
        return values.ordered(descending=descending, ci=block.ci) if worth else None

    def _latest(self, name: str, rows: AbstractBitMap) -> Iterator[int]:
        """The rows by a field that never decreases from row to row, downwards; equals in ascending order."""
        numbers = rows.to_array()
        stop = len(numbers)
        while stop:
            self._tick()
            row = numbers[stop - 1]
            start = (
                stop - 1 if name == "_rmx_row" else bisect_left(numbers, self._first_like(row, name), 0, stop)
            )
            yield from numbers[start:stop]
            stop = start

    def _first_like(self, row: int, name: str) -> int:
        value = self._snapshot.read(row)[name]
        if name == "_rmx_last_modified_at":
            return self._snapshot.first_since(value)
        # Watermarks are numbers of one width.
        return self._snapshot.first_after(f"{int(value) - 1:0{len(value)}}") if int(value) else 0
