"""Imports that lead in a circle."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.program import Program, Unit

__all__ = ["check_imports"]


def check_imports(program: Program, units: list[tuple[Unit, Report]]) -> None:
    """Report each circle once, with the modules in it, at the import that closes it."""
    done: set[str] = set()
    reports = {unit.name: report for unit, report in units}
    for unit, _ in units:
        if unit.name in done:
            continue
        # A walk with the way that led here; each step has the imports that are still to look at.
        way: list[tuple[str, list[s.Import]]] = [(unit.name, _imports(unit))]
        while way:
            name, left = way[-1]
            if not left:
                way.pop()
                done.add(name)
                continue
            item = left.pop(0)
            on_way = [step for step, _ in way]
            if item.module in on_way:
                circle = [*on_way[on_way.index(item.module) :], item.module]
                if name in reports:
                    reports[name].add(
                        "M0321", item.module_span, f"these modules import each other: {' -> '.join(circle)}",
                        hint="move what both need into a module of its own", modules=circle,
                    )  # fmt: skip
            elif item.module in program.units and item.module not in done:
                way.append((item.module, _imports(program.units[item.module])))


def _imports(unit: Unit) -> list[s.Import]:
    return [item for item in unit.links if isinstance(item, s.Import)]
