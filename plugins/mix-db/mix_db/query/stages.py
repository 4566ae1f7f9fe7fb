"""The stages of a query on rows that come one by one: what need not see all rows keeps none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Final, TypeAlias

from mix_db.query.ast import (
    Aggregate,
    Group,
    Member,
    Object,
    Order,
    Reverse,
    Slice,
    Stage,
    Unnest,
    Where,
)
from mix_db.query.evaluate import Bundle, Evaluation
from mix_db.query.memory import Memory
from mix_db.query.semantics import aggregate, unique
from mixkit.errors import QueryTooLarge
from mixkit.value import UNDEF

__all__ = ["Block", "Row", "Summary", "blocks", "needed", "sliced", "through"]

Row: TypeAlias = dict[str, Any]

_SPARE: Final = 1_000
"""Rows beyond those that are needed which are kept until they are sorted again."""


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
    memory: Memory,
) -> Iterator[Row]:
    """What a block makes of the rows.

    Args:
        block: the block.
        rows: rows in their order.
        evaluation: the query's.
        following: the blocks behind it, which may say that few of its rows are needed.
        tick: called for each row, and may raise.
        memory: counts the rows that are kept.
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
                memory,
            )
        case Reverse():
            return reversed(list(_held(rows, memory)))
        case Slice():
            return sliced(block, rows, evaluation)
        case Summary():
            return iter(_summary(block, rows, evaluation, tick, memory))


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


def _held(rows: Iterable[Row], memory: Memory) -> Iterator[Row]:
    for row in rows:
        memory.hold(row)
        yield row


def _ordered(
    rows: Iterable[Row], key: Callable[[Row], Any], reverse: bool, need: int | None, memory: Memory
) -> Iterator[Row]:
    if need is not None:
        return _first(rows, key, reverse, need, memory)
    return iter(sorted(_held(rows, memory), key=key, reverse=reverse))


def _first(
    rows: Iterable[Row], key: Callable[[Row], Any], reverse: bool, need: int, memory: Memory
) -> Iterator[Row]:
    """The first rows in order; no more than those, and some to spare, are kept on the way."""
    kept: list[tuple[Any, Row, int]] = []
    worst: Any = None

    def cut() -> None:
        nonlocal worst
        kept.sort(key=itemgetter(0), reverse=reverse)
        memory.free(sum(size for _, _, size in kept[need:]))
        del kept[need:]
        worst = kept[-1][0] if len(kept) == need else None

    if not need:
        return iter(())
    for row in rows:
        rank = key(row)
        # Of equals those that come first stay first.
        if worst is not None and not (worst < rank if reverse else rank < worst):
            continue
        if len(kept) >= 2 * need + _SPARE:
            cut()
        try:
            size = memory.hold(row)
        except QueryTooLarge:
            cut()
            size = memory.hold(row)
        kept.append((rank, row, size))
    cut()
    return iter([row for _, row, _ in kept])


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
    block: Summary, rows: Iterable[Row], evaluation: Evaluation, tick: Callable[[], None], memory: Memory
) -> list[Row]:
    read = evaluation.read
    key_of_group = None if block.group is None else block.group.key
    keys: list[Any] = []
    kept: list[Row] = []
    columns = [(stage, _Column()) for stage in block.aggregates]
    keyed = [(stage.key, column) for stage, column in columns if stage.key is not None]
    count = 0

    def add(row: Row) -> None:
        nonlocal count
        count += 1
        for key, column in keyed:
            value = read(key, row, row)
            if value is UNDEF and isinstance(key, Member):
                several = evaluation.values(key, row)
                column.several[len(column.values)] = several
                memory.hold(several)
            column.values.append(value)
            memory.hold(value)
        if not columns:
            kept.append(row)
            memory.hold(row)

    for row in rows:
        tick()
        if key_of_group is not None:
            key = read(key_of_group, row, row)
            if key is UNDEF and isinstance(key_of_group, Member):
                for key, part in evaluation.keyed(key_of_group, row):
                    keys.append(key)
                    memory.hold(key)
                    add(part)
                continue
            keys.append(key)
            memory.hold(key)
        add(row)
    groups = unique(keys) if block.group is not None else [(UNDEF, range(count))]
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
    """What an aggregate reads in each row: one value, or several where its key leads through arrays."""

    __slots__ = ("several", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.several: dict[int, list[Any]] = {}

    def at(self, places: Iterable[int]) -> list[Any]:
        if not self.several:
            return [self.values[place] for place in places]
        return [value for place in places for value in self.several.get(place) or (self.values[place],)]
