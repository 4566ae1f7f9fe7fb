"""What `mixkit test` prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from mix_lang.diagnostic import Diagnostic
from mix_lang.render import render_all

from mix_dev.suite.lines import Lines
from mix_dev.suite.outcome import Outcome
from mixkit.cli.output import Output

__all__ = ["Report"]


class Report:
    """Prints outcomes as they come: a line each on stdout, and below it, in a pipe on stderr, why a test failed.

    As JSON everything comes at the end.

    Attributes:
        failed: how many tests did.
    """

    def __init__(self, printed: Output, seed: int) -> None:
        self._printed, self._seed = printed, seed
        self._outcomes: list[Outcome] = []
        self._diagnostics: list[Diagnostic] = []
        self._troubles: list[str] = []
        self.failed = 0

    def errors(self, diagnostics: Sequence[Diagnostic], troubles: Sequence[str]) -> None:
        """Modules that have errors. What was told is not told again."""
        more = [
            item for item in diagnostics if item.record() not in [old.record() for old in self._diagnostics]
        ]
        self._diagnostics += more
        self._troubles += troubles
        if not self._printed.as_json:
            for trouble in troubles:
                self._printed.note(trouble, None)
            if more:
                self._printed.note(render_all(more).rstrip(), None)

    def add(self, outcome: Outcome) -> None:
        """A test has been run."""
        self._outcomes.append(outcome)
        self.failed += not outcome.passed
        if self._printed.as_json:
            return
        word = "ok" if outcome.passed else "FAILED"
        took = f"{outcome.seconds * 1000:.1f} ms"
        if sys.stdout.isatty():
            many = f", {outcome.runs} runs" if outcome.runs > 1 else ""
            self._printed.line(f"{word:6}  {outcome.id}  ({took}{many})", None if outcome.passed else "error")
            for line in () if outcome.passed else outcome.explained():
                self._printed.line(f"        {line}")
        else:
            self._printed.line(f"{word}\t{outcome.id}\t{took}")
            for line in (
                () if outcome.passed else [outcome.id, *(f"  {line}" for line in outcome.explained())]
            ):
                click.echo(line, err=True)

    def end(self, seconds: float, left: int, lines: Lines | None) -> None:
        """All have been run.

        Args:
            seconds: that all of it took.
            left: how many tests were not asked for.
            lines: those that were run.
        """
        files = lines.files() if lines is not None else {}
        if self._printed.as_json:
            self._document(seconds, files, lines is not None)
            return
        if lines is not None:
            self._printed.table(
                ("file", "lines", "run", "not run"),
                [
                    (file, count, f"{100 * (count - len(missing)) // count} %", _ranges(missing))
                    for file, (count, missing) in files.items()
                ],
            )
        passed = len(self._outcomes) - self.failed
        parts = [f"{passed} passed"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{left} not asked for"] if left else []
        if any(outcome.runs > 1 for outcome in self._outcomes):
            parts.append(f"seed {self._seed}")
        if self._outcomes:
            text = f"{', '.join(parts)} in {seconds:.2f} s"
        else:
            wrong = self._diagnostics or self._troubles
            none = (
                "there is no such test"
                if left
                else 'there is no test here: a block test "name" { … } in a module'
            )
            text = "no test was run" if wrong else none
        self._printed.note(text, "error" if self.failed else None)

    def _document(self, seconds: float, files: dict[str, tuple[int, list[int]]], covered: bool) -> None:
        found: dict[str, Any] = {
            "ok": not self.failed and not self._diagnostics and not self._troubles and bool(self._outcomes),
            "seconds": round(seconds, 6),
            "seed": self._seed,
            "tests": [outcome.record() for outcome in self._outcomes],
            "diagnostics": [item.record() for item in self._diagnostics],
            "troubles": self._troubles,
        }
        if covered:
            found["coverage"] = {
                file: {"lines": count, "missing": missing} for file, (count, missing) in files.items()
            }
        self._printed.document(found)


def _ranges(lines: Sequence[int]) -> str:
    """`3, 5-7`"""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
