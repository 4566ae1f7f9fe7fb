"""How large types are when they are written out: what an abbreviation stands for, and that in turn."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.program import Program, Unit
from mix_lang.walk import every

__all__ = ["MOST_PARTS", "Sizes"]

MOST_PARTS: Final = 1_000
"""Names, tuples, maps … of which a type may consist. Each doubling of a type takes a line only: `type b = [a, a]`."""
_DEEPEST: Final = 100


class Sizes:
    """Counts the parts of abbreviations, each once."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[tuple[str, str], int] = {}

    def of(self, unit: Unit, name: str) -> int:
        """The parts of what an abbreviation stands for; of what is none, or stands for itself, 1. More than
        `MOST_PARTS` are too many, however many they are."""
        return self._of(unit, name, 0)

    def _of(self, unit: Unit, name: str, depth: int) -> int:
        named = unit.types.get(name)
        if named is None:
            return 1
        if depth > _DEEPEST:
            return MOST_PARTS + 1
        key = (unit.name, name)
        if key not in self._known:
            self._known[key] = 1
            self._known[key] = min(
                sum(self._part(unit, node, depth) for node in every(named.type)), MOST_PARTS + 1
            )
        return self._known[key]

    def _part(self, unit: Unit, node: s.Node, depth: int) -> int:
        if not isinstance(node, s.TName | s.TApply):
            return 1
        owner = self._owner(unit, node.qualifier)
        return 1 if owner is None else self._of(owner, node.name, depth + 1)

    def _owner(self, unit: Unit, qualifier: str) -> Unit | None:
        if qualifier in ("", "self"):
            return unit
        member = unit.members.get(qualifier)
        if member is None or not isinstance(member.item, s.Import):
            return None
        return self._program.units.get(member.item.module)
