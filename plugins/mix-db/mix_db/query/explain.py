"""How a query is run, told to people and programs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mix_db.query.ast import Query
from mix_db.query.clock import Clock
from mix_db.query.execute import Execution
from mix_db.query.printer import format_query
from mix_db.query.stages import blocks
from mix_db.query.trace import Node, Trace, node_of_block, node_of_step
from mix_db.versions.snapshot import Snapshot
from mixkit.errors import printable

__all__ = ["explain", "format_plan"]


def explain(
    query: Query,
    params: Mapping[str, Any] | None,
    snapshot: Snapshot,
    *,
    deleted: bool = False,
    superseded: bool = False,
    run: bool = True,
    timeout: float | None = None,
    memory: int | None = None,
) -> Node:
    """The plan of a query as a tree that JSON can hold; values of parameters do not occur in it.

    Args:
        query, params, snapshot, deleted, superseded: as for `execute.run`.
        run: whether to run the query to its end, so that actual numbers of rows stand beside the estimates.
        timeout: seconds that it may take.
        memory: bytes that it may hold at once.

    Returns:
        A node `{"step", "detail", "estimate", "rows", "exact", "parts"}`, with `seconds` and `warnings`, a list
        of sentences about names that no record has, at the root. Its parts
        stand in the order in which rows pass through them: the first is the layer of the indexes, whose own parts
        are what it is put together from; then `check` and `read`, and the stages, with `source` `"index"` or
        `"rows"`. `rows` is None for what was not run.

    Raises:
        QueryError, QueryTimeout: as running it would.
    """
    start = time.perf_counter()
    trace = Trace()
    execution = Execution(
        query,
        params,
        snapshot,
        Clock(timeout),
        deleted=deleted,
        superseded=superseded,
        trace=trace,
        memory=memory,
    )
    count = None
    if run:
        count = sum(1 for _ in execution.rows())
        nodes = trace.nodes
    else:
        nodes = [node_of_step(execution.plan())]
        for block in blocks(query.stages):
            nodes.append(node_of_block(block, nodes[-1]["estimate"]))
    return {
        "step": "query",
        "detail": format_query(query),
        "estimate": nodes[-1]["estimate"],
        "rows": count,
        "exact": True,
        "warnings": execution.warnings(),
        "seconds": time.perf_counter() - start,
        "parts": nodes,
    }


def format_plan(tree: Node) -> str:
    """The tree that `explain` answered, as lines of text."""
    lines: list[str] = []
    pending = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        rows = (
            f"about {node['estimate']}"
            if node["rows"] is None
            else f"{node['rows']} of about {node['estimate']}"
        )
        marks = "" if node["exact"] else ", to be checked"
        source = f", from {node['source']}" if "source" in node else ""
        seconds = f", {1000 * node['seconds']:.3f} ms" if "seconds" in node else ""
        lines.append(
            f"{'  ' * depth}{node['step']} ({rows}{marks}{source}{seconds})  {printable(node['detail'])}".rstrip()
        )
        pending += [(part, depth + 1) for part in reversed(node["parts"])]
    lines += [f"warning: {printable(text)}" for text in tree.get("warnings", ())]
    return "\n".join(lines)
