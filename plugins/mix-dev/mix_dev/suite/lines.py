"""Line coverage: modules whose functions and statements say which line they are in when they run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.program import Program, Unit
from mix_lang.record import changed
from mix_lang.source import Source, Span
from mix_lang.walk import every, mapped

__all__ = ["FFI", "Lines", "watched"]

FFI: Final = "$test_line"
"""Says that the place of a number is run."""
_NAME: Final = "test line"
"""The function that calls it; no program can name it."""


@dataclass(slots=True)
class Lines:
    """Places that say so when they are run.

    Attributes:
        places: the number of each, by its file and line.
        run: numbers of those that were run.
        folder: where the files are of the module that is watched.
    """

    places: dict[tuple[str, int], int] = field(default_factory=dict)
    run: set[int] = field(default_factory=set)
    folder: Path = Path()

    def place(self, source: Source, span: Span) -> int:
        """The number of a place; one for each line."""
        file, line, _ = source.place(span.start)
        return self.places.setdefault((str(self.folder / file), line), len(self.places))

    def files(self) -> dict[str, tuple[int, list[int]]]:
        """Of each file how many lines there are that can run, and those that were not."""
        found: dict[str, tuple[int, list[int]]] = {}
        for (file, line), number in self.places.items():
            count, missing = found.setdefault(file, (0, []))
            if number not in self.run:
                missing.append(line)
            found[file] = count + 1, missing
        return {file: (count, sorted(missing)) for file, (count, missing) in sorted(found.items())}


def watched(program: Program, lines: Lines) -> Program:
    """The program with its own modules watched; the library's are not."""
    early = _early(unit for unit in program.units.values() if not unit.library)
    units = {
        name: unit if unit.library else _watched(unit, lines, early) for name, unit in program.units.items()
    }
    return replace(program, units=units)


def _early(units: Iterable[Unit]) -> set[str]:
    """Names of what runs when the program is loaded, where nothing may be told: what values are computed by."""
    uses: dict[str, set[str]] = {}
    todo: list[str] = []
    for unit in units:
        for item in unit.module.items:
            if not isinstance(item, s.Def):
                continue
            names = {part.name for part in every(item) if isinstance(part, s.Name | s.Qualified | s.Field)}
            uses[item.name] = uses.get(item.name, set()) | names
            if item.params is None and not isinstance(item.body, s.Lambda):
                todo.append(item.name)
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name in uses and name not in found:
            found.add(name)
            todo += uses[name]
    return found


def _watched(unit: Unit, lines: Lines, early: set[str]) -> Unit:
    module = unit.module
    change = partial(_changed, unit.source, lines)
    items = tuple(
        item
        if isinstance(item, s.Test | s.Foreign | s.Import) or (isinstance(item, s.Def) and item.name in early)
        else mapped(item, change)
        for item in module.items
    )
    number, data = s.TName(module.span, "", "number"), s.TName(module.span, "", "data")
    arrow = s.TArrow(module.span, number, data)
    told = s.Foreign(module.span, _NAME, module.span, True, arrow, FFI, (), None)
    made = changed(module, items=(told, *items))
    return unit.with_module(made)


def _changed(source: Source, lines: Lines, node: Any) -> Any:
    """The node with what tells in front of what it runs."""

    def tell(span: Span) -> s.Call:
        return s.Call(span, s.Name(span, _NAME), (s.Const(span, lines.place(source, span)),))

    def told(body: s.Expr) -> s.Expr:
        nothing = s.LetStmt(body.span, s.PAny(body.span), None, tell(body.span))
        return s.Let(body.span, (nothing,), body)

    match node:
        case s.Block(statements=statements):
            return changed(
                node,
                statements=tuple(
                    part for each in statements for part in (s.ExprStmt(each.span, tell(each.span)), each)
                ),
            )
        case s.Def(params=tuple(), body=body) | s.CellDef(body=body) | s.Clause(body=body) if (
            body is not None and not isinstance(body, s.Block)
        ):
            return changed(node, body=told(body))
        case s.If(branches=branches, otherwise=otherwise):
            return changed(
                node,
                branches=tuple((condition, told(value)) for condition, value in branches),
                otherwise=told(otherwise),
            )
        case s.Let(body=body):
            return changed(node, body=told(body))
    return node
