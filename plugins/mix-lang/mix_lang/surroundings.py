"""What can matter to a passage of a module: the names that it mentions, with what others see of them.

The same passage in the same surroundings is checked, and compiled, to the same. Surroundings are compared as data: of
a definition they have its text before its body; of types, cases, imports and metadata all of it, wherever they stand,
since hints lead to those that are not mentioned; of a module of the library the module, which does not change.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from mix_lang import syntax as s
from mix_lang.passages import Passage
from mix_lang.program import Member, Program, Unit

__all__ = ["Surroundings", "written"]

_SHARED: Final = (s.TypeDef, s.CaseDef, s.Import, s.Declare, s.Meta, s.Pragma, s.Broken)


def written(unit: Unit, item: s.Item | s.Param, *, head: bool = False) -> str:
    """The text of an item, or of a definition what stands before its body."""
    passage = unit.passage_of(item)
    end = item.span.end
    if head and isinstance(item, s.Def | s.CellDef) and item.body is not None:
        end = item.body.span.start
    return passage.text[item.span.start - passage.start : end - passage.start]


class Surroundings:
    """Of the passages of one module."""

    def __init__(self, program: Program, unit: Unit) -> None:
        self._program, self._unit = program, unit
        self._signatures: dict[str, Hashable] = {}
        self._order = _order(unit)
        within = program.within(unit)
        facts = tuple(_facts(other) if isinstance(other, Unit) else other for other in within)
        self.shared: object = program.memory.remembered(("shared", unit.name, facts), object)

    def of(self, passage: Passage, number: int) -> tuple[Hashable, ...]:
        """Those of a passage, which is the one of that number."""
        members, order = self._unit.members, self._order
        return (
            self.shared,
            *[
                (name, self.signature(name), order.get(name, -1) < number)
                for name in passage.mentioned
                if name in members
            ],
        )

    def signature(self, name: str) -> Hashable:
        """What is seen of a member."""
        found = self._signatures.get(name)
        if found is None:
            member = self._unit.members[name]
            found = self._signatures[name] = _signature(self._unit, member, self._behind(member))
        return found

    def _behind(self, member: Member) -> Hashable:
        """What is seen of the module that a name stands for."""
        if not isinstance(member.item, s.Import):
            return None
        other = self._program.units.get(member.item.module)
        return None if other is None else interface(self._program, other)


def interface(program: Program, unit: Unit) -> Hashable:
    """What others see of a module."""
    within = program.within(unit)
    if not unit.passages:
        return within

    def signatures() -> object:
        seen = tuple((name, _signature(unit, member, None)) for name, member in unit.members.items())
        return program.memory.remembered(("interface", unit.name, _facts(unit), seen), object)

    return program.memory.remembered(("interface of", unit), signatures)


def _signature(unit: Unit, member: Member, behind: Hashable) -> Hashable:
    declared = "" if member.declared is None else written(unit, member.declared, head=True)
    return member.kind, written(unit, member.item, head=True), declared, behind


def _order(unit: Unit) -> dict[str, int]:
    """The numbers of the passages from which on definitions are known."""
    numbers = {passage: number for number, passage in enumerate(unit.passages)}
    found = {}
    for name, member in unit.members.items():
        if member.kind == "def":
            known = (member.item, *member.replaced) if member.declared is None else (member.declared,)
            found[name] = min(numbers[unit.passage_of(item)] for item in known)
    return found


def _facts(unit: Unit) -> Hashable:
    """What stands in a module for all of it to see; the module itself if it has no passages."""
    if not unit.passages:
        return unit
    if unit.facts is None:
        first = unit.passages[0]
        end = first.items[0].span.start - first.start if first.items else len(first.text)
        shared = (written(unit, item) for item in unit.module.items if isinstance(item, _SHARED))
        head = first.text[:end] if first.head is None or first.head.written else ""
        unit.facts = (unit.name, unit.module.static, head, *shared)
    return unit.facts
