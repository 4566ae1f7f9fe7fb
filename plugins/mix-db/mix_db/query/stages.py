"""The stages of a query on rows that come one by one: what need not see all rows keeps none of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from mix_db.query.ast import Aggregate, Group, Member, Object, Order, Reverse, Slice, Stage, Unnest, Where
from mix_db.query.evaluate import Bundle, Evaluation
from mix_db.query.semantics import aggregate, unique
from mixkit.value import UNDEF

__all__ = ["Block", "Row", "Summary", "blocks", "needed", "sliced", "through"]

Row: TypeAlias = dict[str, Any]

_MOST_IN_HEAP: Final = 10_000


@dataclass(frozen=True, slots=True)
class Summary:
    """Stages that make few rows of many: a group, and the aggregates behind it or alone."""

    group: Group | None
    aggregates: tuple[Aggregate, ...]


Block: TypeAlias = Object | Where | Unnest | Order | Reverse | Slice | Summary


def blocks(stages: Sequence[Stage]) -> list[Block]:
    """The stages, with those together that work together."""
    made: list[Block] = []
    group: Group | None = None
    aggregates: list[Aggregate] = []
    for stage in (*stages, None):
        if isinstance(stage, Aggregate):
            aggregates.append(stage)
            continue
        if group is not None or aggregates:
            made.append(Summary(group, tuple(aggregates)))
            group, aggregates = None, []
        if isinstance(stage, Group):
            group = stage
        elif stage is not None:
            made.append(stage)
    return made


def through(
    block: Block,
    rows: Iterator[Row],
    evaluation: Evaluation,
    following: Sequence[Block],
    tick: Callable[[], None],
) -> Iterator[Row]:
    """What a block makes of the rows.

    Args:
        block: the block.
        rows: rows in their order.
        evaluation: the query's.
        following: the blocks behind it, which may say that few of its rows are needed.
        tick: called for each row, and may raise.
    """
    match block:
        case Object():
            return _objects(block, rows, evaluation, tick)
        case Where():
            return _where(block, rows, evaluation, tick)
        case Unnest(key):
            return (part for row in rows for part in evaluation.unnested(key, row))
        case Order():
            return _ordered(
                rows,
                lambda row: evaluation.order_key(block, row),
                evaluation.direction(block.direction) == "desc",
                needed(following, evaluation),
            )
        case Reverse():
            return reversed(list(rows))
        case Slice():
            return sliced(block, rows, evaluation)
        case Summary():
            return iter(_summary(block, rows, evaluation, tick))


def _objects(
    block: Object, rows: Iterator[Row], evaluation: Evaluation, tick: Callable[[], None]
) -> Iterator[Row]:
    for row in rows:
        tick()
        yield evaluation.row(block, row)


def _where(
    block: Where, rows: Iterator[Row], evaluation: Evaluation, tick: Callable[[], None]
) -> Iterator[Row]:
    conditions = [(block.filter, True)]
    for row in rows:
        tick()
        if evaluation.holds(conditions, row):
            yield row


def _ordered(
    rows: Iterable[Row], key: Callable[[Row], Any], reverse: bool, need: int | None
) -> Iterator[Row]:
    if need is not None and need <= _MOST_IN_HEAP:
        return iter((heapq.nlargest if reverse else heapq.nsmallest)(need, rows, key))
    return iter(sorted(rows, key=key, reverse=reverse))


def sliced(block: Slice, rows: Iterator[Any], evaluation: Evaluation) -> Iterator[Any]:
    """`skip` or `limit` of anything that comes one by one."""
    # There are fewer rows than any number above, which `islice` would refuse.
    count = min(evaluation.count(block.function, block.count), 2**62)
    return islice(rows, count, None) if block.function == "skip" else islice(rows, count)


def needed(following: Sequence[Block], evaluation: Evaluation) -> int | None:
    """How many rows the blocks take at most, None if they may take all."""
    skipped, need = 0, None
    for block in following:
        if not isinstance(block, Slice):
            break
        count = evaluation.count(block.function, block.count)
        if block.function == "skip":
            skipped += count
        else:
            need = skipped + count if need is None else min(need, skipped + count)
    return need


def _summary(
    block: Summary, rows: Iterable[Row], evaluation: Evaluation, tick: Callable[[], None]
) -> list[Row]:
    read = evaluation.read
    group = block.group
    keys: list[Any] = []
    kept: list[Row] = []
    columns = [(stage, _Column()) for stage in block.aggregates]
    count = 0
    for whole in rows:
        tick()
        for row in (whole,) if group is None else evaluation.parted(group.key, whole):
            count += 1
            if group is not None:
                keys.append(read(group.key, row, row))
            if not columns:
                kept.append(row)
            for stage, column in columns:
                if isinstance(stage.key, Member):
                    column.several.append(evaluation.values(stage.key, row))
                elif stage.key is not None:
                    column.values.append(read(stage.key, row, row))
    groups = unique(keys) if group is not None else [(UNDEF, range(count))]
    made: list[Row] = []
    for key, places in groups:
        tick()
        answers = {
            stage.function: len(places) if stage.key is None else aggregate(stage.function, column.at(places))
            for stage, column in columns
        }
        made.append(Bundle(key, [kept[place] for place in places] if kept else [], answers).record())
    return made


class _Column:
    """What an aggregate reads: one value of each row, or for keys that may lead through arrays several."""

    __slots__ = ("several", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.several: list[list[Any]] = []

    def at(self, places: Iterable[int]) -> list[Any]:
        if self.several:
            return [value for place in places for value in self.several[place]]
        return [self.values[place] for place in places]
