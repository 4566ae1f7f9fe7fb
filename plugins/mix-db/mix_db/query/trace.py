"""What a run did, noted as it goes on: the nodes that `explain` answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from mix_db.query.ast import Aggregate, And, Group, Not, Object, Order, Reverse, Slice, Stage, Unnest, Where
from mix_db.query.printer import format_filter, format_stage
from mix_db.query.stages import Block, Summary
from mix_db.query.steps import Condition, Step

__all__ = ["Node", "Trace", "node_of_block", "node_of_step"]

T = TypeVar("T")

Node = dict[str, Any]
"""`step`, `detail`, `estimate`, `rows`, `exact` and `parts`, and `source` where stages say what answered them."""

_DETAIL: Final = 2_000
"""Most characters of a detail; long lists are cut off."""


class Trace:
    """The nodes of a run in the order in which rows pass through them, with counted rows."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def first(self, step: Step) -> None:
        """The first layer, behind its end."""
        self.nodes.append(node_of_step(step))

    def check(self, rows: Iterator[T], conditions: Sequence[Condition], estimate: int) -> Iterator[T]:
        filters = [node if truth else Not(node) for node, truth in conditions]
        detail = format_filter(And(tuple(filters)) if len(filters) > 1 else filters[0])
        return self._counted(rows, {"step": "check", "detail": detail, "estimate": estimate})

    def read(self, rows: Iterator[T]) -> Iterator[T]:
        return self._counted(rows, {"step": "read", "detail": "", "estimate": self.nodes[-1]["estimate"]})

    def block(self, rows: Iterator[T], block: Block, source: str = "rows") -> Iterator[T]:
        return self._counted(rows, node_of_block(block, self.nodes[-1]["estimate"]) | {"source": source})

    def _counted(self, rows: Iterable[T], node: Node) -> Iterator[T]:
        node = {**node, "detail": node["detail"][:_DETAIL], "rows": 0, "exact": True, "parts": []}
        self.nodes.append(node)

        def count() -> Iterator[T]:
            for row in rows:
                node["rows"] += 1
                yield row

        return count()


def node_of_step(step: Step) -> Node:
    """The node of a step, with those that it is made of."""
    detail = ""
    if step.condition is not None:
        node, truth = step.condition
        detail = format_filter(node if truth else Not(node))
    return {
        "step": step.name,
        "detail": detail[:_DETAIL] + (f" ({step.note})" if step.note else ""),
        "estimate": step.estimate,
        "rows": step.found,
        "exact": step.exact,
        "parts": [node_of_step(part) for part in step.parts],
    }


def node_of_block(block: Block, estimate: int) -> Node:
    """The node of stages, with `estimate` rows before them."""
    match block:
        case Object():
            name = "project"
        case Where():
            name = "where"
        case Unnest():
            name = "unnest"
        case Order():
            name = "order"
        case Reverse():
            name = "reverse"
        case Slice(function, count):
            name = function
            if isinstance(count, int):
                estimate = max(estimate - count, 0) if function == "skip" else min(estimate, count)
        case Summary(None, aggregates):
            name = "count" if [stage.function for stage in aggregates] == ["count"] else "aggregate"
            estimate = 1
        case Summary():
            name = "group"
    stages: tuple[Stage, ...] = (
        (block,) if not isinstance(block, Summary) else _stages(block.group, block.aggregates)
    )
    return {
        "step": name,
        "detail": " | ".join(map(format_stage, stages)),
        "estimate": estimate,
        "rows": None,
        "exact": True,
        "parts": [],
    }


def _stages(group: Group | None, aggregates: tuple[Aggregate, ...]) -> tuple[Stage, ...]:
    return aggregates if group is None else (group, *aggregates)
