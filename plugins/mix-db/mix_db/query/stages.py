"""The stages of a query on rows that come one by one: what need not see all rows keeps none of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from mix_db.query.ast import Aggregate, Group, Object, Order, Reverse, Slice, Stage
from mix_db.query.evaluate import Bundle, Evaluation
from mix_db.query.semantics import aggregate, sort_key, unique
from mixkit.value import UNDEF

__all__ = ["Block", "Row", "Summary", "blocks", "needed", "sliced", "through"]

Row: TypeAlias = dict[str, Any]

_MOST_IN_HEAP: Final = 10_000


@dataclass(frozen=True, slots=True)
class Summary:
    """Stages that make few rows of many: a group, and the aggregates behind it or alone."""

    group: Group | None
    aggregates: tuple[Aggregate, ...]


Block: TypeAlias = Object | Order | Reverse | Slice | Summary


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
        case Order(key, direction):
            return _ordered(
                rows,
                lambda row: sort_key(evaluation.read(key, row, row)),
                evaluation.direction(direction) == "desc",
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
    keys: list[Any] = []
    kept: list[Row] = []
    columns: list[tuple[Aggregate, list[Any]]] = [(stage, []) for stage in block.aggregates]
    count = 0
    for row in rows:
        tick()
        count += 1
        if block.group is not None:
            keys.append(read(block.group.key, row, row))
        if not columns:
            kept.append(row)
        for stage, values in columns:
            if stage.key is not None:
                values.append(read(stage.key, row, row))
    groups = unique(keys) if block.group is not None else [(UNDEF, range(count))]
    made: list[Row] = []
    for key, places in groups:
        tick()
        answers = {
            stage.function: len(places)
            if stage.key is None
            else aggregate(stage.function, [values[place] for place in places])
            for stage, values in columns
        }
        made.append(Bundle(key, [kept[place] for place in places] if kept else [], answers).record())
    return made
