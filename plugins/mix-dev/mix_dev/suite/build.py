"""Tests of a module as agents: what a test needs of the module, and the test's statements as its initializer.

A test sees its module from within. Of the cells there are those that it names, and what these need; the parameters of
the module are empty maps. So a test of functions computes no cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mix_lang import syntax as s
from mix_lang.compile import Checked
from mix_lang.compiler import executable
from mix_lang.program import Program, Unit
from mix_lang.record import changed
from mix_lang.walk import every

__all__ = ["Built", "build", "tests_in"]

_NUMBER: Final = "test number"
"""The parameter that says which test is meant; no program can name it."""
_CELLS: Final = ("cell", "alias")


@dataclass(frozen=True, slots=True)
class Built:
    """An executable with some tests of a module: entered at the module's name with the number of one of them.

    Attributes:
        tests: those in it, by their numbers.
    """

    module: str
    code: bytes
    tests: tuple[tuple[int, s.Test], ...]


def tests_in(unit: Unit) -> list[s.Test]:
    """The tests of a module, in the order of the text."""
    return [item for item in unit.module.items if isinstance(item, s.Test)]


def build(checked: Checked, unit: Unit, tests: Sequence[s.Test]) -> list[Built]:
    """The executables of some tests of a module. Those that need the same cells share one."""
    needs = _Needs(unit)
    groups: dict[frozenset[str], list[tuple[int, s.Test]]] = {}
    for number, test in enumerate(tests, 1):
        groups.setdefault(needs.of(test), []).append((number, test))
    return [
        Built(unit.name, executable(_program(checked.program, unit, cells, group), unit.name), tuple(group))
        for cells, group in groups.items()
    ]


class _Needs:
    """Which cells of a module something needs."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._uses = {name: _names(member.item) for name, member in unit.members.items()}
        items = unit.module.items
        self._watchers = [_names(item) for item in items if isinstance(item, s.Observer | s.Initializer)]

    def of(self, test: s.Test) -> frozenset[str]:
        """The cells that a test names, itself or through others, and those of all that writes them."""
        names = self._reached(_names(test))
        while True:
            cells = {name for name in names if self._is_cell(name)}
            more = self._reached(names.union(*(found for found in self._watchers if found & cells)))
            if more == names:
                return frozenset(cells)
            names = more

    def _is_cell(self, name: str) -> bool:
        return name in self._unit.members and self._unit.members[name].kind in _CELLS

    def _reached(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self._uses.get(name, ())
        return found


def _names(node: s.Node | s.Param) -> set[str]:
    return {part.name for part in every(node) if isinstance(part, s.Name | s.Qualified | s.Previous)}


def _program(
    program: Program, unit: Unit, cells: frozenset[str], tests: Sequence[tuple[int, s.Test]]
) -> Program:
    """The program with the tests in place of the agent."""
    module = unit.module
    span = module.span
    items: list[s.Item] = [
        s.Def(param.span, param.name, param.span, True, None, None, s.MapLit(param.span, ()), None)
        for param in module.params
    ]
    first: tuple[s.Stmt, ...] = ()
    for item in module.items:
        match item:
            case s.Test() | s.Meta():
                continue
            case s.CellDef(name=name) | s.Alias(name=name) if name not in cells:
                continue
            case s.Observer() if not _names(item) & cells:
                continue
            case s.Initializer(block=block):
                first = block.statements if _names(item) & cells else ()
                continue
        items.append(item)
    branches = []
    taken = [test.name for _, test in tests]
    for index, (number, test) in enumerate(tests):
        again = taken[:index].count(test.name)
        name = f'test "{test.name}"' + (f" ({again + 1})" if again else "")
        block = s.Block(test.span, (*test.block.statements, s.Return(test.span, None)))
        params = (s.Param(test.span, "appstate", None),)
        items.append(s.Def(test.span, name, test.span, True, params, None, block, None))
        call = s.Call(test.span, s.Name(test.span, name), (s.Name(test.span, "appstate"),))
        meant = s.Part("==", False, test.span, s.Const(test.span, number))
        condition = s.Chain(test.span, s.Name(test.span, _NUMBER), (meant,))
        branches.append(s.Branch(test.span, condition, s.Block(test.span, (s.ExprStmt(test.span, call),))))
    chosen = s.IfStmt(span, tuple(branches), None)
    items.append(s.Initializer(span, s.Block(span, (*first, chosen))))
    if "output" not in cells:
        nothing = s.Const(span, None)
        items.append(s.CellDef(span, "output", span, False, True, False, None, None, nothing, None))
    made = changed(module, params=(s.Param(span, _NUMBER, None),), meta=None, items=tuple(items))
    units = dict(program.units)
    units[unit.name] = unit.with_module(made)
    return replace(program, units=units)
