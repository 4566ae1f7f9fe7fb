"""A query's plan as a tree of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["plan_lines"]


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """The steps, each above those that it needs, warnings, and the time that all took."""
    yield from _lines(plan, "", "")
    yield from [f"warning: {text}" for text in plan.get("warnings", ())]
    seconds = plan.get("seconds")
    if isinstance(seconds, int | float):
        yield f"{seconds * 1000:.3f} ms"


def _lines(step: Mapping[str, Any], first: str, others: str) -> Iterator[str]:
    numbers = []
    for name, word in (("rows", "rows"), ("estimate", "estimated")):
        if isinstance(step.get(name), int | float):
            numbers.append(f"{step[name]:,} {word}")
    if step.get("exact") is False:
        numbers.append("to be checked")
    detail = f" {step['detail']}" if step.get("detail") else ""
    tail = f"  ({', '.join(numbers)})" if numbers else ""
    yield f"{first}{step.get('step', '?')}{detail}{tail}"
    parts = list(step.get("parts", ()))
    for part in parts:
        last = part is parts[-1]
        yield from _lines(part, others + ("└─ " if last else "├─ "), others + ("   " if last else "│  "))
