"""All that is wrong in a module, as far as it is no matter of all modules together."""

from __future__ import annotations

from mix_lang.check.cells import check_cells
from mix_lang.check.hinted import HintChecker
from mix_lang.check.meta import MetaChecker
from mix_lang.check.names import NameChecker
from mix_lang.check.patterns import PatternChecker
from mix_lang.diagnostic import Report
from mix_lang.program import Program, Unit
from mix_lang.source import Span
from mix_lang.surroundings import Surroundings

__all__ = ["check_module"]


def check_module(program: Program, unit: Unit, report: Report) -> None:
    """Check what the module is as a whole, and each passage; but for those in which nothing was wrong in the same
    surroundings."""
    try:
        names, meta = NameChecker(program, unit, report), MetaChecker(program, unit, report)
        names.module()
        check_cells(unit, report)
        meta.module()
        checkers = (names, PatternChecker(program, unit, report), meta, HintChecker(program, unit, report))
        surroundings, memory = Surroundings(program, unit), program.memory
        for number, passage in enumerate(unit.passages):
            key = ("right", passage, surroundings.of(passage, number))
            if memory.find(key):
                continue
            before = report.asked
            for item in passage.items:
                for checker in checkers:
                    checker.item(item)
            if report.asked == before and not report.full:
                memory.note(key, True)
    except RecursionError:
        report.add("M0203", Span(0, 0), "this module is nested too deep")
