"""`mixkit test`."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from mix_lang.files import sources
from mix_lang.syntax import Test

from mix_dev.suite.module import TestModule
from mixkit.cli.choices import enter_folder
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.errors import MixError
from mixkit.near import meant

__all__ = ["test"]

_WRONG: Final = 2
"""Exit code if something is no Mix, or there is nothing to test."""


@click.command("test")
@click.argument("paths", nargs=-1, metavar="[PATH...]", is_eager=True, callback=enter_folder)
@click.option(
    "-k", "words", multiple=True, metavar="TEXT",
    help="Only tests with that in PATH::NAME, in whatever case. Repeatable: all of them.",
)  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="Run nothing; list the tests.")
@click.option("-x", "first", is_flag=True, help="Stop after the first that fails.")
@click.option("--coverage", is_flag=True, help="Say which lines were not run.")
@click.option(
    "--seed", type=int, metavar="NUMBER", help="Of generated values: the one that a run printed repeats it."
)
@click.option(
    "--runs", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Of a test with generated values."
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Narrow limits.wall_time of each."
)  # fmt: skip
@click.option(
    "--record", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write what FFIs answer into FILE. Tokens are not written; whatever else is secret is.",
)  # fmt: skip
@click.option(
    "--replay", type=click.Path(dir_okay=False, exists=True, path_type=Path), metavar="FILE",
    help="Answer FFIs from FILE; none is called.",
)  # fmt: skip
@json_option
@pass_session
def test(
    session: Session,
    /,
    paths: tuple[str, ...],
    words: tuple[str, ...],
    listing: bool,
    **options: Any,
) -> None:
    """Run the tests in modules of Mix: blocks test "name" { … }.

    A PATH is a file, a folder, whose .mix files are meant, or FILE::NAME, a single test; the folder that this is called
    in without one. A test fails if it ends in an error, as those that the module assert raises.

    Exit code 1 if a test fails; 2 if a module has errors, or there is no such test.
    """
    how = _How(**options)
    if how.record is not None and how.replay is not None:
        raise click.UsageError("what is replayed is recorded already: leave out --record or --replay")
    began = time.perf_counter()
    printed = Output(session.as_json)
    found = _Found(paths or (".",), words)
    if listing:
        printed.table(
            ("test", "line"), [(name, module.line(of)) for module, tests in found.tests for name, of in tests]
        )
    else:
        _run(session, printed, found, how, began)
    if found.diagnostics or found.troubles or not found.tests:
        raise click.exceptions.Exit(_WRONG)


class _How(NamedTuple):
    """How tests are run: options of the command."""

    first: bool
    coverage: bool
    seed: int | None
    runs: int
    timeout: float | None
    record: Path | None
    replay: Path | None


class _Found:
    """The modules with tests, and those of their tests that are wanted.

    Attributes:
        tests: by their modules.
        diagnostics, troubles: what is wrong in modules.
    """

    def __init__(self, paths: tuple[str, ...], words: tuple[str, ...]) -> None:
        named: dict[str, set[str]] = {}
        for path in paths:
            file, colons, name = path.partition("::")
            for each in sources([file]):
                named.setdefault(each, set()).add(name if colons else "")
        self.tests: list[tuple[TestModule, list[tuple[str, Test]]]] = []
        self.diagnostics: list[Any] = []
        self.troubles: list[str] = []
        self.left = 0
        for path, names in named.items():
            module = TestModule.read(path)
            if module is None:
                continue
            if module.trouble:
                self.troubles.append(module.trouble)
            elif module.diagnostics:
                self.diagnostics += module.diagnostics
            else:
                tests = module.tests()
                there = [of.name for _, of in tests]
                for name in sorted(names - {"", *there}):
                    raise click.BadParameter(
                        f"no test {name!r:.200} in {path}{meant(name, there)}", param_hint="PATH"
                    )
                wanted = [
                    (name, of)
                    for name, of in tests
                    if ("" in names or of.name in names)
                    and all(word.lower() in name.lower() for word in words)
                ]
                self.left += len(tests) - len(wanted)
                if wanted:
                    self.tests.append((module, wanted))


def _run(session: Session, printed: Output, found: _Found, how: _How, began: float) -> None:
    from mix_dev.suite.calls import Calls, Recording
    from mix_dev.suite.lines import Lines
    from mix_dev.suite.report import Report
    from mix_dev.suite.runner import Runner

    seed = random.SystemRandom().randrange(1_000_000) if how.seed is None else how.seed
    recorded = Recording() if how.record is not None else None
    replayed = Recording.read(how.replay) if how.replay is not None else None
    watching = recorded is not None or replayed is not None
    lines = Lines() if how.coverage else None
    report = Report(printed, seed)
    report.errors(found.diagnostics, found.troubles)
    with session.kernel() as kernel:
        calls = Calls(recorded, replayed) if watching else None
        runner = Runner(kernel, calls=calls, lines=lines, seed=seed, runs=how.runs, timeout=how.timeout)
        try:
            for module, tests in found.tests:
                try:
                    for outcome in runner.run(module, tests):
                        report.add(outcome)
                        if how.first and not outcome.passed:
                            break
                except MixError as exc:
                    wrong = [*getattr(exc, "diagnostics", ())]
                    found.diagnostics += wrong
                    found.troubles += [] if wrong else [str(exc)]
                    report.errors(wrong, [] if wrong else [str(exc)])
                if how.first and report.failed:
                    break
        finally:
            runner.close()
    if recorded is not None and how.record is not None:
        recorded.write(how.record)
    report.end(time.perf_counter() - began, found.left, lines)
    if report.failed:
        raise click.exceptions.Exit(_WRONG if found.diagnostics or found.troubles else 1)
