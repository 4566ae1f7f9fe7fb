"""Which members of a module need an instance of it, and in which slot each of them is."""

from __future__ import annotations

from functools import partial

from mix_lang import syntax as s
from mix_lang.codegen.effects import effectful
from mix_lang.program import Member, Program, Unit
from mix_lang.walk import every

__all__ = ["Members", "clauses_of", "is_function"]


def is_function(item: object) -> bool:
    """Whether a def is a function, by its form."""
    return isinstance(item, s.Def) and (item.params is not None or isinstance(item.body, s.Lambda))


def clauses_of(item: s.Def | s.CellDef) -> tuple[s.Clause, ...]:
    """The alternatives of a def or cell that is a function."""
    if item.params is None:
        assert isinstance(item.body, s.Lambda)
        return item.body.clauses
    assert item.body is not None
    patterns = tuple(s.PVar(param.span, param.name) for param in item.params)
    return (s.Clause(item.span, patterns, None, item.body),)


def _names(item: s.Item | s.Param) -> frozenset[str]:
    """All that a definition mentions."""
    return frozenset(node.name for node in every(item) if isinstance(node, s.Name | s.Qualified))


class Members:
    """Members are static unless they need an instance of their module: its parameters, cells, values that differ from
    run to run, or what uses these.

    Attributes:
        cells, prelude: the modules of what the generated code itself needs.
    """

    def __init__(self, program: Program, cells: Unit, prelude: Unit) -> None:
        self.program, self.cells, self.prelude = program, cells, prelude
        self._effects: dict[Unit, frozenset[str]] = {}
        self._bound: dict[str, set[str]] = {}
        self._slots: dict[str, dict[str, int]] = {}
        self._numbered: dict[str, bool] = {}

    def bound(self, unit: Unit, name: str) -> bool:
        """Whether a member needs an instance of its module."""
        if unit.name not in self._bound:
            at = ("bound", *self.program.within(unit))
            found = partial(self._find_bound, unit)
            self._bound[unit.name] = self.program.memory.remembered(at, found) if unit.library else found()
        return name in self._bound[unit.name]

    def imported(self, unit: Unit, name: str) -> Unit:
        """The module of that name that a module imports."""
        return self.cells if unit is self.prelude else self.program.units[name]

    def _find_bound(self, unit: Unit) -> set[str]:
        bound = {member.name for member in unit.members.values() if member.kind in ("param", "cell", "alias")}
        bound |= self._changing(unit)
        uses = {}
        for member in unit.members.values():
            item = member.item
            if isinstance(item, s.Import) and self._has_own(unit, item.module):
                bound.add(member.name)
            uses[member.name] = unit.fact(item, "names", _names)
        while True:
            more = {name for name, used in uses.items() if name not in bound and used & bound}
            if not more:
                return bound
            bound |= more

    def _has_own(self, unit: Unit, module: str) -> bool:
        """Whether each instance of `unit` has an instance of its own of a module that it imports."""
        if unit is self.prelude:
            return False
        other = self.program.units[module]
        return not other.module.static and (other.stateful or bool(self._changing(other)))

    def _changing(self, unit: Unit) -> set[str]:
        """Values of a module that are computed anew in each run."""
        if unit.module.static or unit in (self.prelude, self.cells):
            return set()
        return {
            name
            for name in effectful(self.program, unit, self._effects)
            if isinstance(item := unit.members[name].item, s.Def) and not is_function(item)
        }

    def slot(self, unit: Unit, name: str) -> int:
        """The slot of a member that needs the instance."""
        return self._slots_of(unit)[name]

    def slot_count(self, unit: Unit) -> int:
        return len(self._slots_of(unit)) + 1

    def number_slot(self, unit: Unit) -> int:
        """The slot with the number of the instance, of modules that are `numbered`."""
        return len(self._slots_of(unit))

    def numbered(self, unit: Unit) -> bool:
        """Whether instances of a module have numbers: cells and actions name them by those."""
        if unit.name not in self._numbered:
            self._numbered[unit.name] = unit.stateful or bool(unit.action_names)
        return self._numbered[unit.name]

    def _slots_of(self, unit: Unit) -> dict[str, int]:
        if unit.name not in self._slots:
            names = [name for name in unit.members if self.bound(unit, name)]
            self._slots[unit.name] = {name: index for index, name in enumerate(names)}
        return self._slots[unit.name]

    def arity(self, unit: Unit, member: Member) -> int:
        """Parameters of a def that is a function."""
        assert isinstance(member.item, s.Def)
        return len(clauses_of(member.item)[0].patterns)
