"""What became of a test."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from typing import Any

from mixkit import tagged_json
from mixkit.value import UNDEF, Case

__all__ = ["Outcome"]


@dataclass(slots=True)
class Outcome:
    """A test that was run.

    Attributes:
        id: `path::name`.
        line: where it begins.
        seconds: that it took.
        message: why it failed; "" if it passed.
        place: file, line and column where; None if that is not known.
        source: the text of that line.
        differ: what was expected and found, each in an array, empty for undefined; None if it was no comparison.
        backtrace: calls, innermost first.
        output: what the code wrote.
        runs: how often it ran; more than once with generated values.
        values: the generated values that it failed with.
    """

    id: str
    line: int
    seconds: float = 0.0
    message: str = ""
    place: tuple[str, int, int] | None = None
    source: str = ""
    differ: tuple[list[Any], list[Any]] | None = None
    backtrace: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    runs: int = 1
    values: list[Any] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.message

    def record(self) -> dict[str, Any]:
        """For `--json`."""
        path, _, name = self.id.partition("::")
        found: dict[str, Any] = {
            "id": self.id,
            "file": path,
            "name": name,
            "line": self.line,
            "ok": self.passed,
            "seconds": round(self.seconds, 6),
            "runs": self.runs,
            "output": self.output,
        }
        if not self.passed:
            found |= {
                "message": self.message,
                "location": list(self.place) if self.place else None,
                "backtrace": self.backtrace,
            }
        if self.differ is not None:
            expected, actual = (
                [json.loads(tagged_json.dumps(item)) for item in side] for side in self.differ
            )
            found |= {"expected": expected, "found": actual}
        if self.values:
            found["values"] = [json.loads(tagged_json.dumps(value)) for value in self.values]
        return found

    def explained(self) -> list[str]:
        """Why it failed, for people: lines."""
        lines: list[str] = []
        if self.place is not None:
            file, line, column = self.place
            gutter = " " * len(str(line))
            lines.append(f"{file}:{line}:{column}")
            if self.source:
                lines += [
                    f"  {line} | {self.source.expandtabs(1)}",
                    f"  {gutter} | {' ' * (column - 1)}^",
                ]
        lines += self._difference() if self.differ is not None else [self.message]
        if self.values:
            lines += ["with these values, the smallest that were found:"]
            lines += [f"  {_shown(value)}" for value in self.values]
        lines += [f"wrote: {line}" for line in self.output]
        return lines

    def _difference(self) -> list[str]:
        assert self.differ is not None
        expected, found = (_text(side) for side in self.differ)
        if len(expected) + len(found) <= 160:
            return [f"expected {expected}", f"found    {found}"]
        before, after = (_lines(side) for side in self.differ)
        compared = difflib.unified_diff(before, after, "expected", "found", lineterm="", n=2)
        return [f"{line}" for line in compared if not line.startswith("@@")]


def _text(side: list[Any]) -> str:
    return _shown(side[0]) if side else "undefined"


def _lines(side: list[Any]) -> list[str]:
    return _shown(side[0], "").split("\n") if side else ["undefined"]


def _shown(value: Any, margin: str | None = None) -> str:
    """A value for people: tagged JSON, but for cases, which are written as in Mix, `ok(1)`.

    Args:
        margin: before each line but the first; None for all on one line.
    """
    match value:
        case Case(name=name, arg=arg):
            return name if arg is UNDEF else f"{name}({_shown(arg, margin)})"
        case list() if value:
            opened, closed = "[]"
            inner = None if margin is None else margin + " "
            parts = [_shown(item, inner) for item in value]
        case dict() if value:
            opened, closed = "{}"
            inner = None if margin is None else margin + " "
            gap = "" if margin is None else " "
            parts = [f"{tagged_json.dumps(key)}:{gap}{_shown(item, inner)}" for key, item in value.items()]
        case _:
            return tagged_json.dumps(value)
    if margin is None:
        return opened + ",".join(parts) + closed
    return f"{opened}\n{inner}" + f",\n{inner}".join(parts) + f"\n{margin}{closed}"
